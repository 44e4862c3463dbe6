/**
 * The ledger against its specification: after any sequence of bags, in any order within a bag, its outcome is that of
 * verify() over the documents in force; and what did not change keeps its identity.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Bag, Delivered, Document } from '../../agent/model/document.ts'
import type { Snapshot } from '../../agent/model/gateway.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { subjectOf } from '../../agent/trust/subject.ts'
import { verify } from '../../agent/trust/verify.ts'
import type { Held, Verdict } from '../../agent/trust/verify.ts'
import { delivered, fabricOf, ground, identityKeyOf, moment, voucherKeyOf } from '../support/documents.ts'
import { bagOf, chain, file, names, sharingFile, voucherFile } from '../support/ledger-bag.ts'

/** Which documents are in force, written as simply as can be: all files and all that counted, judged anew each time. */
class Model {
  readonly #files = new Map<string, Delivered>()
  #verdict: Verdict | undefined

  admit(of: Bag): Verdict {
    for (const one of of.documents) this.#files.set(one.origin, one)
    const there = new Set(of.documents.map(({ origin }) => origin))
    const gone = of.complete ? [...this.#files.keys()] : (of.gone ?? [])
    for (const origin of gone) if (!there.has(origin)) this.#files.delete(origin)
    return this.#judge(this.#verdict?.inForce ?? [])
  }

  #judge(kept: readonly Held[]): Verdict {
    const files = [...this.#files.values()]
    const spoken = files
      .map((file) => parseDocument(file))
      .flatMap((one) => (isRefusal(one) ? [] : [`${one.hash} ${one.kid}`]))
    const others = kept.filter(({ hash, kid }) => !spoken.includes(`${hash} ${kid}`))
    const before = this.#verdict
    const incumbent = before?.snapshot?.fabric
    const documents = [...files, ...others.map(({ origin, document, kid }) => keptOf(origin, document, kid))]
    const verdict = verify(documents, {
      ...ground,
      moment,
      ...(before === undefined ? {} : { marks: before.marks }),
      ...(incumbent === undefined ? {} : { incumbent }),
      ...(before === undefined ? {} : { authorities: before.authorities }),
    })
    // What counted and may not speak any longer is gone, and nobody is left to be told.
    const standing = others.filter((one) => verdict.inForce.some(({ hash }) => hash === one.hash))
    const superseded = (one: Held): boolean =>
      verdict.inForce.some((winner) => subjectOf(winner) === subjectOf(one) && winner.hash !== one.hash)
    if (standing.length < others.length) return this.#judge(standing.filter((one) => !superseded(one)))
    this.#verdict = verdict
    return verdict
  }
}

function keptOf(origin: string, document: Document, kid: string): Delivered {
  const vouchers = names.flatMap((name) => [voucherKeyOf(`${name} 0`), voucherKeyOf(`${name} 1`)])
  const key = [...chain, ...names.map(identityKeyOf), ...vouchers].find((one) => kidOf(one) === kid)
  return delivered(document, origin, key)
}

const plain = (snapshot: Snapshot | undefined): unknown =>
  snapshot && {
    fabric: snapshot.fabric,
    gateways: [...snapshot.gateways],
    sites: [...snapshot.sites],
  }
const sorted = (refusals: readonly Refusal[]): string[] =>
  refusals.map((refusal) => JSON.stringify(refusal)).sort()

/** The counterexample as documents instead of bytes. */
function report(run: fc.RunDetails<[Bag[]]>): void {
  if (!run.failed) return
  const bags = (run.counterexample?.[0] ?? []).map(({ documents, complete, gone }) => {
    const texts = documents.map((one) => {
      const parsed = parseDocument(one)
      if (isRefusal(parsed)) return `  ${one.origin}: ${parsed.reason}`
      const { kid, document: of } = parsed
      return `  ${one.origin}: ${of.type} by ${kid.slice(0, 6)} ${JSON.stringify(of.payload)}`
    })
    return [`complete ${complete}, gone ${(gone ?? []).join(' ')}`, ...texts].join('\n')
  })
  const { seed, counterexamplePath } = run
  const error = String(run.errorInstance)
  throw new Error(`seed ${seed} path ${counterexamplePath ?? ''}\n${bags.join('\n')}\n${error}`)
}

t.setTimeout(0)
const runs = Number(process.env['LINKSPAN_RUNS'] ?? 300)

/** Runs the property; answers what came up. */
function outcomes(bag: fc.Arbitrary<Bag>, numRuns: number): ReadonlyMap<string, number> {
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(fc.array(bag, { minLength: 1, maxLength: 10 }), (bags) => {
      const ledger = new Ledger(ground)
      const model = new Model()
      let before: Snapshot | undefined
      for (const one of bags) {
        const admission = ledger.admit(one, moment)
        const wanted = model.admit(one)
        const [left, right] = [admission, wanted].map(({ snapshot }) => JSON.stringify(plain(snapshot)))
        if (left !== right) throw new Error(`snapshot\n${left ?? ''}\n${right ?? ''}`)
        const [got, should] = [sorted(admission.refusals), sorted(wanted.refusals)]
        if (got.join('\n') !== should.join('\n'))
          throw new Error(`refusals\n${got.join('\n')}\n---\n${should.join('\n')}`)
        for (const { shared } of wanted.snapshot?.gateways.values() ?? [])
          if (shared !== undefined) seen.set('shared', (seen.get('shared') ?? 0) + 1)
        for (const { rule, reason } of wanted.refusals) {
          seen.set(rule, (seen.get(rule) ?? 0) + 1)
          if (reason.includes('had it first')) seen.set(`${rule} held`, 1)
        }
        if (admission.changed !== (before !== admission.snapshot)) throw new Error('changed is wrong')
        for (const [name, gateway] of admission.snapshot?.gateways ?? []) {
          const old = before?.gateways.get(name)
          if (old !== gateway && JSON.stringify(old) === JSON.stringify(gateway))
            throw new Error(`${name} lost its identity`)
        }
        before = admission.snapshot
      }
    }),
    { numRuns, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000), reporter: report },
  )
  return seen
}

