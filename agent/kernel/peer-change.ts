/**
 * What changes about the peers of one device: the form in which ops reach WireGuard, whichever way they travel (generic
 * netlink to the kernel, a text protocol to wireguard-go).
 *
 * Live peers are only ever added to. Both ways replace a peer's AllowedIPs when told so, and a replacement drops packets
 * in the moment between; so nothing here says it. A prefix moves by being given to its new peer. To take one
 * away, where WireGuard has no word for it, it is given to a throw-away peer that is removed next.
 */
import { randomBytes } from 'node:crypto'
import type { Reason } from '../errors.ts'
import { keyOf } from '../model/kernel-object.ts'
import type { AllowedIP, Peer } from '../model/kernel-object.ts'
import type { PublicKey } from '../model/key.ts'
import type { Op } from '../model/op.ts'
import type { Prefix } from '../model/prefix.ts'

export interface PeerChange {
  readonly publicKey: PublicKey
  /**
   * `set`: make the peer if need be, set endpoint and keepalive. `allow`: give it the prefixes, only if it exists.
   * `disallow`: take the prefixes from it. `discard`: take the prefixes from whoever has them. `remove`: the peer goes.
   */
  readonly verb: 'set' | 'allow' | 'disallow' | 'discard' | 'remove'
  readonly endpoint?: string
  readonly keepalive?: number
  readonly prefixes: readonly Prefix[]
  /** Positions of the ops this carries out. */
  readonly ops: readonly number[]
}

/** Prefixes of one change at most, so that no request takes long to write. */
const changePrefixes = 1000

export interface PeerChannel {
  /** Carries out changes in order; one that fails does not stop the rest. One answer per change, absent for done. */
  send(
    device: string,
    changes: readonly PeerChange[],
    signal: AbortSignal,
  ): Promise<readonly (Reason | undefined)[]>
}

/** What has to be known of all ops of an apply before the first is carried out. */
export interface Survey {
  /** Peers that are removed: their prefixes go with them. */
  readonly leaving: ReadonlySet<string>
  /** Where prefixes were given in this apply; only kept where some are taken away too. */
  readonly given: Map<string, PublicKey> | undefined
}

export function survey(ops: readonly Op[]): Survey {
  const leaving = new Set<string>()
  let taking = false
  for (const { verb, object } of ops) {
    if (verb !== 'remove') continue
    if (object.kind === 'peer') leaving.add(`${object.device} ${object.publicKey}`)
    if (object.kind === 'allowed-ip') taking = true
  }
  return { leaving, given: taking ? new Map() : undefined }
}

/** A run of ops on peers and AllowedIPs of one device, by position. Neighbours about one peer become one change. */
export function peerChanges(
  ops: readonly Op[],
  run: readonly number[],
  { leaving, given }: Survey,
): readonly PeerChange[] {
  const changes: Growing[] = []
  for (const at of run) {
    const op = ops[at]
    if (op?.object.kind === 'peer') {
      const peer = op.object
      changes.push(op.verb === 'remove' ? change('remove', peer, at) : settings(peer, at))
    } else if (op?.object.kind === 'allowed-ip') {
      const { object } = op
      if (op.verb !== 'remove') {
        given?.set(keyOf(object), object.publicKey)
        grow(changes, 'allow', object, at)
        continue
      }
      // A prefix goes with its peer, and one that was given to another peer just now is gone already.
      const gone = leaving.has(`${object.device} ${object.publicKey}`)
      const owner = given?.get(keyOf(object)) ?? object.publicKey
      if (!gone && owner === object.publicKey) grow(changes, 'disallow', object, at)
    }
  }
  return changes
}

interface Growing extends PeerChange {
  readonly prefixes: Prefix[]
  readonly ops: number[]
}

function change(verb: PeerChange['verb'], object: Peer | AllowedIP, at: number): Growing {
  return { publicKey: object.publicKey, verb, prefixes: [], ops: [at] }
}

function settings(peer: Peer, at: number): Growing {
  return {
    ...change('set', peer, at),
    keepalive: peer.keepalive,
    ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
  }
}

function grow(
  changes: Growing[],
  verb: 'allow' | 'disallow',
  { publicKey, prefix }: AllowedIP,
  at: number,
): void {
  const last = changes.at(-1)
  if (last?.verb === verb && last.publicKey === publicKey && last.prefixes.length < changePrefixes) {
    last.prefixes.push(prefix)
    last.ops.push(at)
  } else changes.push({ publicKey, verb, prefixes: [prefix], ops: [at] })
}

/** Disallowing by throw-away peer: neighbours in the list share one. */
export function discarding(changes: readonly PeerChange[]): readonly PeerChange[] {
  const found: Growing[] = []
  for (const each of changes) {
    const last = found.at(-1)
    if (each.verb !== 'disallow') found.push({ ...each, prefixes: [...each.prefixes], ops: [...each.ops] })
    else if (last?.verb === 'discard' && last.prefixes.length < changePrefixes) {
      for (const prefix of each.prefixes) last.prefixes.push(prefix)
      for (const op of each.ops) last.ops.push(op)
    } else {
      found.push({
        publicKey: throwAwayKey(),
        verb: 'discard',
        prefixes: [...each.prefixes],
        ops: [...each.ops],
      })
    }
  }
  return found
}

/** A public key nobody has the private half of. */
function throwAwayKey(): PublicKey {
  return randomBytes(32).toString('base64') as PublicKey
}
