/**
 * `linkspan registry watch`: a line for every change of a registry, with what gateways make of it. First comes how it stands,
 * and what is not in force; then what is put, replaced and gone, and which other documents count differently for it, or
 * because their time has come or has ended.
 */
import { formatReason } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Bag, Delivered, Signed } from '../model/document.ts'
import { digestOf } from '../trust/envelope.ts'
import { Ledger } from '../trust/ledger.ts'
import type { Checked } from '../trust/admission.ts'
import { momentOf } from '../trust/moment.ts'
import { isRefusal, parseDocumentLater } from '../trust/parse.ts'
import type { Refusal } from '../trust/refusal.ts'
import { gatewayOf, nameOf, serialOf } from '../trust/subject.ts'
import { groundOf, sourceOf } from './registry-command.ts'
import type { JudgingOptions } from './registry-command.ts'
import { openRegistry, registryText } from './registry-driver.ts'
import { placeOf, shown } from './registry-place.ts'
import { isWell, judgeEach, tally } from './registry-verdict.ts'
import type { Entry, Judged } from './registry-verdict.ts'
import { count } from './table.ts'

/** Documents end and begin by the clock as well. */
const lookMs = 30_000
/** Signatures checked at the same time. */
const step = 64

export async function watchRegistry(options: JudgingOptions): Promise<void> {
  const of = await sourceOf(options)
  const stop = new AbortController()
  const end = (): void => {
    stop.abort()
  }
  process.once('SIGINT', end).once('SIGTERM', end)
  let sight: Sight | undefined
  const timer = setInterval(() => {
    sight?.look()
  }, lookMs)
  const teller = new Teller(options.json, registryText(of))
  try {
    for await (const bag of (await openRegistry(of)).watch(stop.signal)) {
      if (sight === undefined && bag.complete) {
        const ground = await groundOf(options, bag.documents)
        sight = new Sight(new Ledger(ground), teller, (origin) => placeOf(of, origin))
      }
      if (sight === undefined) teller.unreadable(bag.unreadable)
      else await sight.take(bag)
    }
  } finally {
    clearInterval(timer)
    process.off('SIGINT', end).off('SIGTERM', end)
    stop.abort()
  }
}

/** What was seen so far. */
class Sight {
  readonly #ledger: Ledger
  readonly #teller: Teller
  readonly #place: (origin: string) => string
  /** By origin: what lies there now. */
  readonly #entries = new Map<string, Entry & { readonly digest: string }>()
  #judged = new Map<string, Judged>()
  #unreadable: readonly Reason[] = []
  #isFirst = true

  constructor(ledger: Ledger, teller: Teller, place: (origin: string) => string) {
    this.#ledger = ledger
    this.#teller = teller
    this.#place = place
  }

