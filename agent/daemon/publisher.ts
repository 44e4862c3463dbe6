/**
 * Says of ourselves what the registry should hold: while we have no certificate a claim, where we came with a voucher, or a
 * request; our record once we have one.
 * Runs beside the reconciler and never holds it up; what fails is tried again with backoff.
 *
 * Where the registry has an outbox, what lies there is said: it is not said again, however long nobody carries it on.
 */
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Config } from '../model/config.ts'
import type { Document, Signed } from '../model/document.ts'
import type { Outbox, Registry } from '../registry/port.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { claimOf, recordToPublish, requestOf, sameContent } from './announce.ts'
import type { Keys, VoucherKey } from './announce.ts'
import type { Events } from './event.ts'
import type { Inputs } from './inputs.ts'
import { OwnPlaces, PutBack } from './own-place.ts'
import { sitePrefixes } from './site-prefix.ts'
import type { Surroundings } from './surroundings.ts'
import type { Tally } from './tally.ts'
import { backoffMs } from './trouble.ts'
import type { Trouble } from './trouble.ts'

export interface PublisherOptions {
  readonly config: Config
  readonly keys: Keys
  /** What cloud-init left here. */
  readonly voucher?: VoucherKey | undefined
  readonly registry: Registry
  readonly inputs: Inputs
  /** What the registry says of our own places; absent: nobody looks. */
  readonly places?: OwnPlaces
  readonly putBack?: PutBack
  readonly surroundings: Surroundings
  readonly isDraining?: () => boolean
  readonly events: Events
  readonly tally: Tally
  readonly signal: AbortSignal
}

/** A document in the outbox that the registry does not show. */
export interface Waiting {
  readonly document: Document['type']
  readonly path: string
  /** What somebody has to do with it. */
  readonly next: string
}

const putBackTold = {
  reason: 'somebody deleted it, or wrote over it',
  next: 'who writes there? linkspan registry watch; a gateway that is to go: linkspan ca remove',
}

/** What was published comes back as news within this time, in ms. */
const returnMs = 5000

export class Publisher {
  readonly #options: PublisherOptions
  readonly #places: OwnPlaces
  readonly #putBack: PutBack
  #busy = false
  #again = false
  #round = 0
  #timer: NodeJS.Timeout | undefined
  /** Without its serial, so that what was said is not said again before it can come back. */
  #said = { content: '', atMs: -Infinity }
  #trouble: Trouble | undefined
  #waiting: Waiting | undefined
  /** Hash of the document in the outbox that was told last. */
  #waitingTold = ''
  /** What became of our voucher, as it was told last. */
  #voucherTold = ''

