/** Counts of what the reconciler did, for metrics. Plain numbers: the exporter reads them when it is asked. */
import type { OpResult } from '../model/op.ts'

/** Upper bounds of the histogram's buckets, in seconds. */
export const durationBuckets = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

export interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

export type Turn = 'pass' | 'audit'
export type Stage = 'registry' | 'verify' | 'publish' | 'memory' | 'state' | 'reconcile' | 'apply' | 'events'

export class Tally {
  readonly durations = new Map<Turn, Histogram>()
  /** `kind verb` -> count of ops carried out. */
  readonly done = new Map<string, number>()
  /** Kind -> objects that an audit had to repair. */
  readonly repaired = new Map<string, number>()
  readonly errors = new Map<Stage, number>()
  /** Plans that were discarded because the world had moved on before they were written. */
  discarded = 0
  /** performance.now() of the last turn that went through. */
  turnAt = -Infinity

  turn(kind: Turn, ms: number): void {
    const histogram = this.durations.get(kind) ?? { counts: durationBuckets.map(() => 0), sum: 0, count: 0 }
    this.durations.set(kind, histogram)
    histogram.sum += ms / 1000
    histogram.count++
    for (const [i, bound] of durationBuckets.entries()) {
      if (ms / 1000 <= bound) histogram.counts[i] = (histogram.counts[i] ?? 0) + 1
    }
  }

  ops(results: readonly OpResult[]): void {
    for (const { op, error } of results) {
      if (error === undefined) add(this.done, `${op.object.kind} ${op.verb}`)
    }
  }

  drift(kind: string): void {
    add(this.repaired, kind)
  }

  error(stage: Stage, count = 1): void {
    add(this.errors, stage, count)
  }
}

function add<Name extends string>(counts: Map<Name, number>, name: Name, count = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + count)
}
