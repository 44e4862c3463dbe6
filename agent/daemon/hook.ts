/**
 * A hook: a program that is to have run with the newest state, for as long as it is wanted. One run at a time; what is wanted
 * meanwhile waits, and is one run however often it is asked for, since a run takes the state of the moment it begins in. One
 * that fails is run again, ever later, until it succeeds or is not wanted any more: then it is killed.
 */
import { reasonOf } from '../errors.ts'
import { isAborted, pause } from '../pause.ts'
import type { Events } from './event.ts'
import { backoffMs } from './trouble.ts'
import type { Trouble } from './trouble.ts'

/** Why it runs: we took over; what it is told is different; another hand may have undone it. */
export type HookCause = 'takeover' | 'change' | 'audit'

export interface HookRequest {
  readonly input: string
  readonly environment: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Resolves with what it said last, in one line; rejects where it failed or the signal aborted. Its end is over by then. */
export type RunHook = (program: string, request: HookRequest) => Promise<string>

export interface HookOptions {
  /** E.g. `site-active`. */
  readonly name: string
  readonly program: string
  readonly timeoutMs: number
  readonly run: RunHook
  /** What it is told, made when a run begins. */
  readonly input: (cause: HookCause) => string
  readonly environment: Readonly<Record<string, string>>
  readonly events: Events
  readonly random?: () => number
}

export interface HookView {
  readonly name: string
  readonly program: string
  readonly running: boolean
  /** Of the last run that ended by itself; absent: there was none. */
  readonly last?: {
    readonly outcome: 'ok' | 'failed'
    readonly cause: HookCause
    /** Unix ms of its end. */
    readonly atMs: number
    readonly ms: number
    /** What it printed last, or why it failed. */
    readonly said: string
  }
  readonly runs: { readonly ok: number; readonly failed: number }
  /** Unix ms. */
  readonly lastSuccessMs?: number
}

export class Hook {
  readonly #options: HookOptions
  #wanted: HookCause | undefined
  /** Of the runs that go on; aborted where they are not wanted any more. */
  #work: AbortController | undefined
  #isRunning = false
  #last: HookView['last']
  #lastSuccessMs: number | undefined
  readonly #runs = { ok: 0, failed: 0 }
  #trouble: Trouble | undefined

  constructor(options: HookOptions) {
    this.#options = options
  }

  /** Failures in a row. */
  get trouble(): Trouble | undefined {
    return this.#trouble
  }

  get view(): HookView {
    const { name, program } = this.#options
    return {
      name,
      program,
      running: this.#isRunning,
      ...(this.#last === undefined ? {} : { last: this.#last }),
      runs: { ...this.#runs },
      ...(this.#lastSuccessMs === undefined ? {} : { lastSuccessMs: this.#lastSuccessMs }),
    }
  }

  /** A run from now on; one that goes on is let go on first, and one that waits because it failed waits no shorter. */
  want(cause: HookCause): void {
    // An audit is part of whatever else is wanted, and an audit that failed is tried again as one.
    if (cause !== 'audit' || this.#wanted === undefined) this.#wanted = cause
    if (this.#work === undefined) void this.#go()
  }

  /** Not wanted any more: what runs is killed, what waits forgotten. */
  stop(): void {
    this.#wanted = undefined
    this.#trouble = undefined
    this.#work?.abort()
  }

  async #go(): Promise<void> {
    const work = new AbortController()
    this.#work = work
    const { signal } = work
    const { random = Math.random } = this.#options
    for (let failures = 0; this.#wanted !== undefined && !signal.aborted;) {
      const cause: HookCause = this.#wanted
      this.#wanted = undefined
      if (await this.#run(cause, signal)) failures = 0
      else if (!isAborted(signal)) {
        this.#again(cause)
        await pause(backoffMs(++failures, random), signal)
      }
    }
    this.#work = undefined
    // It was stopped, and wanted again before the run had ended.
    if (this.#wanted !== undefined) void this.#go()
  }

  /** Unless something newer is wanted already. */
  #again(cause: HookCause): void {
    this.#wanted ??= cause
  }

  async #run(cause: HookCause, signal: AbortSignal): Promise<boolean> {
    const { name, program, run, input, environment, timeoutMs } = this.#options
    const startedAt = performance.now()
    this.#isRunning = true
    try {
      const said = await run(program, { input: input(cause), environment, timeoutMs, signal })
      this.#note('ok', cause, startedAt, said)
      return true
    } catch (error) {
      if (signal.aborted) return false
      const { code, object, reason, next } = reasonOf(error, `hook ${name}`)
      const before = this.#trouble
      const sinceMs = before?.sinceMs ?? Date.now()
      const times = (before?.times ?? 0) + 1
      this.#trouble = { code, object, reason, ...(next === undefined ? {} : { next }), sinceMs, times }
      this.#note('failed', cause, startedAt, reason)
      return false
    } finally {
      this.#isRunning = false
    }
  }

  #note(outcome: 'ok' | 'failed', cause: HookCause, startedAt: number, said: string): void {
    const { name, events } = this.#options
    const before = this.#last
    const ms = Math.round(performance.now() - startedAt)
    this.#last = { outcome, cause, atMs: Date.now(), ms, said }
    this.#runs[outcome]++
    if (outcome === 'failed') {
      // The same again is no news; `status` counts it.
      const isNew = before?.outcome !== 'failed' || before.said !== said
      const { next, times } = this.#trouble ?? {}
      events.emit(isNew ? 'error' : 'debug', 'hook-failed', {
        hook: name,
        cause,
        ms,
        times,
        reason: said,
        next,
      })
      return
    }
    const wasFailing = this.#trouble !== undefined
    this.#trouble = undefined
    this.#lastSuccessMs = this.#last.atMs
    const isQuiet = cause === 'audit' && !wasFailing && before?.said === said
    events.emit(isQuiet ? 'debug' : 'notice', 'hook-ran', { hook: name, cause, ms, said })
  }
}
