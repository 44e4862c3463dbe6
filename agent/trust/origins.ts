/**
 * Where documents come from. A registry names each by an origin, which carries no trust; it is kept to tell what is new from
 * what was said before, to say what of it does not count and why, and to see what is no longer there.
 *
 * What an origin said last and counted is its word. It stays its word while the origin delivers nonsense, so that a document
 * that was mangled in its place is no vanished one.
 */
import type { Bag, Signed } from '../model/document.ts'
import { compareText } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { behind, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'

interface Source {
  digest: string
  word?: Signed
  /** The word is what the origin says now. */
  saysIt: boolean
  /** Why its present bytes do not count. */
  refusal?: Refusal
  gone: boolean
}

/** Where a document in force is now. */
export interface Place {
  /** The first of those that say it now; undefined: none does. */
  readonly origin: string | undefined
  /** Some origin speaks of the subject, if only in older words. */
  readonly isThere: boolean
}

export class Origins {
  readonly #sources = new Map<string, Source>()
  /** Origins whose word is about a subject. */
  readonly #speakers = new Map<string, Set<string>>()

  /** True where this origin delivered these bytes last. */
  knows(origin: string, digest: string): boolean {
    return this.#sources.get(origin)?.digest === digest
  }

  /** The origin's word, where it is what it says now. */
  wordOf(origin: string): Signed | undefined {
    const source = this.#sources.get(origin)
    return source?.saysIt === true && !source.gone ? source.word : undefined
  }

  speakersOf(subject: string): Iterable<string> {
    return this.#speakers.get(subject) ?? []
  }

  /** The same bytes as last. Answers the subject that is there again, if it was gone. */
  repeat(origin: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source?.gone !== true) return undefined
    source.gone = false
    return source.word && subjectOf(source.word)
  }

  /** Other bytes than last. Answers the subject of its word, which is there again. */
  renew(origin: string, digest: string): string | undefined {
    const source: Source = { ...this.#sources.get(origin), digest, gone: false, saysIt: false }
    delete source.refusal
    this.#sources.set(origin, source)
    return source.word && subjectOf(source.word)
  }

  refuse(origin: string, refusal: Refusal): void {
    const source = this.#sources.get(origin)
    if (source === undefined) return
    source.refusal = refusal
    source.saysIt = false
  }

  /** What it says is nothing that matters any more. */
  excuse(origin: string): void {
    delete this.#sources.get(origin)?.refusal
  }

  /** What an origin says counts, or counted. Answers the subject that it spoke of before. */
  speak(origin: string, signed: Signed, subject: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source === undefined) return undefined
    delete source.refusal
    const before = source.word && subjectOf(source.word)
    if (before !== undefined && before !== subject) this.#speakers.get(before)?.delete(origin)
    source.word = signed
    source.saysIt = true
    const speakers = this.#speakers.get(subject) ?? new Set()
    this.#speakers.set(subject, speakers.add(origin))
    return before
  }

  /** Origins that are known, and no longer there after this bag. */
  *missing(
    { complete, gone, unreadable }: Omit<Bag, 'documents'>,
    delivered: ReadonlySet<string>,
  ): Generator<string> {
    if (!complete) {
      for (const origin of gone ?? []) if (!delivered.has(origin)) yield origin
      return
    }
    const objects = unreadable.map(({ object }) => object)
    for (const [origin, source] of [...this.#sources]) {
      if (source.gone || delivered.has(origin)) continue
      if (!objects.some((object) => origin === object || origin.startsWith(`${object}/`))) yield origin
    }
  }

  /** An origin is no longer there. Answers the subject of its word. */
  lose(origin: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source === undefined || source.gone) return undefined
    if (source.word === undefined) {
      this.#sources.delete(origin)
      return undefined
    }
    delete source.refusal
    // What it said last was refused: said again, it is to be refused again.
    if (!source.saysIt) source.digest = ''
    source.gone = true
    return subjectOf(source.word)
  }

  /** Who says the document that `mark` marks; who says an older one is told so. */
  place(subject: string, mark: Mark): Place {
    const saying: string[] = []
    let isThere = false
    for (const origin of this.speakersOf(subject)) {
      const source = this.#sources.get(origin)
      if (source?.word === undefined || source.gone) continue
      isThere = true
      const late = behind(origin, source.word, mark)
      if (!source.saysIt) continue
      if (late === undefined) saying.push(origin)
      else source.refusal = late
    }
    return { origin: saying.sort(compareText)[0], isThere }
  }

  /** Forgets those of the origins that say what is no longer so: lines of our own store, which is only ever appended to. */
  dropLate(origins: Iterable<string>): void {
    for (const origin of origins) {
      const source = this.#sources.get(origin)
      if (source?.refusal?.rule !== 'rollback') continue
      if (source.word !== undefined) this.#speakers.get(subjectOf(source.word))?.delete(origin)
      this.#sources.delete(origin)
    }
  }

  /** Forgets origins of a subject that are gone, but for the one that its document is named by. */
  forget(subject: string, except: string): void {
    const speakers = this.#speakers.get(subject)
    for (const origin of speakers ?? []) {
      if (origin === except || this.#sources.get(origin)?.gone !== true) continue
      this.#sources.delete(origin)
      speakers?.delete(origin)
    }
    if (speakers?.size === 0) this.#speakers.delete(subject)
  }

  *refusals(): Generator<Refusal> {
    for (const { refusal } of this.#sources.values()) if (refusal !== undefined) yield refusal
  }
}
