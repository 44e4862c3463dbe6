/**
 * What was read of a bundle so far, and from which mirror: one round of asking at a time. A body is told from the last one
 * by its digest, so a server that names the same bytes anew, or another mirror with the same bytes, is no news.
 */
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import { decodeSteps, isNoBundle } from './bundle.ts'
import type { Bundle, NoBundle } from './bundle.ts'
import type { Body } from './https-body.ts'
import { CredentialStore } from './credential.ts'
import type { Credentials } from './credential.ts'
import { unreadable } from './https-fault.ts'
import { Mirrors } from './https-mirror.ts'
import type { Mirror } from './https-mirror.ts'
import type { Setting } from './https-option.ts'
import { get } from './https-request.ts'
import { shownUrl } from './https-url.ts'
import { inTurns } from './in-turns.ts'
import type { Bag } from './port.ts'

export interface MirrorHealth {
  /** Without query. */
  readonly url: string
  readonly isUsed: boolean
  /** Unix ms of the last good answer, and how long it took to come, in ms. */
  readonly answeredAtMs?: number
  readonly latencyMs?: number
  /** Why the last request failed; absent where it did not. */
  readonly reason?: Reason
}

/** Documents put into a bag between two chances for the event loop. */
const step = 4096

export class Source {
  readonly #setting: Setting
  readonly #mirrors: Mirrors
  readonly #credentials: CredentialStore
  /** Of the body last delivered. */
  #digest: string | undefined
  #badLines: readonly Reason[] = []
  #unreadable: readonly Reason[] = []
  #roundMs = 0

  constructor(setting: Setting) {
    this.#setting = setting
    this.#mirrors = new Mirrors(setting.urls, setting.times, setting.random)
    this.#credentials = new CredentialStore(setting.files)
  }

  /** Until the next round, in ms. As long as the last one took, at least: no server keeps us busy all the time. */
  get waitMs(): number {
    return Math.max(this.#roundMs, this.#mirrors.waitMs(performance.now()))
  }

  get health(): readonly MirrorHealth[] {
    return this.#mirrors.all.map((mirror) => ({
      url: shownUrl(mirror.url),
      isUsed: mirror === this.#mirrors.used,
      ...mirror.answered,
      ...(mirror.reason === undefined ? {} : { reason: mirror.reason }),
    }))
  }

  /** The next bag will hold everything again. */
  forget(): void {
    this.#digest = undefined
    this.#badLines = []
    this.#unreadable = []
  }

  /** One round. Undefined: nothing to say. Throws the signal's reason. */
  async poll(signal: AbortSignal): Promise<Bag | undefined> {
    const startedMs = performance.now()
    try {
      return await this.#poll(signal)
    } finally {
      this.#roundMs = performance.now() - startedMs
    }
  }

  async #poll(signal: AbortSignal): Promise<Bag | undefined> {
    let credentials: Credentials
    try {
      credentials = await this.#credentials.current()
    } catch (error) {
      if (!(error instanceof LinkspanError)) throw error
      this.#mirrors.noneWorked()
      return this.#report([plain(error)])
    }
    for (const mirror of this.#mirrors.turn(performance.now())) {
      const news = await this.#ask(mirror, credentials, signal)
      if (news === 'failed') continue
      this.#mirrors.worked(mirror, performance.now())
      if (news === 'none') return this.#report(this.#badLines)
      this.#badLines = this.#unreadable = news.unreadable
      return news
    }
    this.#mirrors.noneWorked()
    return this.#report(this.#mirrors.reasons)
  }

  async #ask(
    mirror: Mirror,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<Bag | 'none' | 'failed'> {
    const { url, known } = mirror
    const { idleMs, totalMs, maxBytes, resolve } = this.#setting
    // Conditions are about the body that we went on from; "not changed" since another one would mean nothing.
    const validator = known?.digest === this.#digest ? known?.validator : undefined
    const startedMs = performance.now()
    const answer = await get({ url, credentials, validator, resolve, idleMs, totalMs, maxBytes }, signal)
    if (answer.kind === 'failed') return this.#fail(mirror, answer.reason, answer.retryAfterMs)
    const latencyMs = performance.now() - startedMs
    let news: Bag | 'none' = 'none'
    if (answer.kind === 'body') {
      const { body, validator: given } = answer
      if (body.digest !== this.#digest) {
        const bundle = await inTurns(decodeSteps(body.bytes), signal)
        if (isNoBundle(bundle)) return this.#fail(mirror, noBundle(url, bundle, body))
        mirror.isForgetful ||= validator?.etag !== undefined && validator.etag === given?.etag
        news = await inTurns(bagSteps(url, bundle), signal)
        this.#digest = body.digest
      }
      const isUsable = given !== undefined && !mirror.isForgetful
      mirror.known = isUsable ? { validator: given, digest: body.digest } : undefined
    }
    mirror.answered = { answeredAtMs: Date.now(), latencyMs }
    return news
  }

  #fail(mirror: Mirror, reason: Reason, retryAfterMs?: number): 'failed' {
    this.#mirrors.failed(mirror, plain(reason), retryAfterMs, performance.now())
    return 'failed'
  }

  /** A bag that says what cannot be read now, where that is another than before. */
  #report(unreadable: readonly Reason[]): Bag | undefined {
    if (JSON.stringify(unreadable) === JSON.stringify(this.#unreadable)) return undefined
    this.#unreadable = unreadable
    return { documents: [], complete: false, unreadable }
  }
}

/** The bag of a bundle, with a yield every few thousand documents. */
export function* bagSteps(url: URL, { entries, badLines }: Bundle): Generator<void, Bag> {
  const documents: Delivered[] = []
  for (const { name, bytes } of entries) {
    if (documents.push({ origin: `https:${name}`, bytes }) % step === 0) yield
  }
  return {
    documents,
    complete: true,
    unreadable: badLines.map(({ line, name, reason }) => ({
      code: 'registry-unreadable',
      // Under its origin, so that its earlier document does not count as vanished.
      object: name === undefined ? shownUrl(url) : `https:${name}`,
      reason: `line ${line} of the bundle ${reason}`,
      next: 'make the bundle anew: linkspan registry bundle',
    })),
  }
}

function noBundle(url: URL, { malformed, hint }: NoBundle, { isPage }: Body): Reason {
  const next = isPage ? 'a login page, a captive portal or a proxy answers in its place' : hint
  return unreadable(url, { reason: `the body ${malformed}`, ...(next === undefined ? {} : { next }) })
}

/** The four words alone: an error has a stack besides. */
function plain({ code, object, reason, next }: Reason): Reason {
  return { code, object, reason, ...(next === undefined ? {} : { next }) }
}
