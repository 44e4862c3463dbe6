/**
 * What of a registry's news is taken, and when. Nobody can make a registry rest: a hostile one delivers junk without end, a
 * broken gateway a new record a thousand times a second. What is newest always comes in at last; how often is bounded:
 *
 *   by origin and by gateway   a key that flaps is applied a few times a second
 *   checks                     documents not seen before, after the first bag: so many a second
 *   work                       all that news cost the event loop: a fifth of its time
 *
 * What is not due waits here, of each origin only its last word, so there is never more than the registry holds. All that
 * wait have their turn, one after the other. To the ledger it is an origin that says what it said before.
 */
import type { Bag, Delivered, Signed } from '../model/document.ts'
import { subjectOf } from '../trust/subject.ts'
import { Allowance, Allowances } from './allowance.ts'
import type { Rate } from './allowance.ts'

export interface Limits {
  /** Changes of one origin, and of one gateway's documents of one type. */
  readonly changes: Rate
  /** Documents whose form and signature are checked. */
  readonly checks: Rate
  /** ms of the event loop. */
  readonly work: Rate
}

/** A fleet of 10,000 that is renewed at once comes in at once. */
export const usualLimits: Limits = {
  changes: { burst: 20, perSecond: 3 },
  checks: { burst: 20_000, perSecond: 200 },
  work: { burst: 5000, perSecond: 200 },
}

/** How often what waits is looked at, in ms. */
const lookMs = 200

/** `isRead`: the registry said something, and it is not only that something waited long enough. */
export type Taken = Bag & { readonly isRead: boolean }

export interface IntakeOptions {
  readonly limits: Limits
  /** ms that never go back. */
  readonly now: () => number
  /** Something is due. */
  readonly rouse: () => void
}

export class Intake {
  readonly #options: IntakeOptions
  readonly #origins: Allowances
  readonly #subjects: Allowances
  readonly #checks: Allowance
  readonly #work: Allowance
  /** Not taken yet; of several bags, what they say together. */
  #documents = new Map<string, Delivered>()
  #gone = new Set<string>()
  #complete = false
  #unreadable: Bag['unreadable'] | undefined
  /** By origin: looked at, and not due. The first to wait is the first to come. */
  readonly #waiting = new Map<string, Delivered>()
  /** A registry was read as a whole: from now on there are bounds. */
  #isOpen = true
  #timer: NodeJS.Timeout | undefined
  /** Times that something had to wait. */
  deferred = 0

  constructor(options: IntakeOptions) {
    this.#options = options
    const { limits, now } = options
    this.#origins = new Allowances(limits.changes, now)
    this.#subjects = new Allowances(limits.changes, now)
    this.#checks = new Allowance(limits.checks, now)
    this.#work = new Allowance(limits.work, now)
  }

