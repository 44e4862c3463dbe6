/**
 * The far end of probe tests, a process in a machine of its own: an engine that reflects and probes. Orders come as JSON
 * lines on stdin, news and reports go out as JSON lines.
 */
import { createInterface } from 'node:readline'
import { probes } from '../../agent/kernel/addon.ts'
import { startProbes } from '../../agent/probe/engine.ts'
import type {
  PathNews,
  ProbeCounters,
  ProbedPath,
  SizeTrial,
  TrialVerdict,
  Word,
} from '../../agent/probe/port.ts'

export interface FarOrder {
  readonly paths?: readonly ProbedPath[]
  readonly word?: Word
  readonly ask?: readonly SizeTrial[]
  readonly counters?: boolean
}

export interface FarSaid {
  readonly news?: PathNews
  readonly verdict?: TrialVerdict
  readonly roundTripsMs?: readonly number[]
  readonly counters?: ProbeCounters & Readonly<Record<string, number>>
  readonly done?: boolean
}

const say = (line: object): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
const word: Word = { draining: false, notForwarding: false, weight: 1, serial: 7 }
const engine = startProbes(probes(), Number(process.argv[2]), word, {
  onChange: (news) => {
    say({ news })
  },
  onVerdict: (_id, _trial, verdict) => {
    say({ verdict })
  },
  onReport: (report) => {
    say({ roundTripsMs: Array.from({ length: report.rows }, (_, row) => report.value(row, 'rttMs')) })
  },
})
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const order = JSON.parse(line) as FarOrder
    if (order.word !== undefined) engine.setWord(order.word)
    if (order.paths !== undefined) engine.setPaths(order.paths)
    if (order.ask !== undefined) engine.ask(order.ask)
    if (order.counters === true) say({ counters: engine.counters() })
    say({ done: true })
  })
  .on('close', () => process.exit(0))
