/**
 * Says of ourselves what the registry should hold: a request while we have no certificate, our record once we have one.
 * Runs beside the reconciler and never holds it up; what fails is tried again with backoff.
 */
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Config } from '../model/config.ts'
import type { Document } from '../model/document.ts'
import type { Registry } from '../registry/port.ts'
import { recordToPublish, requestOf } from './announce.ts'
import type { Keys } from './announce.ts'
import type { Events } from './event.ts'
import type { Inputs } from './inputs.ts'
import type { Tally } from './tally.ts'
import { backoffMs } from './trouble.ts'
import type { Trouble } from './trouble.ts'

export interface PublisherOptions {
  readonly config: Config
  readonly keys: Keys
  readonly registry: Registry
  readonly inputs: Inputs
  readonly events: Events
  readonly tally: Tally
  readonly signal: AbortSignal
}

/** What was published comes back as news within this time, in ms. */
const returnMs = 5000

export class Publisher {
  readonly #options: PublisherOptions
  #busy = false
  #again = false
  #round = 0
  #timer: NodeJS.Timeout | undefined
  /** Without its serial, so that what was said is not said again before it can come back. */
  #said = { content: '', atMs: -Infinity }
  #trouble: Trouble | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
    options.signal.addEventListener('abort', () => {
      clearTimeout(this.#timer)
    })
  }

  /** What keeps the registry from holding what it should. */
  get trouble(): Trouble | undefined {
    return this.#trouble
  }

  /** News came: look whether there is something to say. Returns at once. */
  look(): void {
    if (this.#busy) this.#again = true
    else void this.#work()
  }

  async #work(): Promise<void> {
    this.#busy = true
    clearTimeout(this.#timer)
    do {
      this.#again = false
      await this.#once()
    } while (this.#isAskedAgain())
    this.#busy = false
  }

  #isAskedAgain(): boolean {
    return this.#again && !this.#options.signal.aborted
  }

  async #once(): Promise<void> {
    const { registry, events, tally, signal, config } = this.#options
    let document: Document | undefined
    try {
      document = this.#wanted()
      if (document === undefined || registry.publish === undefined) return
      const content = JSON.stringify([document.type, { ...document.payload, serial: 0 }])
      if (content === this.#said.content && performance.now() - this.#said.atMs < returnMs) return
      await registry.publish(Buffer.from(this.#options.keys.seal(document)), signal)
      this.#said = { content, atMs: performance.now() }
      this.#round = 0
      this.#trouble = undefined
      events.emit('notice', 'published', { document: document.type, gateway: config.own.gateway })
    } catch (error) {
      if (signal.aborted) return
      const trouble = reasonOf(error, 'registry')
      const { object, reason, next } = trouble
      if (this.#trouble?.reason !== reason) {
        events.emit('error', 'publish-failed', { document: document?.type, object, reason, next })
      }
      this.#note(trouble)
      tally.error('publish')
      this.#timer = setTimeout(
        () => {
          this.look()
        },
        backoffMs(++this.#round, Math.random),
      )
    }
  }

  /** Undefined where the registry holds what it should, or where we do not know what it holds. */
  #wanted(): Document | undefined {
    const { config, keys, inputs } = this.#options
    if (inputs.readAtMs === undefined) return undefined
    const certificate = inputs.documentOf('certificate')
    if (certificate?.type !== 'certificate') return requestOf(config, keys)
    if (certificate.payload.identity !== keys.identity) {
      this.#mismatch()
      return undefined
    }
    if (this.#trouble?.object === mismatchOf(config)) this.#trouble = undefined
    const fabric = inputs.admission.snapshot?.fabric
    const { own, facts } = inputs
    if (fabric === undefined || own === undefined || facts === undefined) return undefined
    const record = inputs.documentOf('record')
    return recordToPublish({
      config,
      keys,
      fabric,
      certificate: certificate.payload,
      record: record?.type === 'record' ? record.payload : undefined,
      own,
      facts,
      nowMs: Date.now(),
    })
  }

  #mismatch(): void {
    const { config } = this.#options
    const { gateway } = config.own
    if (this.#trouble?.object === mismatchOf(config)) return
    const trouble: Reason = {
      code: 'document-invalid',
      object: mismatchOf(config),
      reason: 'is for another identity than that of this gateway',
      next: `after a reinstall: \`linkspan ca issue --replace ${gateway}\`; else give this gateway another name`,
    }
    this.#note(trouble)
    const { object, reason, next } = trouble
    this.#options.events.emit('error', 'identity-mismatch', { object, reason, next })
  }

  /** The same again is one trouble, since its first time. */
  #note({ code, object, reason, next }: Reason): void {
    const before = this.#trouble?.object === object ? this.#trouble : undefined
    this.#trouble = {
      code,
      object,
      reason,
      ...(next === undefined ? {} : { next }),
      sinceMs: before?.sinceMs ?? Date.now(),
      times: (before?.times ?? 0) + 1,
    }
  }
}

function mismatchOf(config: Config): string {
  return `certificate ${config.own.gateway}`
}
