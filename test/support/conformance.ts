/**
 * Rows of the conformance table, and who is asked about them. A row says what was delivered, for whom and when, and what must
 * follow. Four are asked, and must agree: verify(), a ledger that has been running since what counted before came in, a ledger
 * that was started anew since then from what is kept on disk, and all of them again with the documents the other way round.
 */
import type { KeyObject } from 'node:crypto'
import t from 'tap'
import type { Delivered, Document } from '../../agent/model/document.ts'
import type { Certificate, GatewayRecord } from '../../agent/model/fabric.ts'
import type { Gateway, Snapshot } from '../../agent/model/gateway.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { digestOf, seal } from '../../agent/trust/envelope.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import type { Admission, Checked } from '../../agent/trust/admission.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'
import type { RuleId } from '../../agent/trust/rulebook.ts'
import { verify } from '../../agent/trust/verify.ts'
import type { Context, Verdict } from '../../agent/trust/verify.ts'
import {
  certificateDocument,
  delivered,
  deliveredText,
  fabricDocument,
  ground,
  moment,
  placeOf,
  recordDocument,
  signerOf,
} from './documents.ts'

/** As it should be signed, or as you signed it. */
export type Said = Document | Delivered

export interface Row {
  /** The rule that the row is about, whether it refuses or lets pass. */
  readonly rule: RuleId
  readonly what: string
  /** What counted before, all of it at once. It stays in force where nothing takes it out, delivered again or not. */
  readonly before?: readonly Said[]
  readonly documents: readonly Said[]
  /** Where it is not nobody in particular, now, with no memory. */
  readonly context?: Partial<Context>
  readonly verdict: {
    /** Gateways in the snapshot. */
    readonly left: string
    /** `RULE GATEWAY` of every refusal, with commas between; none where it is left out. */
    readonly refused?: string
    /** Prefixes of the gateways for which it matters. */
    readonly prefixes?: Readonly<Record<string, string>>
    /** Those of them that other sites have as well. */
    readonly shared?: Readonly<Record<string, string>>
    /** Those left that only close what they had opened. */
    readonly barred?: string
    /** The reason of some refusal. */
    readonly says?: RegExp
  }
}

/** One gateway as it should be, beside which others go wrong. */
export const one: readonly Document[] = [fabricDocument(), certificateDocument(1), recordDocument(1)]

/** A gateway's two documents. */
export function gateway(
  number: number,
  certificate?: Partial<Certificate>,
  record?: Partial<GatewayRecord>,
): readonly Document[] {
  return [certificateDocument(number, certificate), recordDocument(number, record)]
}

/** `one`, and gateway 2 with `granted` (`10.2.0.0/16 up to 24`) that advertises `advertised`. */
export function advertising(
  granted: string,
  advertised: string,
  certificate: Partial<Certificate> = {},
): readonly Document[] {
  const [of = '', longest] = granted.split(' up to ')
  const maxLength = longest === undefined ? {} : { maxLength: Number(longest) }
  const prefixes = advertised.split(' ').map(prefix)
  return [
    ...one,
    ...gateway(2, { prefixes: [{ prefix: prefix(of), ...maxLength }], ...certificate }, { prefixes }),
  ]
}

/** At another place than its own. */
export function at(origin: string, document: Document): Delivered {
  return delivered(document, origin)
}

/** Signed by somebody else than should. */
export function by(key: KeyObject, document: Document, origin?: string): Delivered {
  return delivered(document, origin, key)
}

/** Rightly signed, with another text in place of a piece of its JSON. */
export function edited(document: Document, piece: string | RegExp, text: string): Delivered {
  const json = JSON.stringify(document.payload)
  const other = json.replace(piece, () => text)
  if (other === json) throw new Error(`not in there: ${String(piece)}`)
  return wellSigned(document, other)
}

/** Rightly signed, whatever it says. */
export function wellSigned(document: Document, payload: string | Uint8Array): Delivered {
  return deliveredText(seal(document.type, payload, signerOf(document)), placeOf(document))
}

