/** The desired state as it stands: one share for each key, and the union of all. */
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Note, Share, ShareKey } from '../plan/input.ts'

export class Desired {
  readonly #shares = new Map<ShareKey, Share>()

  get(key: ShareKey): Share | undefined {
    return this.#shares.get(key)
  }

  /** Puts a share in its place; one without content goes. */
  set(share: Share): void {
    if (share.objects.length === 0 && share.notes.length === 0) this.#shares.delete(share.key)
    else this.#shares.set(share.key, share)
  }

  get shares(): number {
    return this.#shares.size
  }

  /** All objects of all shares; `without`: kinds that are left out. */
  *objects(without: ReadonlySet<Kind> = new Set()): Generator<KernelObject> {
    for (const { objects } of this.#shares.values()) {
      if (without.size === 0) yield* objects
      else for (const object of objects) if (!without.has(object.kind)) yield object
    }
  }

  *notes(): Generator<Note> {
    for (const { notes } of this.#shares.values()) yield* notes
  }

  count(kind: Kind): number {
    let count = 0
    for (const object of this.objects()) if (object.kind === kind) count++
    return count
  }

  sysctlNames(): readonly string[] {
    const host = this.#shares.get('host')?.objects ?? []
    return host.flatMap((object) => (object.kind === 'sysctl' ? [object.name] : []))
  }
}
