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
 *
 * A bag may hold a hundred thousand documents, so none is gone through in one go: bags are put by one after the other, in
 * pieces, and none is taken that is half put by.
 */
import type { Bag, Delivered, Signed } from '../model/document.ts'
import { subjectOf } from '../trust/subject.ts'
import { Allowance, Allowances } from './allowance.ts'
import type { Rate } from './allowance.ts'
import { inTurns } from './breath.ts'

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
/** Documents gone through between two chances for the event loop. */
const step = 256

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
  /** Bags that are not put by; the first of them may be so in part. */
  readonly #heard: Bag[] = []
  #putBy: Promise<void> = Promise.resolve()
  #isTaking = false
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

  /** Resolves when the bag is put by, which a short one is at once. Whoever has more to say waits for it. */
  put(bag: Bag): Promise<void> {
    this.#heard.push(bag)
    // Where others are before it, whoever goes through them comes to it.
    if (this.#heard.length === 1) this.#putBy = inTurns(this.#putSteps())
    return this.#putBy
  }

  /** What came since, as one bag, and what waited long enough. Undefined: nothing that is due. */
  async take(unreadable: Bag['unreadable']): Promise<Taken | undefined> {
    while (this.#heard.length > 0) await this.#putBy
    if (!this.isDue) return undefined
    this.#isTaking = true
    try {
      return await inTurns(this.#takeSteps(unreadable))
    } finally {
      this.#isTaking = false
    }
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

  *#putSteps(): Generator<void, void> {
    for (let [bag] = this.#heard; bag !== undefined; [bag] = this.#heard) {
      try {
        yield* this.#put(bag)
      } finally {
        this.#heard.shift()
      }
      this.#wake()
    }
  }

  *#put({ documents, complete, gone = [], unreadable }: Bag): Generator<void> {
    const isRestless = yield* this.#isRestless({ documents, complete, gone, unreadable })
    let count = 0
    for (const one of isRestless ? documents : []) {
      if (++count % step === 0) yield
      if (this.#waiting.has(one.origin)) this.#waiting.set(one.origin, one)
      else {
        // It was let in meanwhile, so this is news.
        this.#hear(one)
        this.#unreadable = unreadable
      }
    }
    if (isRestless) return
    if (complete) {
      this.#documents = new Map()
      this.#gone = new Set()
      this.#complete = true
    }
    for (const origin of gone) {
      if (++count % step === 0) yield
      this.#documents.delete(origin)
      // A complete bag says by itself what is not there.
      if (!this.#complete) this.#gone.add(origin)
    }
    for (const one of documents) {
      if (++count % step === 0) yield
      this.#hear(one)
    }
    this.#unreadable = unreadable
  }

  #hear(one: Delivered): void {
    this.#gone.delete(one.origin)
    this.#documents.set(one.origin, one)
  }

  *#takeSteps(unreadable: Bag['unreadable']): Generator<void, Taken> {
    const [news, gone, complete, reasons] = [this.#documents, this.#gone, this.#complete, this.#unreadable]
    this.#documents = new Map()
    this.#gone = new Set()
    this.#complete = false
    this.#unreadable = undefined
    let count = 0
    for (const origin of gone) {
      if (++count % step === 0) yield
      this.#waiting.delete(origin)
    }
    // Half for what waits, and first: new names without end would else keep it out, a revocation perhaps. And half for the
    // news, which what waits without end would keep out.
    let left = news.size > 0 ? this.#checks.left / 2 : this.#checks.left
    const documents: Delivered[] = []
    for (const [origin, one] of this.#waiting) {
      if (++count % step === 0) yield
      if (left <= 0 && !complete) break
      if (complete && !news.has(origin)) this.#waiting.delete(origin)
      else if (left > 0 && this.#origins.has(origin)) {
        documents.push(news.get(origin) ?? one)
        news.delete(origin)
        this.#waiting.delete(origin)
        left--
      }
    }
    for (const [origin, one] of news) {
      if (++count % step === 0) yield
      documents.push(one)
      // Nothing that is under way waits: what its origin says meanwhile is newer, and must not be taken for it.
      this.#waiting.delete(origin)
    }
    return {
      isRead: reasons !== undefined,
      documents,
      complete,
      gone: [...gone],
      unreadable: reasons ?? unreadable,
    }
  }

  get #isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#unreadable === undefined
  }

  /** Nothing but more of those who have to wait anyway. */
  *#isRestless({ documents, complete, gone = [], unreadable }: Bag): Generator<void, boolean> {
    if (complete || this.#unreadable !== undefined || documents.length === 0) return false
    if (gone.length > 0 || unreadable.length > 0 || this.#isTaking) return false
    let count = 0
    for (const { origin } of documents) {
      if (++count % step === 0) yield
      if (!this.#waiting.has(origin) || this.#origins.has(origin)) return false
    }
    return true
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