void t.test('after any sequence of bags the outcome is that of verify()', (t) => {
  const seen = outcomes(bagOf(file), runs)
  // A property over conflicts proves little where no conflict came up.
  const common = [
    'two-sites',
    'number',
    'plane',
    'identity',
    'tunnel-key',
    'number held',
    'identity held',
    'tunnel-key held',
    'other-site',
    'certified',
    'removed',
    'endpoint',
  ]
  for (const rule of [
    ...common,
    'authority',
    'signer',
    'rollback',
    'equivocation',
    'early',
    'expired',
    'fabric',
    'network',
    'overlay',
    'reserved',
    'succession',
  ]) {
    t.ok(seen.has(rule), `the rule ${rule} came up`)
  }
  t.end()
})

void t.test('with vouchers, too', (t) => {
  const seen = outcomes(bagOf(voucherFile, ['claims/g4.jws', 'vouchers/g5.jws']), Math.ceil(runs / 2))
  for (const rule of ['voucher', 'voucher-ended', 'claim-conflict', 'authority', 'rollback', 'equivocation'])
    t.ok(seen.has(rule), `the rule ${rule} came up`)
  t.end()
})

void t.test('with prefixes that sites share, too', (t) => {
  const fabric = fc.constant(delivered({ type: 'fabric', payload: fabricOf() }))
  const some = fc.oneof({ weight: 1, arbitrary: fabric }, { weight: 12, arbitrary: sharingFile })
  const seen = outcomes(bagOf(some), Math.ceil(runs / 6))
  for (const what of ['shared', 'two-sites']) t.ok((seen.get(what) ?? 0) > 20, `${what} came up`)
  t.end()
})

void t.test('permuting the documents of a bag changes nothing', (t) => {
  const scene = fc
    .uniqueArray(voucherFile, { selector: ({ origin }) => origin, minLength: 4, maxLength: 12 })
    .chain((documents) =>
      fc.tuple(fc.constant(documents), fc.shuffledSubarray(documents, { minLength: documents.length })),
    )
  fc.assert(
    fc.property(scene, ([documents, shuffled]) => {
      const outcome = (of: Delivered[]): string => {
        const admission = new Ledger(ground).admit({ documents: of, complete: true, unreadable: [] }, moment)
        const verdict = verify(of, { ...ground, moment })
        return JSON.stringify([
          plain(admission.snapshot),
          admission.refusals,
          plain(verdict.snapshot),
          verdict.refusals,
        ])
      }
      return outcome(documents) === outcome(shuffled)
    }),
    { numRuns: runs, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000) },
  )
  t.pass('the same snapshot and refusals in any order')
  t.end()
})
