/**
 * What comes next in a rotation of keys, from what is known. Pure: rotation.ts gathers the facts and does what is said here.
 *
 *   settled ─begin─▶ announcing ─▶ moving ─retire─▶ retiring ─forget─▶ settled
 *
 * announcing: our record with the new keys is not in force yet. moving: peers go over to them one by one, each when something
 * came back by the new devices (plan/lane.ts); whoever still uses the old ones shakes hands there. retiring: our record
 * without the old keys is not in force yet, or devices of theirs still stand. Nothing here is remembered but in the key files
 * and in the record, so that a crash at any point goes on where it was.
 */
import { createHash } from 'node:crypto'
import type { Name } from '../model/fabric.ts'
import type { Generation } from './key-store.ts'

/** No handshake younger than this on old keys: nobody uses them (WireGuard's REJECT_AFTER_TIME). */
export const quietMs = 180_000
/** Then they go, whoever uses them... */
export const longestMs = 24 * 3_600_000
/** ...but not before peers had this long to hear of the new ones. */
export const leastMs = 600_000
const dayMs = 86_400_000
/** Of the days of a schedule: gateways that were set up together rotate spread over so much of it. */
const spread = 0.1

export type RotationPhase = 'settled' | 'announcing' | 'moving' | 'retiring'

export interface RotationFacts {
  readonly gateway: Name
  /** Unix ms that is surely past. */
  readonly nowMs: number
  readonly newest: Generation
  readonly older: (Generation & { readonly isOffered: boolean }) | undefined
  /** What our record in force lists, as the kernel has it; absent: there is none. */
  readonly listed?: { readonly generation: number; readonly older: boolean }
  /** ms for which this run has seen it list the newest generation. */
  readonly listedMs?: number
  /** Gateways that shook hands with us by the older keys within `quietMs`; absent: not known. */
  readonly users?: readonly Name[]
  /** Of the fabric document; 0: by hand. */
  readonly days: number
}

export interface RotationStep {
  readonly phase: RotationPhase
  readonly step: 'none' | 'begin' | 'retire' | 'forget'
  /** One sentence without a trailing stop. */
  readonly waitsFor?: string
}

export function nextStep(facts: RotationFacts): RotationStep {
  const { older, newest, listed, listedMs, users, nowMs } = facts
  if (older === undefined) {
    return { phase: 'settled', step: isDue(facts) ? 'begin' : 'none' }
  }
  if (!older.isOffered) {
    if (listed?.generation === newest.number && !listed.older) return { phase: 'retiring', step: 'forget' }
    return {
      phase: 'retiring',
      step: 'none',
      waitsFor: 'our record without the old keys is not in force yet',
    }
  }
  if (listed?.generation !== newest.number || listedMs === undefined) {
    return { phase: 'announcing', step: 'none', waitsFor: 'our record with the new keys is not in force yet' }
  }
  if (nowMs - newest.madeAtMs >= longestMs && listedMs >= leastMs) return { phase: 'moving', step: 'retire' }
  if (users === undefined) {
    return { phase: 'moving', step: 'none', waitsFor: 'it is not known yet who uses the old keys' }
  }
  if (users.length > 0) {
    const some = users.slice(0, 8).join(', ')
    const names = users.length > 8 ? `${some} and ${users.length - 8} more` : some
    const waitsFor = `${users.length === 1 ? 'one gateway' : `${users.length} gateways`} shook hands by the old keys within the last ${quietMs / 1000} s: ${names}`
    return { phase: 'moving', step: 'none', waitsFor }
  }
  // After a start nobody may have had the time to.
  if (listedMs < quietMs) {
    const seconds = Math.ceil((quietMs - listedMs) / 1000)
    return { phase: 'moving', step: 'none', waitsFor: `nobody uses the old keys; they go in ${seconds} s` }
  }
  return { phase: 'moving', step: 'retire' }
}

function isDue(facts: RotationFacts): boolean {
  const atMs = dueAtMs(facts)
  return atMs !== undefined && facts.nowMs >= atMs
}

/** When the schedule asks for the next rotation: Unix ms; never later than `days` after the last. */
export function dueAtMs({
  gateway,
  newest,
  days,
}: Pick<RotationFacts, 'gateway' | 'newest' | 'days'>): number | undefined {
  if (days === 0) return undefined
  return newest.madeAtMs + days * dayMs * (1 - spread * shareOf(`${gateway} ${newest.number}`))
}

/** 0 to 1, the same each time for the same text. */
function shareOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32
}
