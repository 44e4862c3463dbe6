/** Cases of the rules: what documents say, what is refused of them, and what is left; judged by verify() and by the ledger. */
import t from 'tap'
import type { Delivered, Document } from '../../agent/model/document.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import type { RuleId } from '../../agent/trust/rulebook.ts'
import { verify } from '../../agent/trust/verify.ts'
import type { Context } from '../../agent/trust/verify.ts'
import { delivered, ground, moment } from './documents.ts'

/** As it should be signed, or as you signed it. */
export type Said = Document | Delivered

export interface Case {
  readonly name: string
  /** What counted before. */
  readonly before?: readonly Said[]
  readonly documents: readonly Said[]
  /** For whom and when, where that is not nobody and now. */
  readonly context?: Partial<Context>
  /** `<rule> <gateway>` of each refusal, in order. */
  readonly refused: readonly `${RuleId} ${string}`[]
  /** Gateways left, with their prefixes. */
  readonly left: Readonly<Record<string, readonly string[]>>
  /** Those left that are barred. */
  readonly barred?: readonly string[]
  /** Of the first refusal. */
  readonly reason?: RegExp
}

export function bytesOf(said: readonly Said[]): Delivered[] {
  return said.map((each) => ('bytes' in each ? each : delivered(each)))
}

/** One test each. */
export function judges(cases: readonly Case[]): void {
  for (const { name, before, documents, context, refused, left, barred = [], reason } of cases) {
    void t.test(name, (t) => {
      const here: Context = { ...ground, moment, ...context }
      const earlier = before === undefined ? undefined : verify(bytesOf(before), { ...ground, moment })
      const incumbent = earlier?.snapshot?.fabric
      const verdict = verify(bytesOf(documents), {
        ...here,
        ...(earlier === undefined ? {} : { marks: earlier.marks }),
        ...(incumbent === undefined ? {} : { incumbent }),
      })
      const gateways = [...(verdict.snapshot?.gateways.values() ?? [])]
      t.same(
        verdict.refusals.map((refusal) => `${refusal.rule} ${refusal.gateway ?? ''}`),
        refused,
      )
      t.same(Object.fromEntries(gateways.map((gateway) => [gateway.name, gateway.prefixes])), left)
      t.same(
        gateways.filter((gateway) => gateway.barred === true).map((gateway) => gateway.name),
        barred,
        'barred',
      )
      for (const refusal of verdict.refusals) {
        t.ok(
          refusal.next !== undefined && refusal.object !== '' && refusal.origin !== '',
          'says where and what to do',
        )
      }
      if (reason !== undefined) t.match(verdict.refusals[0]?.reason, reason)
      if (before === undefined) {
        const ledger = new Ledger(here)
        const bag = { documents: bytesOf(documents), complete: true, unreadable: [] }
        const admission = ledger.admit(bag, here.moment)
        t.same(admission.refusals, verdict.refusals, 'the ledger says the same')
        t.same(admission.snapshot, verdict.snapshot)
      }
      t.end()
    })
  }
}
