/** Parts of a pass: which kinds an audit looks at, and which ops it may not carry out. */
import type { Kernel } from '../kernel/port.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
import type { Events } from './event.ts'

export const firewallKinds: ReadonlySet<Kind> = new Set<Kind>(['ruleset', 'element'])
export const noKinds: ReadonlySet<Kind> = new Set<Kind>()

/**
 * While a document cannot be read, what no known document accounts for may be what it asks for: such objects stay. A link
 * that is made anew is removed all the same.
 */
export function withoutRemovals(ops: readonly Op[], events: Events): readonly Op[] {
  const added = new Set(ops.flatMap(({ verb, object }) => (verb === 'add' ? (linkName(object) ?? []) : [])))
  const kept = ops.filter(({ verb, object }) => verb !== 'remove' || added.has(linkName(object) ?? ''))
  if (kept.length < ops.length) {
    events.emit('warning', 'removals-held', {
      objects: ops.length - kept.length,
      reason: 'some documents of the registry cannot be read, so nothing is taken for left over',
    })
  }
  return kept
}

function linkName(object: KernelObject): string | undefined {
  return object.kind === 'link' ? object.name : undefined
}

/** True where a link is removed and made anew: what other shares had on it is gone. */
export function remakesLink(ops: readonly Op[]): boolean {
  const removed = new Set(
    ops.flatMap(({ verb, object }) => (verb === 'remove' && object.kind === 'link' ? [object.name] : [])),
  )
  return (
    removed.size > 0 && ops.some(({ verb, object }) => verb === 'add' && removed.has(linkName(object) ?? ''))
  )
}

export function* flat(parts: readonly (readonly KernelObject[])[]): Generator<KernelObject> {
  for (const part of parts) yield* part
}

const allKinds: readonly Kind[] = [
  'link',
  'port',
  'device',
  'peer',
  'allowed-ip',
  'address',
  'fdb',
  'nexthop',
  'group',
  'route',
  'rule',
  'sysctl',
  'ruleset',
  'element',
]

function allKindsBut(without: ReadonlySet<Kind>): ReadonlySet<Kind> {
  return new Set(allKinds.filter((kind) => !without.has(kind)))
}

/** What the kernel holds, in parts, of all kinds but these. */
export async function* observeBut(
  kernel: Kernel,
  without: ReadonlySet<Kind>,
  sysctls: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<readonly KernelObject[]> {
  const kinds = without.size === 0 ? {} : { kinds: allKindsBut(without) }
  for await (const part of kernel.observe({ sysctls, ...kinds }, signal)) {
    signal.throwIfAborted()
    yield part
  }
}

export async function listOf<T>(parts: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = []
  for await (const part of parts) list.push(part)
  return list
}