/** One test a row. */
export function judge({ rule, what, before, documents, context, verdict }: Row): void {
  void t.test(`${rule}: ${what}`, (t) => {
    const here: Context = { ...ground, moment, ...context }
    const wanted = outcomeOf(verdict)
    for (const way of ['in order', 'the other way round']) {
      const inOrder = (said: readonly Said[]): Delivered[] => {
        const bytes = said.map((each) => ('bytes' in each ? each : delivered(each)))
        if (new Set(bytes.map(({ origin }) => origin)).size < bytes.length)
          throw new Error('one place, two documents')
        return way === 'in order' ? bytes : bytes.reverse()
      }
      const had = before && inOrder(before)
      const now = inOrder(documents)
      const verified = judged(had, now, here)
      t.same(outcome(verified, verdict), wanted, `verify, ${way}`)
      const { says } = verdict
      if (says !== undefined) t.ok(verified.refusals.some(({ reason }) => says.test(reason)))
      // What has no form may be anything.
      const isAnswer = ({ rule: of, origin, object, next }: Refusal): boolean =>
        origin !== '' && object !== '' && (next !== undefined || of === 'document')
      t.ok(verified.refusals.every(isAnswer), 'each says where it is and what to do')

      const running = new Ledger(here, here.marks)
      const first = had && running.admit({ documents: had, complete: true, unreadable: [] }, moment)
      const kept = {
        documents: first?.admitted ?? [],
        marks: had === undefined ? here.marks : running.marks(),
      }
      const said = running.admit({ documents: now, complete: true, unreadable: [] }, here.moment)
      t.same(outcome(said, verdict), wanted, `ledger, ${way}`)
      t.same(said.refusals, verified.refusals, 'word for word')
      t.same(plain(said.snapshot), plain(verified.snapshot), 'to the last field')
      for (const bag of [
        { documents: [], complete: false },
        { documents: now, complete: true },
      ]) {
        const again = running.admit({ ...bag, unreadable: [] }, here.moment)
        t.equal(again.refusals, said.refusals, 'no news, no other refusals')
        t.equal(again.snapshot, said.snapshot, 'no news, the same snapshot')
      }

      const restarted = new Ledger(here, kept.marks)
      if (had !== undefined) boot(restarted, kept.documents)
      const later = restarted.admit({ documents: now, complete: true, unreadable: [] }, here.moment)
      t.same(outcome(later, verdict), wanted, `ledger after a restart, ${way}`)
      t.same(plain(later.snapshot), plain(verified.snapshot), 'to the last field')

      const alone = new Ledger(here, running.marks())
      const booted = boot(alone, [...kept.documents, ...said.admitted], here.moment)
      t.same(plain(booted.snapshot), plain(verified.snapshot), `without its registry, ${way}`)
    }
    t.end()
  })
}

/** What verify() says of all that is in force or delivered: what nothing takes out of force stays, delivered or not. */
function judged(
  before: readonly Delivered[] | undefined,
  documents: readonly Delivered[],
  here: Context,
): Verdict {
  if (before === undefined) return verify(documents, here)
  const earlier = verify(before, { ...here, moment })
  const incumbent = earlier.snapshot?.fabric
  const { marks, authorities } = earlier
  const context = { ...here, marks, authorities, ...(incumbent === undefined ? {} : { incumbent }) }
  const said = documents.map(wordsOf)
  const isIn = ({ inForce }: Verdict, each: Delivered): boolean =>
    inForce.some(({ hash, kid }) => `${hash} ${kid}` === wordsOf(each))
  let kept = before.filter((each) => isIn(earlier, each) && !said.includes(wordsOf(each)))
  for (;;) {
    const verdict = verify([...documents, ...kept], context)
    // Nobody is left to be told why what nobody delivers counts no longer.
    const standing = kept.filter((each) => isIn(verdict, each))
    if (standing.length === kept.length) return verdict
    kept = standing
  }
}

/** What a document says, and by whose key. */
function wordsOf(said: Delivered): string {
  const parsed = parseDocument(said)
  return isRefusal(parsed) ? said.origin : `${parsed.hash} ${parsed.kid}`
}

/** What is kept on disk comes in first, under names of its own. */
function boot(ledger: Ledger, known: readonly Delivered[], now = moment): Admission {
  const documents = known.map(({ bytes }, i): Checked => {
    const origin = `known:${i + 1}`
    return { origin, bytes, digest: digestOf(bytes), signed: parseDocument({ origin, bytes }) }
  })
  const steps = ledger.admitSteps({ documents, complete: false, unreadable: [], isKnown: true }, now)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

interface Outcome {
  readonly left: readonly string[]
  readonly refused: readonly string[]
  readonly prefixes: Readonly<Record<string, string>>
  readonly shared: Readonly<Record<string, string>>
  readonly barred: readonly string[]
}

function outcomeOf({ left, refused = '', prefixes = {}, shared = {}, barred = '' }: Row['verdict']): Outcome {
  const words = (text: string, between: string): string[] =>
    text
      .split(between)
      .filter((word) => word !== '')
      .sort()
  return {
    left: words(left, ' '),
    refused: words(refused, ', '),
    prefixes,
    shared,
    barred: words(barred, ' '),
  }
}

function outcome(
  { snapshot, refusals }: { readonly snapshot: Snapshot | undefined; readonly refusals: readonly Refusal[] },
  { prefixes = {}, shared = {} }: Row['verdict'],
): Outcome {
  const gateways = [...(snapshot?.gateways.values() ?? [])]
  const of = (names: object, what: (gateway: Gateway) => readonly string[]): Record<string, string> =>
    Object.fromEntries(
      Object.keys(names).map((name) => {
        const gateway = snapshot?.gateways.get(name)
        return [name, gateway === undefined ? 'not in it' : what(gateway).join(' ')]
      }),
    )
  return {
    left: gateways.map(({ name }) => name).sort(),
    refused: refusals.map((refusal) => `${refusal.rule} ${refusal.gateway ?? ''}`.trim()).sort(),
    prefixes: of(prefixes, (gateway) => gateway.prefixes),
    shared: of(shared, (gateway) => gateway.shared ?? []),
    barred: gateways.flatMap(({ name, barred }) => (barred === true ? [name] : [])).sort(),
  }
}

function plain(snapshot: Snapshot | undefined): unknown {
  return snapshot && [snapshot.fabric, [...snapshot.gateways], [...snapshot.sites]]
}
