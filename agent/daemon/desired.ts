/**
 * The desired state as it was last written: one share for each key, and the union of all.
 *
 * A pass compares shares with what they were, not with the kernel. So this also remembers where the kernel is known to be
 * otherwise: an op that failed left the object as it was before. The next audit looks, and this memory is cleared.
 */
import { keyOf } from '../model/kernel-object.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { OpResult } from '../model/op.ts'
import type { Note, Share, ShareKey } from '../plan/input.ts'

export class Desired {
  readonly #shares = new Map<ShareKey, Share>()
  /** How many objects of each kind a share has: 100,000 routes are not gone through to count gateways. */
  readonly #counts = new Map<ShareKey, ReadonlyMap<Kind, number>>()
  /** By kind and key: what stands in the kernel in place of the desired object, as far as we know. */
  readonly #astray = new Map<string, KernelObject | undefined>()

  get(key: ShareKey): Share | undefined {
    return this.#shares.get(key)
  }

  holds(key: ShareKey, object: KernelObject): boolean {
    return this.#shares.get(key)?.objects.includes(object) === true
  }

  /** Puts a share in its place; one without content goes. */
  set(share: Share): void {
    const { key, objects, notes } = share
    if (objects.length === 0 && notes.length === 0) {
      this.#shares.delete(key)
      this.#counts.delete(key)
    } else {
      this.#shares.set(key, share)
      this.#counts.set(key, countsOf(objects))
    }
  }

  get shares(): Iterable<Share> {
    return this.#shares.values()
  }

  get size(): number {
    return this.#shares.size
  }

  /** All objects of all shares, with `changes` in place of those they replace; `without`: kinds that are left out. */
  *objects(
    without: ReadonlySet<Kind> = new Set(),
    changes: ReadonlyMap<ShareKey, Share> = new Map(),
  ): Generator<KernelObject> {
    for (const [key, share] of this.#shares) yield* filtered((changes.get(key) ?? share).objects, without)
    for (const [key, { objects }] of changes) if (!this.#shares.has(key)) yield* filtered(objects, without)
  }

  /** What the kernel holds of these shares. */
  *believed(keys: Iterable<ShareKey>): Generator<KernelObject> {
    for (const key of keys) {
      for (const object of this.#shares.get(key)?.objects ?? []) {
        const name = this.#astray.size === 0 ? '' : nameOf(object)
        const found = this.#astray.has(name) ? this.#astray.get(name) : object
        if (found !== undefined) yield written(found)
      }
    }
  }

  /** Takes in what came of ops. */
  land(results: Iterable<OpResult>): void {
    for (const { op, error } of results) {
      if (error === undefined) {
        if (this.#astray.size > 0) this.#astray.delete(nameOf(op.object))
      } else {
        const left = op.verb === 'add' ? undefined : op.verb === 'replace' ? op.before : op.object
        this.#astray.set(nameOf(op.object), left)
      }
    }
  }

  /** An audit is about to look at everything. */
  forgetAstray(): void {
    this.#astray.clear()
  }

  *notes(): Generator<Note> {
    for (const { notes } of this.#shares.values()) yield* notes
  }

  count(kind: Kind): number {
    let count = 0
    for (const counts of this.#counts.values()) count += counts.get(kind) ?? 0
    return count
  }

  /** All objects of one kind. */
  *objectsOf<K extends Kind>(kind: K): Generator<KernelObject & { readonly kind: K }> {
    for (const [key, { objects }] of this.#shares) {
      if (this.#counts.get(key)?.has(kind) !== true) continue
      for (const object of objects) if (isOf(object, kind)) yield object
    }
  }

  sysctlNames(host: Share | undefined = this.#shares.get('host')): readonly string[] {
    return (host?.objects ?? []).flatMap((object) => (object.kind === 'sysctl' ? [object.name] : []))
  }
}

function isOf<K extends Kind>(object: KernelObject, kind: K): object is KernelObject & { readonly kind: K } {
  return object.kind === kind
}

function countsOf(objects: readonly KernelObject[]): ReadonlyMap<Kind, number> {
  const counts = new Map<Kind, number>()
  for (const { kind } of objects) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return counts
}

/** A sysctl of a share is ours to put back; what it was before is for the driver to know. */
function written(object: KernelObject): KernelObject {
  return object.kind === 'sysctl' ? { ...object, previous: object.previous ?? object.value } : object
}

/** Names an object across kinds. */
export function nameOf(object: KernelObject): string {
  return `${object.kind} ${keyOf(object)}`
}

function* filtered(
  objects: readonly KernelObject[],
  without: ReadonlySet<Kind>,
): Generator<KernelObject, void> {
  if (without.size === 0) yield* objects
  else for (const object of objects) if (!without.has(object.kind)) yield object
}
