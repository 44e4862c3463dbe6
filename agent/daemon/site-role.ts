/**
 * Whether this gateway is the active one of its site, over time. plan/active.ts says who should be; this keeps two gateways
 * from taking turns:
 *
 * - Who steps down does so at once: it stops running the hook, and what the hook did last still stands.
 * - Who takes over has been fit for a while itself, so that one that comes back and goes again changes nothing. A gateway
 *   that was fit all along takes over at once.
 * - An agent that is silent is taken for stopped, not for dead, for as long as an upgrade or a reboot of it may take.
 *
 * No clock of its own: time is an argument.
 */
import type { Name } from '../model/fabric.ts'
import { activeOf, rankOf } from '../plan/active.ts'
import type { Candidate } from '../plan/active.ts'

/** For how long, in ms, a gateway that comes back is fit before it takes over. */
export const fitMs = 5000
/** For how long, in ms, a silent agent counts as one that is about to come back. */
export const silentMs = 30_000

export interface Role {
  /** Who should be; undefined where nobody is left, or we are not admitted. */
  readonly chosen: Name | undefined
  /** We are. */
  readonly isActive: boolean
  /** Whether another look is needed although there is no news, and in how many ms. */
  readonly againMs?: number
}

export class SiteRole {
  readonly #self: Name
  #isActive = false
  /** Our own rank at the last look, and since when it has not been worse. */
  #own: { readonly rank: number; readonly sinceMs: number } = { rank: Infinity, sinceMs: 0 }
  #silentSince: ReadonlyMap<Name, number> = new Map()

  constructor(self: Name) {
    this.#self = self
  }

  look(candidates: readonly Candidate[], nowMs: number): Role {
    const patient = this.#patient(candidates, nowMs)
    const own = patient.find(({ name }) => name === this.#self)
    const rank = own === undefined ? Infinity : rankOf(own.standing)
    if (rank < this.#own.rank) this.#own = { rank, sinceMs: nowMs }
    else this.#own = { ...this.#own, rank }
    const chosen = activeOf(patient)?.name
    const waits = this.#own.sinceMs + fitMs - nowMs
    const isOurs = chosen !== undefined && chosen === this.#self
    this.#isActive = isOurs && (this.#isActive || waits <= 0)
    const looks = [...this.#silentSince.values()].map((since) => since + silentMs - nowMs)
    if (isOurs && !this.#isActive) looks.push(waits)
    const next = looks.filter((ms) => ms > 0)
    return {
      chosen,
      isActive: this.#isActive,
      ...(next.length === 0 ? {} : { againMs: Math.min(...next) }),
    }
  }

  /** As they are, but that a silent one is fit for a while yet. */
  #patient(candidates: readonly Candidate[], nowMs: number): readonly Candidate[] {
    const silent = candidates.filter(({ standing }) => standing === 'silent')
    this.#silentSince = new Map(silent.map(({ name }) => [name, this.#silentSince.get(name) ?? nowMs]))
    return candidates.map((candidate) => {
      const since = this.#silentSince.get(candidate.name)
      return since !== undefined && nowMs - since < silentMs ? { ...candidate, standing: 'fit' } : candidate
    })
  }
}