  constructor(options: PublisherOptions) {
    this.#options = options
    const { places = new OwnPlaces(options.config.own.gateway), putBack = new PutBack() } = options
    this.#places = places
    this.#putBack = putBack
    options.signal.addEventListener('abort', () => {
      clearTimeout(this.#timer)
    })
  }

  /** What keeps the registry from holding what it should. */
  get trouble(): Trouble | undefined {
    return this.#trouble
  }

  get waiting(): Waiting | undefined {
    return this.#waiting
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
      const next = this.#next()
      // Whose name somebody else has waits on for what it asked.
      if (next === undefined && this.#trouble?.object !== mismatchOf(config)) this.#waiting = undefined
      if (next === undefined || registry.publish === undefined) return
      document = next.document
      const content = contentOf(document)
      const { outbox } = registry
      if (outbox === undefined) await registry.publish(Buffer.from(this.#seal(document)), signal)
      else await this.#lay(document, outbox, (bytes) => registry.publish?.(bytes, signal))
      this.#said = { content, atMs: performance.now() }
      this.#round = 0
      if (this.#trouble?.object !== mismatchOf(config)) this.#trouble = undefined
      const told = { document: document.type, gateway: config.own.gateway }
      if (next.isLost) {
        this.#putBack.done(performance.now())
        events.emit('warning', 'put-back', { ...told, ...putBackTold })
      } else if (outbox === undefined) events.emit('notice', 'published', told)
    } catch (error) {
      if (signal.aborted) return
      const trouble = reasonOf(error, 'registry')
      const { object, reason, next } = trouble
      if (this.#trouble?.reason !== reason) {
        events.emit('error', 'publish-failed', { document: document?.type, object, reason, next })
      }
      this.#note(trouble)
      tally.error('publish')
      this.#lookAfter(backoffMs(++this.#round, Math.random))
    }
  }

  #lookAfter(ms: number): void {
    this.#timer = setTimeout(() => {
      this.look()
    }, ms)
  }

  /** What to say now. `isLost`: it was said before, and does not lie in its place any more. */
  #next(): { readonly document: Document; readonly isLost: boolean } | undefined {
    const { registry, inputs } = this.#options
    const wanted = this.#wanted()
    const own = wanted ?? this.#ownRecord()
    if (own === undefined) return undefined
    const said = inputs.documentOf('record')
    const least = own.type === 'record' && said?.type === 'record' ? said.payload.serial : 0
    const isHeld =
      registry.outbox === undefined ? this.#places.holds(own, this.#signerOf(own), least) : undefined
    // It may not be in force yet, nor ever: that is no reason to say it again.
    if (isHeld === true) {
      this.#putBack.settled()
      return undefined
    }
    if (wanted !== undefined && contentOf(wanted) !== this.#said.content)
      return { document: wanted, isLost: false }
    if (isHeld === undefined) {
      const isRecent = performance.now() - this.#said.atMs < returnMs
      return wanted === undefined || isRecent ? undefined : { document: wanted, isLost: false }
    }
    const waitMs = this.#putBack.waitMs(performance.now())
    if (waitMs > 0) {
      this.#lookAfter(waitMs)
      return undefined
    }
    // Another serial: nobody has two documents of one serial to choose from.
    return { document: wanted ?? above(own, own), isLost: true }
  }

  /** Our record in force, while we are one of the fabric. */
  #ownRecord(): Extract<Document, { type: 'record' }> | undefined {
    const { config, keys, inputs, surroundings } = this.#options
    if (inputs.readAtMs === undefined || surroundings.isAsked) return undefined
    if (inputs.admission.snapshot?.gateways.has(config.own.gateway) !== true) return undefined
    const certificate = inputs.documentOf('certificate')
    if (certificate?.type !== 'certificate' || certificate.payload.identity !== keys.identity)
      return undefined
    const said = inputs.documentOf('record')
    return said?.type === 'record' ? said : undefined
  }