  /** Documents that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** There is something to take. */
  get isDue(): boolean {
    if (this.#isOpen) return this.#unreadable !== undefined
    if (this.#work.left < 0) return false
    return this.#unreadable !== undefined || this.#ripe()
  }

  put(bag: Bag): void {
    if (this.#isRestless(bag)) {
      for (const one of bag.documents) this.#waiting.set(one.origin, one)
      return
    }
    if (bag.complete) {
      this.#documents = new Map()
      this.#gone = new Set()
      this.#complete = true
    }
    for (const origin of bag.gone ?? []) {
      this.#documents.delete(origin)
      // A complete bag says by itself what is not there.
      if (!this.#complete) this.#gone.add(origin)
    }
    for (const one of bag.documents) {
      this.#gone.delete(one.origin)
      this.#documents.set(one.origin, one)
    }
    this.#unreadable = bag.unreadable
    this.#wake()
  }

  /** What came since, as one bag, and what waited long enough. Undefined: nothing that is due. */
  take(unreadable: Bag['unreadable']): Taken | undefined {
    if (!this.isDue) return undefined
    const news = this.#documents
    const gone = [...this.#gone]
    for (const origin of gone) this.#waiting.delete(origin)
    // Half for what waits, and first: new names without end would else keep it out, a revocation perhaps. And half for the
    // news, which what waits without end would keep out.
    let count = news.size > 0 ? this.#checks.left / 2 : this.#checks.left
    const documents = new Map<string, Delivered>()
    for (const [origin, one] of this.#waiting) {
      if (count <= 0 && !this.#complete) break
      if (this.#complete && !news.has(origin)) this.#waiting.delete(origin)
      else if (count > 0 && this.#origins.has(origin)) {
        documents.set(origin, news.get(origin) ?? one)
        count--
      }
    }
    if (documents.size > 0) for (const [origin, one] of news) documents.set(origin, one)
    const bag: Taken = {
      isRead: this.#unreadable !== undefined,
      documents: [...(documents.size > 0 ? documents : news).values()],
      complete: this.#complete,
      gone,
      unreadable: this.#unreadable ?? unreadable,
    }
    this.#documents = new Map()
    this.#gone = new Set()
    this.#complete = false
    this.#unreadable = undefined
    return bag
  }

  /** It is known already, and nothing newer waits. */
  settled(origin: string): void {
    this.#waiting.delete(origin)
  }

  /** False where the document must not be checked now: it waits. */
  mayCheck(one: Delivered): boolean {
    if (
      this.#isOpen ||
      (this.#origins.has(one.origin) && this.#checks.take() && this.#origins.take(one.origin))
    )
      return true
    this.#defer(one)
    return false
  }

  /** False where its gateway changed too often: it waits. `signed`: what the check said of it. */
  mayEnter(one: Delivered, signed: Signed): boolean {
    // By signer, too: what a stranger says of a subject is not to use up what the authority may say of it.
    if (this.#isOpen || this.#subjects.take(`${subjectOf(signed)} ${signed.kid}`)) {
      this.#waiting.delete(one.origin)
      return true
    }
    this.#defer(one)
    return false
  }

  /** A bag was taken in, which took so long. */
  done(bag: Bag, ms: number): void {
    if (!this.#isOpen) this.#work.spend(ms)
    if (bag.complete) this.#isOpen = false
    if (!this.#isEmpty) this.#look()
  }

  /**
   * A bag could not be taken in, which took so long: it comes again with the next turn, as far as nothing newer was said.
   * Whoever failed says when that is.
   */
  failed({ documents, gone = [], complete, unreadable }: Bag, ms: number): void {
    if (!this.#isOpen) this.#work.spend(ms)
    if (this.#complete) return
    const [newer, lost] = [this.#documents, this.#gone]
    this.#documents = new Map()
    for (const one of documents) if (!lost.has(one.origin)) this.#documents.set(one.origin, one)
    for (const [origin, one] of newer) this.#documents.set(origin, one)
    for (const origin of gone) if (!newer.has(origin)) lost.add(origin)
    if (complete) this.#gone = new Set()
    this.#complete = complete
    this.#unreadable ??= unreadable
  }

  get #isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#unreadable === undefined
  }

  /** Nothing but more of those who have to wait anyway. */
  #isRestless({ documents, complete, gone = [], unreadable }: Bag): boolean {
    return (
      !complete &&
      this.#unreadable === undefined &&
      documents.length > 0 &&
      gone.length === 0 &&
      unreadable.length === 0 &&
      documents.every(({ origin }) => this.#waiting.has(origin) && !this.#origins.has(origin))
    )
  }

  #ripe(): boolean {
    if (this.#waiting.size === 0 || this.#checks.left < 1) return false
    for (const origin of this.#waiting.keys()) if (this.#origins.has(origin)) return true
    return false
  }

  #defer(one: Delivered): void {
    this.deferred++
    // Who was looked at stands behind those who were not.
    this.#waiting.delete(one.origin)
    this.#waiting.set(one.origin, one)
  }

  #wake(): void {
    if (this.isDue) this.#options.rouse()
    else this.#look()
  }

  #look(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.isDue) this.#options.rouse()
      else if (!this.#isEmpty) this.#look()
    }, lookMs).unref()
  }
}
