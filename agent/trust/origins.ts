/**
 * Where documents come from. A registry names each by an origin, which carries no trust; it is kept to tell what is new from
 * what was said before, to say what of it does not count and why, and to see what is no longer there.
 *
 * What an origin said last and counted is its word. It stays its word while the origin delivers nonsense, so that a document
 * that was mangled in its place is no vanished one.
 *
 * Many may say the same: whoever controls a registry can put one document there under a hundred thousand names. So of each
 * subject it is known which origins said something else since it was last looked at, and only those are.
 */
import type { Bag, Signed } from '../model/document.ts'
import { compareText } from './refusal.ts'
import type { RefusalList } from './refusal-list.ts'
import type { Refusal } from './refusal.ts'
import { behind, olderReason, serialOf, subjectOf } from './subject.ts'
import type { Mark } from './subject.ts'

interface Source {
  digest: string
  word?: Signed
  /** The word is what the origin says now. */
  saysIt: boolean
  /** Why its present bytes do not count. */
  refusal?: Refusal | undefined
  gone: boolean
}

/** Where a document in force is now. */
export interface Place {
  /** The first of those that say it now; undefined: none does. */
  readonly origin: string | undefined
  /** Some origin speaks of the subject, if only in older words. */
  readonly isThere: boolean
}

/** Origins whose word is about one subject. */
interface Speakers {
  readonly all: Set<string>
  readonly gone: Set<string>
  /** Those that said something, or are gone or there again, since the last look. */
  readonly news: Set<string>
  /** As of the last look: what counted, and the first of those that say it. */
  mark: Mark | undefined
  first: string | undefined
}

/** Origins looked at between two chances for the event loop. */
const step = 64

export class Origins {
  readonly #sources = new Map<string, Source>()
  readonly #speakers = new Map<string, Speakers>()
  readonly #refusals: RefusalList

