/** Documents with a mistake, and what is said of them. */
import t from 'tap'
import { formatDocument } from '../../agent/model/document.ts'
import type { Document } from '../../agent/model/document.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'

/** Throws where the text is accepted. */
export function refusalOf(text: string | Uint8Array): Refusal {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  const parsed = parseDocument({ origin: 'records/x.json', bytes })
  if (isRefusal(parsed)) return parsed
  throw new Error(`accepted: ${String(text).slice(0, 200)}`)
}

/** A document's text with one piece replaced. */
export function edited(document: Document, from: string | RegExp, to: string): string {
  const text = formatDocument(document)
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`nothing to replace: ${String(from)} in ${text}`)
  return changed
}

export interface Mistake {
  readonly name: string
  readonly text: string
  /** line:column; absent where the place is a matter of taste. */
  readonly at?: string
  readonly reason: RegExp
  readonly hint?: RegExp
}

/** One test each: refused at its place, with the source line and a caret. */
export function refuses(mistakes: readonly Mistake[]): void {
  for (const { name, text, at, reason, hint } of mistakes) {
    void t.test(name, (t) => {
      const refusal = refusalOf(text)
      t.equal(refusal.rule, 'document')
      t.equal(refusal.origin, 'records/x.json')
      if (at === undefined) t.match(refusal.object, /^records\/x\.json:\d+:\d+$/)
      else t.equal(refusal.object, `records/x.json:${at}`)
      t.match(refusal.reason, reason)
      if (hint !== undefined) t.match(refusal.next, hint)
      t.match(refusal.excerpt, /^ +\d+ \| .*\n +\| *\^$/, 'the source line and a caret')
      t.end()
    })
  }
}