  #signerOf({ type }: Document): string {
    const { keys, voucher } = this.#options
    return type === 'claim' && voucher !== undefined ? voucher.key : keys.identity
  }

  #seal(document: Document): string {
    const { keys, voucher } = this.#options
    return (document.type === 'claim' && voucher !== undefined ? voucher : keys).seal(document)
  }

  /** Lays a document into the outbox, where none that says the same lies there; tells once that it waits there. */
  async #lay(
    document: Document,
    outbox: Outbox,
    write: (bytes: Uint8Array) => Promise<void> | undefined,
  ): Promise<void> {
    let wanted = signedOf(this.#seal(document))
    const laid = await outbox.read(wanted)
    const own = laid?.kid === wanted.kid ? laid : undefined
    if (own === undefined || !this.#stillSays(own.document, document)) {
      const bytes = this.#seal(above(own?.document, document))
      wanted = signedOf(bytes)
      await write(Buffer.from(bytes))
    } else wanted = own
    const path = outbox.pathOf(wanted)
    this.#waiting = { document: document.type, path, next: carry(document, path) }
    if (this.#waitingTold === wanted.hash) return
    this.#waitingTold = wanted.hash
    this.#options.events.emit('notice', 'outbox', { ...this.#waiting })
  }

  /** A record that is older than the registry's says nothing. */
  #stillSays(laid: Document, wanted: Document): boolean {
    const said = this.#options.inputs.documentOf('record')
    const isOld =
      laid.type === 'record' && said?.type === 'record' && laid.payload.serial <= said.payload.serial
    return !isOld && sameContent(laid, wanted)
  }

  /** Undefined where the registry holds what it should, or where we do not know what it holds. */
  #wanted(): Document | undefined {
    const { config, keys, inputs, surroundings } = this.#options
    if (inputs.readAtMs === undefined || surroundings.isAsked) return undefined
    const certificate = inputs.documentOf('certificate')
    if (certificate?.type !== 'certificate') return this.#claim() ?? requestOf(this.#requested(), keys)
    if (certificate.payload.identity !== keys.identity) {
      this.#mismatch()
      // After a reinstall `ca issue --replace` needs to know who asks. Once: whoever keeps the name does not take it back.
      const request = requestOf(this.#requested(), keys)
      return contentOf(request) === this.#said.content ? undefined : request
    }
    if (this.#trouble?.object === mismatchOf(config)) this.#trouble = undefined
    this.#tellVoucher('voucher-used', 'notice', 'the gateway is certified', 'delete the file')
    const fabric = inputs.admission.snapshot?.fabric
    const { own, facts } = inputs
    if (fabric === undefined || own === undefined || facts === undefined) return undefined
    const said = inputs.documentOf('record')
    const record = said?.type === 'record' ? said.payload : undefined
    return recordToPublish({
      config,
      keys,
      fabric,
      certificate: certificate.payload,
      record,
      own,
      facts,
      isDraining: this.#options.isDraining?.() ?? false,
      nowMs: Date.now(),
    })
  }

  /** Our claim, where the key that we hold is that of our voucher. Without one somebody must certify us by hand. */
  #claim(): Document | undefined {
    const { inputs, keys, voucher } = this.#options
    const said = inputs.documentOf('voucher')
    if (voucher === undefined || said?.type !== 'voucher') return undefined
    const { key, until, gateway } = said.payload
    const byHand = `linkspan ca voucher ${gateway} --replace, or certify it by hand: linkspan ca issue ${gateway}`
    if (key !== voucher.key) {
      this.#tellVoucher('voucher-unusable', 'error', 'the voucher in force is of another key', byHand)
      return undefined
    }
    if (until >= Date.now()) return claimOf(said.payload, keys)
    const reason = `the voucher ended at ${new Date(until).toISOString()}`
    this.#tellVoucher('voucher-unusable', 'error', reason, byHand)
    return undefined
  }

  #tellVoucher(event: string, level: 'notice' | 'error', reason: string, next: string): void {
    const { voucher, events } = this.#options
    if (voucher === undefined || this.#voucherTold === reason) return
    this.#voucherTold = reason
    events.emit(level, event, { object: voucher.file, reason, next })
  }

  /** What the operator configured; what is missing there as the cloud says it, else as the site's links do. */
  #requested(): Config {
    const { config, inputs, surroundings } = this.#options
    const request = surroundings.cloud?.request ?? config
    if (request.prefixes.length > 0 || inputs.facts === undefined) return request
    const { interfaces, exclude } = config.own
    const links = { exclude, endpoints: config.own.endpoints ?? [], ...(interfaces && { interfaces }) }
    return { ...request, prefixes: sitePrefixes(links, inputs.facts) }
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

function signedOf(text: string): Signed {
  const signed = parseDocument({ origin: 'the document to publish', bytes: Buffer.from(text) })
  if (isRefusal(signed)) throw new LinkspanError(signed)
  return signed
}

/** Newer than what lies in the outbox, which may be on its way into the registry. */
function above(laid: Document | undefined, document: Document): Document {
  if (laid?.type !== 'record' || document.type !== 'record') return document
  const serial = Math.max(document.payload.serial, laid.payload.serial + 1)
  return { ...document, payload: { ...document.payload, serial } }
}

function carry({ type }: Document, path: string): string {
  return type === 'request'
    ? `take it to the authority: linkspan ca issue ${path}, then make the bundle anew`
    : `put it into the registry that the bundle is made from: linkspan registry put ${path}, then make the bundle anew`
}

/** Without its serial, by which alone nothing new is said. */
function contentOf({ type, payload }: Document): string {
  return JSON.stringify([type, { ...payload, serial: 0 }])
}