  constructor(refusals: RefusalList) {
    this.#refusals = refusals
  }

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
    return this.#speakers.get(subject)?.all ?? []
  }

  /** The same bytes as last. Answers the subject that is there again, if it was gone. */
  repeat(origin: string): string | undefined {
    const source = this.#sources.get(origin)
    return source?.gone === true ? this.#isBack(origin, source) : undefined
  }

  /** Other bytes than last. Answers the subject of its word, which is there again. */
  renew(origin: string, digest: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source === undefined) {
      this.#sources.set(origin, { digest, gone: false, saysIt: false })
      return undefined
    }
    this.#refuse(origin, source, undefined)
    source.digest = digest
    source.saysIt = false
    return this.#isBack(origin, source)
  }

  refuse(origin: string, refusal: Refusal): void {
    const source = this.#sources.get(origin)
    if (source === undefined) return
    this.#refuse(origin, source, refusal)
    source.saysIt = false
    this.#note(origin, source)
  }

  /** What it says is nothing that matters any more. */
  excuse(origin: string): void {
    const source = this.#sources.get(origin)
    if (source !== undefined) this.#refuse(origin, source, undefined)
  }

  /** What these origins said was not taken in: it is to be looked at again. */
  doubt(origins: Iterable<string>): void {
    for (const origin of origins) {
      const source = this.#sources.get(origin)
      if (source !== undefined) source.digest = ''
    }
  }

  /** What an origin says counts, or counted. Answers the subject that it spoke of before. */
  speak(origin: string, signed: Signed, subject: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source === undefined) return undefined
    this.#refuse(origin, source, undefined)
    const before = source.word && subjectOf(source.word)
    if (before !== undefined && before !== subject) this.#silence(origin, before)
    source.word = signed
    source.saysIt = true
    const speakers = this.#speakers.get(subject) ?? newSpeakers()
    this.#speakers.set(subject, speakers)
    speakers.all.add(origin)
    speakers.news.add(origin)
    return before
  }

  /**
   * Origins that are known, and no longer there after this bag; undefined now and then, as a chance for the event loop. Each
   * may be lost as it comes.
   */
  *missing(
    { complete, gone, unreadable }: Omit<Bag, 'documents'>,
    delivered: ReadonlySet<string>,
  ): Generator<string | undefined> {
    if (!complete) {
      for (const origin of gone ?? []) if (!delivered.has(origin)) yield origin
      return
    }
    const objects = unreadable.map(({ object }) => object)
    let count = 0
    for (const [origin, source] of this.#sources) {
      if (++count % step === 0) yield undefined
      if (source.gone || delivered.has(origin)) continue
      if (!objects.some((object) => origin === object || origin.startsWith(`${object}/`))) yield origin
    }
  }

  /** An origin is no longer there. Answers the subject of its word. */
  lose(origin: string): string | undefined {
    const source = this.#sources.get(origin)
    if (source === undefined || source.gone) return undefined
    this.#refuse(origin, source, undefined)
    if (source.word === undefined) {
      this.#sources.delete(origin)
      return undefined
    }
    // What it said last was refused: said again, it is to be refused again.
    if (!source.saysIt) source.digest = ''
    source.gone = true
    const subject = subjectOf(source.word)
    this.#speakers.get(subject)?.gone.add(origin)
    this.#note(origin, source)
    return subject
  }

  /**
   * Who says the document that `mark` marks; who says an older one is told so. Looks at those who said something since, and
   * at all only where another document counts, or where the first of those who said it does so no longer. What was too old
   * already stays so, and its refusal says by itself what is in force now.
   */
  *place(subject: string, mark: Mark): Generator<void, Place> {
    const speakers = this.#speakers.get(subject)
    if (speakers === undefined) return { origin: undefined, isThere: false }
    const { news, all } = speakers
    const isSame = speakers.mark?.hash === mark.hash && speakers.mark.serial === mark.serial
    const isLost = speakers.first !== undefined && (news.has(speakers.first) || !all.has(speakers.first))
    let first = isSame && !isLost ? speakers.first : undefined
    let count = 0
    speakers.mark = mark
    for (const origin of isSame && !isLost ? news : all) {
      if (++count % step === 0) yield
      const source = this.#sources.get(origin)
      if (source?.word === undefined || source.gone || !source.saysIt) continue
      if (source.refusal?.rule === 'rollback') continue
      const late = behind(origin, source.word, mark)
      if (late !== undefined) this.#refuse(origin, source, living(late, source.word, speakers))
      else if (first === undefined || compareText(origin, first) < 0) first = origin
    }
    speakers.first = first
    news.clear()
    return { origin: first, isThere: all.size > speakers.gone.size }
  }

  /** Forgets those of the origins that say what is no longer so: lines of our own store, which is only ever appended to. */
  dropLate(origins: Iterable<string>): void {
    for (const origin of origins) {
      const source = this.#sources.get(origin)
      if (source?.refusal?.rule !== 'rollback') continue
      this.#refuse(origin, source, undefined)
      if (source.word !== undefined) this.#silence(origin, subjectOf(source.word))
      this.#sources.delete(origin)
    }
  }

  /** Forgets origins of a subject that are gone, but for the one that its document is named by. */
  *forget(subject: string, except: string): Generator<void> {
    const speakers = this.#speakers.get(subject)
    let count = 0
    for (const origin of speakers?.gone ?? []) {
      if (++count % step === 0) yield
      if (origin === except) continue
      this.#sources.delete(origin)
      this.#silence(origin, subject)
    }
  }

  #isBack(origin: string, source: Source): string | undefined {
    source.gone = false
    const subject = source.word && subjectOf(source.word)
    if (subject !== undefined) this.#speakers.get(subject)?.gone.delete(origin)
    this.#note(origin, source)
    return subject
  }

  /** Its subject is to look at it again. */
  #note(origin: string, { word }: Source): void {
    if (word !== undefined) this.#speakers.get(subjectOf(word))?.news.add(origin)
  }

  #silence(origin: string, subject: string): void {
    const speakers = this.#speakers.get(subject)
    if (speakers === undefined) return
    speakers.all.delete(origin)
    speakers.gone.delete(origin)
    speakers.news.delete(origin)
    if (speakers.all.size === 0) this.#speakers.delete(subject)
  }

  #refuse(origin: string, source: Source, refusal: Refusal | undefined): void {
    if (source.refusal === refusal) return
    this.#refusals.replace(origin, source.refusal, refusal)
    source.refusal = refusal
  }
}

function newSpeakers(): Speakers {
  return { all: new Set(), gone: new Set(), news: new Set(), mark: undefined, first: undefined }
}

/** The refusal of what is older than the one in force, whichever that is by then. */
function living(late: Refusal, word: Signed, speakers: Speakers): Refusal {
  if (late.rule !== 'rollback') return late
  const serial = serialOf(word.document)
  const { reason } = late
  return {
    ...late,
    get reason() {
      return speakers.mark === undefined ? reason : olderReason(serial, speakers.mark)
    },
  }
}
