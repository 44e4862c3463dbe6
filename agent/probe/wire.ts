/**
 * The bytes between TypeScript and the probe thread: struct ls_probe_wish one way, rows of doubles the other
 * (native/probe.h). Both in the order of the host.
 */
import { LinkspanError } from '../errors.ts'
import { addressBytes, familyOf } from '../model/prefix.ts'
import type {
  ProbeCause,
  ProbeCounters,
  ProbedPath,
  ProbeState,
  SizeTrial,
  TrialVerdict,
  Word,
} from './port.ts'

export const wishBytes = 72
/** Doubles of a row. */
export const rowLength = 22
/** Bytes of a trial's order. */
export const trialBytes = 20
export const rowColumn = {
  id: 0,
  epoch: 1,
  state: 2,
  cause: 3,
  sinceMs: 4,
  changes: 5,
  wordKnown: 6,
  wordFlags: 7,
  wordWeight: 8,
  wordSerial: 9,
  trial: 20,
  verdict: 21,
} as const

const states: readonly ProbeState[] = ['unknown', 'up', 'silent', 'down']
const causes: readonly ProbeCause[] = ['none', 'answered', 'unanswered', 'echo-only', 'unsent']
const verdicts = ['none', 'answered', 'lost', 'too-big', 'void'] as const
/** Numbers of trials: what a double and 32 bits hold. */
const mostTrials = 2 ** 32
const wordFlag = { draining: 1, notForwarding: 2, returning: 4 } as const
const deviceLength = 16

/** Writes one path at `offset`. Throws LinkspanError (config-invalid) where something is out of range. */
export function writeWish(
  view: DataView,
  offset: number,
  path: ProbedPath,
  number: { readonly id: number; readonly epoch: number },
): void {
  const { profile, address, device } = path
  if (!/^[\x21-\x2e\x30-\x7e]{1,15}$/.test(device))
    throw refused(path, `no device is called ${JSON.stringify(device)}`)
  const put = (field: number, value: number): void => {
    view.setUint32(offset + field, value, littleEndian)
  }
  put(0, number.id)
  put(4, number.epoch)
  put(8, familyOf(address))
  const text = new Uint8Array(view.buffer, view.byteOffset + offset, wishBytes)
  text.fill(0, 12, 28 + deviceLength)
  text.set(addressBytes(address), 12)
  text.set(Buffer.from(device, 'latin1'), 28)
  const downAfter = profile.downAfter
  const fields: readonly (readonly [string, number, number])[] = [
    ['intervalMs', profile.intervalMs, 3_600_000],
    ['retryMs', profile.retryMs, 60_000],
    ['downAfter', downAfter, 10_000],
    ['echoAfter', profile.echoAfter ?? Math.min(5, Math.ceil(downAfter / 2)), 10_000],
    ['returnAfter', profile.returnAfter ?? 5, 10_000],
    ['holdMs', profile.holdMs ?? 1000, 86_400_000],
    ['holdLimitMs', profile.holdLimitMs ?? Math.max(60_000, profile.holdMs ?? 0), 86_400_000],
  ]
  fields.forEach(([name, value, most], i) => {
    if (!Number.isInteger(value) || value < 1 || value > most) {
      throw refused(path, `${name} is ${value}, and may be 1 to ${most}`)
    }
    put(44 + 4 * i, value)
  })
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function refused(path: ProbedPath, reason: string): LinkspanError {
  return new LinkspanError({ code: 'config-invalid', object: `path ${path.id}`, reason })
}

/** Writes the order of one trial at `offset`. */
export function writeTrial(
  view: DataView,
  offset: number,
  { trial, size, tries }: SizeTrial,
  number: { readonly id: number; readonly epoch: number },
): void {
  const fields = [number.id, number.epoch, trial % mostTrials, size, tries]
  fields.forEach((value, i) => {
    view.setUint32(offset + 4 * i, value, littleEndian)
  })
}

/** Of a row: the trial that was decided last, and how; undefined while none was. */
export function readVerdict(
  rows: Float64Array,
  at: number,
): { readonly trial: number; readonly verdict: TrialVerdict } | undefined {
  const verdict = verdicts[rows[at + rowColumn.verdict] ?? 0] ?? 'none'
  return verdict === 'none' ? undefined : { trial: rows[at + rowColumn.trial] ?? 0, verdict }
}

export function readState(rows: Float64Array, at: number): ProbeState {
  return states[rows[at + rowColumn.state] ?? 0] ?? 'unknown'
}

export function readCause(rows: Float64Array, at: number): ProbeCause {
  return causes[rows[at + rowColumn.cause] ?? 0] ?? 'none'
}

export function readWord(rows: Float64Array, at: number): Word | undefined {
  if (rows[at + rowColumn.wordKnown] !== 1) return undefined
  const flags = rows[at + rowColumn.wordFlags] ?? 0
  return {
    draining: (flags & wordFlag.draining) !== 0,
    notForwarding: (flags & wordFlag.notForwarding) !== 0,
    weight: rows[at + rowColumn.wordWeight] ?? 0,
    serial: rows[at + rowColumn.wordSerial] ?? 0,
    ...((flags & wordFlag.returning) === 0 ? {} : { returning: true }),
  }
}

/** Flags of the in-band TLV. Throws LinkspanError (internal) where weight or serial cannot be carried. */
export function flagsOf(word: Word): number {
  const carried =
    Number.isInteger(word.weight) &&
    word.weight >= 0 &&
    word.weight < 65_536 &&
    Number.isSafeInteger(word.serial)
  if (!carried || word.serial < 0) {
    const reason = `weight ${word.weight} or serial ${word.serial} is out of range`
    throw new LinkspanError({ code: 'internal', object: 'word of this gateway', reason })
  }
  return (word.draining ? wordFlag.draining : 0) | (word.notForwarding ? wordFlag.notForwarding : 0)
}

export function readCounters(values: readonly number[]): ProbeCounters {
  const at = (index: number): number => values[index] ?? 0
  return {
    reflected: at(0),
    malformed: at(1),
    refused: at(2),
    limited: at(3),
    unmatched: at(4),
    sent: at(5),
    unsent: at(6),
    echoSent: at(7),
    echoUnsent: at(8),
    socketErrors: at(9),
    lastErrno: at(10),
    wakeups: at(11),
    cpuMs: at(12) / 1e6,
    tries: at(13),
  }
}
