/** `ca remove`: a gateway that is gone. What vanishes from a registry stays in force, so this has to be said. */
import { LinkspanError } from '../errors.ts'
import { didYouMean } from '../trust/spelling.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import type { SigningOptions } from './ca-option.ts'
import { stands } from './certify.ts'
import { editFabric } from './fabric-edit.ts'
import { print, say } from './output.ts'
import { describeOverlap, overlapsOf } from './overlap.ts'

export interface RemoveOptions extends SigningOptions {
  readonly gateway: string
  readonly undo: boolean
}

export async function remove(options: RemoveOptions): Promise<void> {
  const { gateway, undo } = options
  await withAuthority(options, async (authority) => {
    const { removed, serial } = authority.fabric
    const known = [...new Set([...authority.state.numbers.keys(), ...removed])].sort()
    if (!known.includes(gateway)) {
      const next = known.length > 0 ? didYouMean(gateway, known) : 'linkspan ca show'
      throw new LinkspanError({ code: 'usage', object: gateway, reason: 'never had a certificate', next })
    }
    if (removed.includes(gateway) !== undo) {
      const text = `unchanged: ${gateway} is ${undo ? 'not removed' : 'removed already'}`
      print(options, { gateway, removed: !undo, unchanged: true, serial }, text)
      return
    }
    const after = undo ? removed.filter((name) => name !== gateway) : [...removed, gateway]
    const nowMs = Date.now()
    const { path, fabric } = await editFabric(authority, { removed: after }, nowMs)
    if (undo) for (const clash of clashesOf(authority, gateway, nowMs)) say(`note: ${clash}`)
    const lines = undo
      ? [
          `${gateway} is not removed any more: wrote ${path}, serial ${fabric.serial}`,
          '  its certificate counts again, if it has not expired: linkspan ca show',
        ]
      : [
          `removed ${gateway}: wrote ${path}, serial ${fabric.serial}`,
          `  every gateway drops it and its prefixes as soon as it reads this; its number stays its own`,
          `  its documents can be deleted from the registry now; linkspan ca remove ${gateway} --undo takes it back`,
        ]
    print(options, { gateway, removed: !undo, path, serial: fabric.serial }, lines.join('\n'))
  })
}

/** Prefixes that others were given while it was away. */
function clashesOf({ book, fabric }: Authority, gateway: string, nowMs: number): string[] {
  const certificate = book.certificate(gateway)?.document.payload
  if (certificate === undefined) return []
  const others = book.all('certificate').map(({ document }) => document.payload)
  const standing = others.filter((other) => stands(fabric, other, nowMs))
  return overlapsOf(certificate, standing)
    .filter(({ kind }) => kind === 'taken')
    .map((overlap) => `${describeOverlap(overlap)}, too: the lower number has it`)
}
