/** Parts of a turn: which kinds an audit looks at, and what ops mean for other shares. */
import type { Drift, Kernel } from '../kernel/port.ts'
import { kinds } from '../model/kernel-object.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'

export const noKinds: ReadonlySet<Kind> = new Set<Kind>()
const firewallKinds: readonly Kind[] = ['ruleset', 'element']
const tunnelKinds: readonly Kind[] = ['device', 'peer', 'allowed-ip']

/**
 * Kinds that an audit leaves out: the firewall, where nobody else wrote to it, and what cannot have drifted. AllowedIPs are as
 * many as routes, and a rule that somebody deleted need not wait until either is gone through.
 */
export function leftOut(scope: Drift, firewallUnchanged: boolean): ReadonlySet<Kind> {
  if (scope === 'rules') return new Set(kinds.filter((kind) => kind !== 'rule'))
  return new Set([...(firewallUnchanged ? firewallKinds : []), ...(scope === 'routes' ? tunnelKinds : [])])
}

function linkName(object: KernelObject): string | undefined {
  return object.kind === 'link' ? object.name : undefined
}

/** True where a link went or came while its tunnels were not looked at: then all must be. */
export function reachesBeyond(ops: readonly Op[], without: ReadonlySet<Kind>): boolean {
  return without.has('peer') && ops.some(({ object }) => object.kind === 'link')
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

function allKindsBut(without: ReadonlySet<Kind>): ReadonlySet<Kind> {
  return new Set(kinds.filter((kind) => !without.has(kind)))
}

/** What the kernel holds, in parts, of all kinds but these. */
export async function* observeBut(
  kernel: Kernel,
  without: ReadonlySet<Kind>,
  sysctls: readonly string[],
  signal: AbortSignal,
  onProgress?: () => void,
): AsyncGenerator<readonly KernelObject[]> {
  const those = without.size === 0 ? {} : { kinds: allKindsBut(without) }
  for await (const part of kernel.observe({ sysctls, ...those }, signal)) {
    signal.throwIfAborted()
    onProgress?.()
    yield part
  }
}

export async function listOf<T>(parts: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = []
  for await (const part of parts) list.push(part)
  return list
}
