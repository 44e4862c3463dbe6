/** Parts of a turn: which kinds an audit looks at, and what ops mean for other shares. */
import type { Kernel } from '../kernel/port.ts'
import { kinds } from '../model/kernel-object.ts'
import type { Kind, KernelObject } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'

export const firewallKinds: ReadonlySet<Kind> = new Set<Kind>(['ruleset', 'element'])
export const noKinds: ReadonlySet<Kind> = new Set<Kind>()

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
