/**
 * All refusals there are, in their order. Who refuses says what begins and what ends; a bag costs what it changes, however
 * much junk lies in the registry. What ends and begins again with the same words never ended.
 */
import { compareRefusals } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import type { RuleId } from './rulebook.ts'
import { SortedList } from './sorted-list.ts'

/** How many there are. */
export interface Refused {
  readonly total: number
  readonly byRule: ReadonlyMap<RuleId, number>
}

/** Of one origin: why its document does not count. */
interface Turn {
  readonly before: Refusal | undefined
  after: Refusal | undefined
}

interface Change {
  readonly refusal: Refusal
  /** So many more of these words. */
  by: number
}

/** Changes written between two chances for the event loop. */
const step = 64

export class RefusalList {
  readonly #all = new SortedList<Refusal>(compareRefusals)
  readonly #listed: number
  #turns = new Map<string, Turn>()
  #changes = new Map<string, Change>()
  #byRule: ReadonlyMap<RuleId, number> = new Map()
  #list: readonly Refusal[] = []

  /** `listed`: how many of them `list` has, at most. */
  constructor(listed: number) {
    this.#listed = listed
  }

  /** The first of all, in order; the same array while nothing changed. */
  get list(): readonly Refusal[] {
    return this.#list
  }

  /** The same object while nothing changed. */
  get refused(): Refused {
    return { total: this.#all.size, byRule: this.#byRule }
  }

  /** An origin's document is refused for another reason, or for none. Of each origin there is one at most. */
  replace(origin: string, before: Refusal | undefined, after: Refusal | undefined): void {
    const turn = this.#turns.get(origin)
    if (turn === undefined) this.#turns.set(origin, { before, after })
    else turn.after = after
  }

  /** One of several of a gateway. */
  begin(refusal: Refusal): void {
    this.#change(refusal, 1)
  }

  end(refusal: Refusal): void {
    this.#change(refusal, -1)
  }

  /** Puts what began and ended in its place; answers what is new. Run it to its end. */
  *settle(): Generator<void, readonly Refusal[]> {
    const [turns, changes] = [this.#turns, this.#changes]
    this.#turns = new Map()
    this.#changes = new Map()
    const begun: Refusal[] = []
    const byRule = new Map(this.#byRule)
    let [count, isOther] = [0, false]
    const put = (refusal: Refusal, by: number): void => {
      for (let n = by; n < 0; n++) this.#all.delete(refusal)
      for (let n = by; n > 0; n--) {
        this.#all.add(refusal)
        begun.push(refusal)
      }
      const sum = (byRule.get(refusal.rule) ?? 0) + by
      if (sum === 0) byRule.delete(refusal.rule)
      else byRule.set(refusal.rule, sum)
      isOther ||= by !== 0
    }
    for (const { before, after } of turns.values()) {
      if (++count % step === 0) yield
      if (before !== undefined && after !== undefined && compareRefusals(before, after) === 0) continue
      if (before !== undefined) put(before, -1)
      if (after !== undefined) put(after, 1)
    }
    for (const { refusal, by } of changes.values()) {
      if (++count % step === 0) yield
      put(refusal, by)
    }
    if (!isOther) return begun
    this.#byRule = byRule
    this.#list = this.#all.first(this.#listed)
    return begun
  }

  #change(refusal: Refusal, by: number): void {
    const { origin, rule, object, reason, gateway, next, excerpt } = refusal
    const words = [origin, rule, object, reason, gateway, next, excerpt].join('\0')
    const change = this.#changes.get(words)
    if (change === undefined) this.#changes.set(words, { refusal, by })
    else change.by += by
  }
}
