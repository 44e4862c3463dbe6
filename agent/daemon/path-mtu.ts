/**
 * The daemon's side of path MTU discovery: has the engine ask what the table of MTUs says is due, and tells what was found.
 *
 *   table of MTUs ─▶ trials ─▶ engine ─▶ verdicts ─▶ table ─▶ path state: routes get it, and TCP's MSS with them
 */
import { MtuTable } from '../probe/mtu-table.ts'
import type { MtuChange, MtuPath, MtuView } from '../probe/mtu-table.ts'
import type { SizeTrial, TrialVerdict } from '../probe/port.ts'
import type { Events } from './event.ts'

export interface PathMtuOptions {
  /** What an earlier run found, by path. */
  readonly remembered: ReadonlyMap<string, number>
  readonly ask: (trials: readonly SizeTrial[]) => void
  /** Share of a path's probes that are lost: 0-1. */
  readonly lossOf: (id: string) => number
  readonly onFound: (id: string, view: MtuView) => void
  readonly events: Events
}

/** What to do where a path carries less than documents say. */
export const mtuAdvice =
  'let ICMP (fragmentation needed, packet too big) and fragments through on this underlay, or give its real mtu in the fabric document'

/** Trials that begin together, so that thousands of paths do not all send their largest packets at once; and ms until more. */
const together = { trials: 32, everyMs: 100 } as const

export class PathMtus {
  readonly #options: PathMtuOptions
  readonly #table: MtuTable
  #timer: NodeJS.Timeout | undefined
  #isStirred = false
  #isClosed = false

  constructor(options: PathMtuOptions) {
    this.#options = options
    this.#table = new MtuTable(options.remembered)
  }

  name(paths: readonly MtuPath[]): void {
    this.#table.name(paths, performance.now())
    for (const [id, view] of this.#table.views()) this.#options.onFound(id, view)
    this.#stir()
  }

  stand(id: string, isUp: boolean): void {
    this.#table.stand(id, isUp, performance.now())
    this.#stir()
  }

  judge(id: string, trial: number, verdict: TrialVerdict): void {
    const change = this.#table.judge(id, trial, verdict, performance.now())
    if (change !== undefined) {
      this.#tell(change)
      this.#options.onFound(id, change.view)
    }
    this.#stir()
  }

  /** Another engine begins, which knows nothing yet. */
  rest(): void {
    this.#table.rest(performance.now())
    this.#stir()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** News of many paths come together: one look at all of them. */
  #stir(): void {
    if (this.#isStirred) return
    this.#isStirred = true
    queueMicrotask(() => {
      this.#isStirred = false
      this.#wait(0)
    })
  }

  #wait(leastMs: number): void {
    clearTimeout(this.#timer)
    const inMs = this.#table.nextMs() - performance.now()
    if (inMs === Infinity || this.#isClosed) return
    this.#timer = setTimeout(
      () => {
        const trials = this.#table.due(performance.now(), together.trials, this.#options.lossOf)
        if (trials.length > 0) this.#options.ask(trials)
        this.#wait(trials.length < together.trials ? 0 : together.everyMs)
      },
      Math.max(leastMs, Math.ceil(inMs)),
    ).unref()
  }

  #tell({ path, before, view }: MtuChange): void {
    const { gateway, underlay } = path
    const { mtu, documents, reason } = view
    const about = { gateway, underlay, mtu, before, documents }
    if (mtu === before) return
    if (mtu > before) this.#options.events.emit('notice', 'path-mtu-raised', { ...about, reason })
    else {
      this.#options.events.emit('warning', 'path-mtu-lowered', { ...about, reason, next: mtuAdvice })
    }
  }
}
