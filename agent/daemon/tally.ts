/** Counts of what the reconciler did, for metrics. Plain numbers: the exporter reads them when it is asked. */
import type { OpResult } from '../model/op.ts'

/** Upper bounds of the histogram's buckets, in seconds. */
export const durationBuckets = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

export interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

export class Tally {
  readonly durations = new Map<'pass' | 'audit', Histogram>()
  /** `kind verb` -> count of ops carried out. */
  readonly done = new Map<string, number>()
  /** Kind -> objects that an audit had to repair. */
  readonly repaired = new Map<string, number>()
  /** Stage -> count. */
  readonly failed = new Map<string, number>()

  turn(kind: 'pass' | 'audit', ms: number): void {
    const histogram = this.durations.get(kind) ?? { counts: durationBuckets.map(() => 0), sum: 0, count: 0 }
    this.durations.set(kind, histogram)
    histogram.sum += ms / 1000
    histogram.count++
    for (const [i, bound] of durationBuckets.entries()) {
      if (ms / 1000 <= bound) histogram.counts[i] = (histogram.counts[i] ?? 0) + 1
    }
  }

  ops(results: readonly OpResult[]): void {
    for (const { op, error } of results) if (error === undefined) add(this.done, `${op.object.kind} ${op.verb}`, 1)
  }

  drift(results: readonly OpResult[]): void {
    for (const { op, error } of results) if (error === undefined) add(this.repaired, op.object.kind, 1)
  }

  errors(stage: string, count: number): void {
    add(this.failed, stage, count)
  }
}

function add(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count)
}