  async take(bag: Bag): Promise<void> {
    this.#teller.unreadable(bag.unreadable)
    const documents: Checked[] = []
    // Signatures on other threads: while this one works, nothing is heard of the registry.
    for (let i = 0; i < bag.documents.length; i += step)
      documents.push(...(await Promise.all(bag.documents.slice(i, i + step).map((one) => this.#check(one)))))
    this.#unreadable = bag.unreadable
    for (const { origin, signed, digest } of documents) {
      if (signed !== undefined)
        this.#entries.set(origin, { origin, place: this.#place(origin), signed, digest })
    }
    const gone = bag.complete ? this.#missing(bag) : (bag.gone ?? [])
    for (const origin of gone) {
      const entry = this.#entries.get(origin)
      if (!this.#entries.delete(origin) || entry === undefined) continue
      this.#teller.gone(entry)
    }
    this.#settle({ ...bag, documents })
  }

  async #check(delivered: Delivered): Promise<Checked> {
    const digest = digestOf(delivered.bytes)
    const before = this.#entries.get(delivered.origin)
    const signed = before?.digest === digest ? before.signed : await parseDocumentLater(delivered)
    return { ...delivered, digest, signed }
  }

  /** The same documents, at another moment. */
  look(): void {
    this.#settle({ documents: [], complete: false, unreadable: this.#unreadable })
  }

  #settle(bag: Omit<Bag, 'documents'> & { readonly documents: readonly Checked[] }): void {
    const steps = this.#ledger.admitSteps(bag, momentOf(Date.now()))
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    const { snapshot, refusals } = step.value
    const judged = judgeEach([...this.#entries.values()], {
      snapshot,
      refusals,
      isInForce: (signed: Signed) => this.#ledger.isInForce(signed),
    })
    if (this.#isFirst) this.#teller.began(judged)
    const delivered = new Set(bag.documents.map(({ origin }) => origin))
    // What came, and then what follows from it.
    for (const isNews of [true, false]) {
      for (const one of judged) {
        if (delivered.has(one.origin) !== isNews) continue
        const before = this.#judged.get(one.origin)
        if (this.#isFirst ? !isWell(one) : saidOf(before) !== saidOf(one))
          this.#teller.changed(one, before === undefined ? 'new' : 'changed')
      }
    }
    this.#isFirst = false
    this.#judged = new Map(judged.map((one) => [one.origin, one]))
  }

  /** As the ledger takes it: what lies where nothing can be read is not gone. */
  #missing({ documents, unreadable }: Bag): string[] {
    const there = new Set(documents.map(({ origin }) => origin))
    return [...this.#entries.keys()].filter(
      (origin) =>
        !there.has(origin) &&
        !unreadable.some(({ object }) => origin === object || origin.startsWith(`${object}/`)),
    )
  }
}

function saidOf(judged: Judged | undefined): string {
  return JSON.stringify(judged)
}

/** Lines on stdout, one each, as text or as JSON. */
class Teller {
  readonly #json: boolean
  readonly #registry: string
  #unreadable = ''

  constructor(json: boolean, registry: string) {
    this.#json = json
    this.#registry = registry
  }

  began(judged: readonly Judged[]): void {
    const { length } = judged
    this.#tell(
      { event: 'watching', registry: this.#registry, documents: length },
      `watching ${this.#registry}: ${count(length, 'document')}: ${tally(judged)}`,
    )
  }

  changed(judged: Judged, event: 'new' | 'changed'): void {
    const { place, name, serial, standing, waitsFor, refusals } = judged
    const what =
      name === undefined ? shown(place) : `${name}${serial === undefined ? '' : `, serial ${serial}`}`
    const why = waitsFor === undefined ? refusals.map(lineOf) : [`for ${waitsFor}`]
    this.#tell({ event, ...judged }, [`${what}: ${standing}`, ...why].join('; '))
  }

  gone({ place, origin, signed }: Entry): void {
    const known = isRefusal(signed) ? undefined : signed.document
    const gateway = known && gatewayOf(known)
    const about =
      known === undefined
        ? {}
        : {
            type: known.type,
            name: nameOf(known),
            ...(gateway === undefined ? {} : { gateway }),
            ...(known.type === 'request' ? {} : { serial: serialOf(known) }),
          }
    const what = known === undefined ? shown(place) : `${nameOf(known)}, serial ${serialOf(known)}`
    this.#tell(
      { event: 'gone', place, origin, ...about },
      known === undefined || known.type === 'request'
        ? `${shown(place)}: gone`
        : `${what}: gone; gateways that know it keep it`,
    )
  }

  unreadable(reasons: readonly Reason[]): void {
    const said = JSON.stringify(reasons)
    if (said === (this.#unreadable === '' ? '[]' : this.#unreadable)) return
    this.#unreadable = said
    const text = reasons.map(formatReason).join('; ')
    this.#tell({ event: 'unreadable', reasons }, text === '' ? 'all readable again' : `unreadable: ${text}`)
  }

  #tell(json: object, text: string): void {
    const at = new Date().toISOString()
    const line = this.#json ? JSON.stringify({ schema: 1, at, ...json }) : `${at} ${shown(text)}`
    process.stdout.write(`${line}\n`)
  }
}

function lineOf({ rule, object, reason, next }: Refusal): string {
  return `${rule}: ${object}: ${reason}${next === undefined ? '' : ` (${next})`}`
}
