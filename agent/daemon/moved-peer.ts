/**
 * Peers that moved, or that we moved away from: their endpoint is said more than once.
 *
 * WireGuard sends to where it was last called from, and from where it was last called at. Two ends that hear of a move one
 * after the other can so undo each other's change: one packet to or from the old address, under way while the new one was
 * set, and both stay with the old one for as long as it works at all. A few sayings a little later meet no such packet. They
 * cost nothing where the first one held; where a peer is learned elsewhere (NAT), it is learned anew by its next packet.
 */
import type { Peer } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'

/** After the change, in ms: beyond a round trip, beyond a few probes, beyond a busy machine. */
const afterMs = [1000, 3000, 10_000]

interface Saying {
  readonly peer: Peer
  readonly at: number
}

export class MovedPeers {
  readonly #rouse: () => void
  readonly #now: () => number
  #sayings: readonly Saying[] = []
  #timer: NodeJS.Timeout | undefined

  /** `rouse`: called when something is due. `now`: monotonic ms. */
  constructor(rouse: () => void, now: () => number = () => performance.now()) {
    this.#rouse = rouse
    this.#now = now
  }

  /** Takes in what was carried out. */
  note(ops: readonly Op[]): void {
    const now = this.#now()
    const fresh: Saying[] = []
    for (const op of ops) {
      const { object: peer } = op
      if (op.verb !== 'replace' || peer.kind !== 'peer' || op.before.kind !== 'peer') continue
      const { endpoint, from } = op.before
      const isMoved = peer.endpoint !== endpoint || (from !== undefined && peer.from !== from)
      if (peer.endpoint !== undefined && isMoved) fresh.push(...afterMs.map((ms) => ({ peer, at: now + ms })))
    }
    if (fresh.length === 0) return
    this.#sayings = [...this.#sayings, ...fresh].sort((a, b) => a.at - b.at)
    this.#wait(now)
  }

  /** What is to be said now, of peers that are still desired just so. */
  due(isDesired: (peer: Peer) => boolean): readonly Op[] {
    const now = this.#now()
    const peers = new Set(this.#sayings.flatMap(({ peer, at }) => (at <= now ? peer : [])))
    if (peers.size === 0) return []
    this.#sayings = this.#sayings.filter(({ at }) => at > now)
    this.#wait(now)
    return [...peers].filter(isDesired).map((peer) => ({ verb: 'replace', object: peer, before: peer }))
  }

  #wait(now: number): void {
    clearTimeout(this.#timer)
    const [next] = this.#sayings
    if (next !== undefined) this.#timer = setTimeout(this.#rouse, Math.max(0, next.at - now) + 1).unref()
  }
}
