/** Documents with a mistake, and what is said of them. */
import t from 'tap'
import type { Document, DocumentType } from '../../agent/model/document.ts'
import { seal } from '../../agent/trust/envelope.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'
import { authorityKey } from './documents.ts'

/** A payload as a person would write it: one line a field. */
export function payloadText({ payload }: Document): string {
  const fields = Object.entries(payload).map(([name, value]) => `  "${name}": ${JSON.stringify(value)}`)
  return `{\n${fields.join(',\n')}\n}\n`
}

/** Any text as the payload of a well-signed document, and what is said of it. Throws where it is accepted. */
export function refusalOf(text: string | Uint8Array, type: DocumentType = 'record'): Refusal {
  const bytes = Buffer.from(seal(type, text, authorityKey))
  const parsed = parseDocument({ origin: 'records/x.jws', bytes })
  if (isRefusal(parsed)) return parsed
  throw new Error(`accepted: ${String(text).slice(0, 200)}`)
}

/** A document's payload with one piece replaced. */
export function edited(document: Document, from: string | RegExp, to: string): string {
  const text = payloadText(document)
  const changed = text.replace(from, to)
  if (changed === text) throw new Error(`nothing to replace: ${String(from)} in ${text}`)
  return changed
}

export interface Mistake {
  readonly name: string
  /** The payload. */
  readonly text: string
  /** line:column; absent where the place is a matter of taste. */
  readonly at?: string
  readonly reason: RegExp
  readonly hint?: RegExp
}

/** One test each: refused at its place in the payload, with the source line and a caret. */
export function refuses(mistakes: readonly Mistake[], type: DocumentType = 'record'): void {
  for (const { name, text, at, reason, hint } of mistakes) {
    void t.test(name, (t) => {
      const refusal = refusalOf(text, type)
      t.equal(refusal.rule, 'document')
      t.equal(refusal.origin, 'records/x.jws')
      if (at === undefined) t.match(refusal.object, /^records\/x\.jws:\d+:\d+$/)
      else t.equal(refusal.object, `records/x.jws:${at}`)
      t.match(refusal.reason, reason)
      if (hint !== undefined) t.match(refusal.next, hint)
      t.match(refusal.excerpt, /^ +\d+ \| .*\n +\| *\^$/, 'the source line and a caret')
      t.end()
    })
  }
}
