/** The chain of the authority's keys: who follows whom, and who may turn whom out. */
import fc from 'fast-check'
import t from 'tap'
import type { Authority, Document, Signed } from '../../../agent/model/document.ts'
import { authoritiesOf, isProven, proofOf } from '../../../agent/trust/authorities.ts'
import { kidOf, seal } from '../../../agent/trust/envelope.ts'
import { certificateDocument, fabricDocument, keyOf, signed } from '../../support/documents.ts'
import { tailsOf } from '../../support/jws.ts'

/** Keys by a letter. */
const kid = (name: string): string => known.get(name) ?? kidOf(keyOf(name))
const known: ReadonlyMap<string, string> = new Map(
  Array.from('ABCDEFXYZ', (name) => [name, kidOf(keyOf(name))]),
)
const kids = (names: string): string[] => Array.from(names, kid)
const named = (some: ReadonlySet<string>): string =>
  [...known.keys()].filter((name) => some.has(kid(name))).join('')

/** What `by` says: who is next, with that one's proof, and who is retired. */
function said(by: string, next?: string, retired = '', change: Partial<Authority> = {}): Signed {
  const payload: Authority = {
    fabric: 'prod',
    serial: 1,
    ...(next === undefined ? {} : { next: kid(next), proof: proofOf('prod', kid(by), keyOf(next)) }),
    retired: kids(retired),
    ...change,
  }
  return { document: { type: 'authority', payload }, kid: kid(by), hash: '' } // parse would refuse some
}

/** `<trusted> <retired>`, as a gateway sees it that is configured with `root`. */
function seen(documents: readonly Signed[], root = 'A'): string {
  const { trusted, retired } = authoritiesOf(kid(root), documents)
  return `${named(trusted)} ${named(retired)}`.trim()
}

interface Case {
  readonly name: string
  readonly documents: readonly Signed[]
  readonly root?: string
  readonly seen: string
}

const cases: readonly Case[] = [
  { name: 'no news: the key of config.yml', documents: [], seen: 'A' },
  { name: 'a next key, beside the one before', documents: [said('A', 'B')], seen: 'AB' },
  { name: 'no proof', documents: [said('A', undefined, '', { next: kid('B') })], seen: 'A' },
  {
    name: 'a proof and no next key',
    documents: [said('A', undefined, '', { proof: proofOf('prod', kid('A'), keyOf('B')) })],
    seen: 'A',
  },
  {
    name: 'a chain of five',
    documents: [said('A', 'B'), said('B', 'C'), said('C', 'D'), said('D', 'E')],
    seen: 'ABCDE',
  },
  {
    name: 'a chain of five, from its middle',
    documents: [said('A', 'B'), said('B', 'C'), said('C', 'D'), said('D', 'E')],
    root: 'C',
    seen: 'CDE',
  },
  { name: 'a chain with a gap', documents: [said('A', 'B'), said('C', 'D'), said('D', 'E')], seen: 'AB' },
  {
    name: 'a stranger who names himself the next',
    documents: [said('X', 'Y'), said('Y', 'X', 'A')],
    seen: 'A',
  },
  {
    name: 'a stranger who names a trusted key his next',
    documents: [said('X', 'A', 'B'), said('A', 'B')],
    seen: 'AB',
  },

  { name: 'retirement by the next key', documents: [said('A', 'B'), said('B', undefined, 'A')], seen: 'B A' },
  {
    name: 'retirement by a key two later',
    documents: [said('A', 'B'), said('B', 'C'), said('C', undefined, 'A')],
    seen: 'BC A',
  },
  {
    name: 'retirement of all before',
    documents: [said('A', 'B'), said('B', 'C'), said('C', 'D'), said('D', 'E'), said('E', undefined, 'ABCD')],
    seen: 'E ABCD',
  },
  { name: 'an earlier key cannot retire a later one', documents: [said('A', 'B', 'B')], seen: 'AB' },
  {
    name: 'nor one that is later still',
    documents: [said('A', 'B', 'C'), said('B', 'C'), said('C')],
    seen: 'ABC',
  },
  { name: 'a key cannot retire itself', documents: [said('A', undefined, 'A')], seen: 'A' },
  { name: 'nor can the last of a chain', documents: [said('A', 'B'), said('B', undefined, 'B')], seen: 'AB' },
  {
    name: 'a retired key cannot turn out who retired it',
    documents: [said('A', 'B', 'B'), said('B', undefined, 'A')],
    seen: 'B A',
  },
  {
    name: 'retirement of a key that nobody knows',
    documents: [said('A', 'B'), said('B', undefined, 'AXY')],
    seen: 'B A',
  },
  { name: 'a stranger retires nobody', documents: [said('A', 'B'), said('X', undefined, 'AB')], seen: 'AB' },
  {
    name: 'a successor without proof retires nobody',
    documents: [said('A', undefined, '', { next: kid('B') }), said('B', undefined, 'A')],
    seen: 'A',
  },
  {
    name: 'the links of a retired key stay',
    documents: [said('A', 'B'), said('B', 'C', 'A'), said('C', undefined, 'B')],
    seen: 'C AB',
  },
  {
    name: 'what a retired key retired stays retired',
    documents: [said('A', 'B'), said('B', 'C', 'A'), said('C', 'D', 'B'), said('D')],
    seen: 'CD AB',
  },
  {
    name: 'from the second key on, the first is a stranger',
    documents: [said('A', 'B', 'B'), said('B', undefined, 'A')],
    root: 'B',
    seen: 'B',
  },

  { name: 'a key that names itself', documents: [said('A', 'A')], seen: 'A' },
  { name: 'two that name each other', documents: [said('A', 'B'), said('B', 'A')], seen: 'AB' },
  {
    name: 'a ring of three',
    documents: [said('A', 'B'), said('B', 'C'), said('C', 'A', 'AB')],
    seen: 'C AB',
  },
  {
    name: 'a ring that the chain runs into',
    documents: [said('A', 'B'), said('B', 'C'), said('C', 'B', 'A')],
    seen: 'BC A',
  },
]

for (const { name, documents, root, seen: wanted } of cases) {
  void t.test(name, (t) => {
    t.equal(seen(documents, root), wanted)
    t.equal(seen([...documents].reverse(), root), wanted, 'in any order')
    t.end()
  })
}

void t.test('a proof is by the next key, for this fabric and the key before, and for nothing else', (t) => {
  const good = proofOf('prod', kid('A'), keyOf('B'))
  const [head = '', body = '', tail = ''] = good.split('.')
  const text = JSON.stringify({ fabric: 'prod', current: kid('A') })
  const wrong = {
    'by another key': proofOf('prod', kid('A'), keyOf('C')),
    'by the key before': proofOf('prod', kid('A'), keyOf('A')),
    'for another fabric': proofOf('test', kid('A'), keyOf('B')),
    'for another key': proofOf('prod', kid('C'), keyOf('B')),
    'of another type': seal('record', text, keyOf('B')).trimEnd(),
    'of other words': seal('proof', `${text} `, keyOf('B')).trimEnd(),
    'in another order': seal(
      'proof',
      JSON.stringify({ current: kid('A'), fabric: 'prod' }),
      keyOf('B'),
    ).trimEnd(),
    'with a signature of another': `${head}.${body}.${proofOf('prod', kid('C'), keyOf('B')).split('.')[2] ?? ''}`,
    'cut off': good.slice(0, -1),
    'two parts': `${head}.${body}`,
    'without signature': `${head}.${body}.${'A'.repeat(86)}`,
    'with a tail that means nothing': `${head}.${body}.${tailsOf(tail)[0] ?? ''}`,
    empty: '',
  }
  const says = (proof: string, change: Partial<Authority> = {}): Authority => ({
    fabric: 'prod',
    serial: 1,
    next: kid('B'),
    proof,
    retired: [],
    ...change,
  })
  t.equal(isProven(says(good), kid('A')), true)
  t.equal(
    isProven(says(good, { serial: 9, retired: [kid('X')] }), kid('A')),
    true,
    'it says nothing of the rest',
  )
  t.equal(isProven(says(good), kid('X')), false, 'in the mouth of another')
  t.equal(isProven(says(good, { next: kid('C') }), kid('A')), false, 'of another next key')
  t.equal(isProven(says(good, { fabric: 'test' }), kid('A')), false, 'in another fabric')
  for (const [name, proof] of Object.entries(wrong)) {
    t.equal(isProven(says(proof), kid('A')), false, name)
    const document: Document = { type: 'authority', payload: says(proof) }
    t.equal(seen([{ document, kid: kid('A'), hash: '' }]), 'A', name)
  }
  t.end()
})

void t.test('every flipped bit of a proof', (t) => {
  const good = Buffer.from(proofOf('prod', kid('A'), keyOf('B')))
  const accepted: number[] = []
  for (let bit = 0; bit < 8 * good.length; bit++) {
    const bytes = Buffer.from(good)
    bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    const proof = bytes.toString('latin1')
    if (isProven({ fabric: 'prod', serial: 1, next: kid('B'), proof, retired: [] }, kid('A')))
      accepted.push(bit)
  }
  t.strictSame(accepted, [])
  t.end()
})

void t.test('other documents say nothing about keys', (t) => {
  const others = [signed(fabricDocument(), keyOf('A')), signed(certificateDocument(1), keyOf('A'))]
  t.equal(seen([...others, said('A', 'B')]), 'AB')
  t.end()
})

void t.test('the order of documents is irrelevant, and the chain ends', (t) => {
  const letter = fc.constantFrom(...Array.from('ABCDEF'))
  const anyone = fc.uniqueArray(
    fc.record({
      by: letter,
      next: fc.option(letter, { nil: undefined }),
      retired: fc.subarray(Array.from('ABCDEF')),
    }),
    { selector: ({ by }) => by, maxLength: 6 },
  )
  const made = new Map<string, Signed>()
  const once = (by: string, next: string | undefined, retired: string): Signed => {
    const name = `${by} ${next ?? ''} ${retired}`
    const document = made.get(name) ?? said(by, next, retired)
    made.set(name, document)
    return document
  }
  fc.assert(
    fc.property(anyone, fc.infiniteStream(fc.nat()), (all, numbers) => {
      const documents = all.map(({ by, next, retired }) => once(by, next, retired.join('')))
      const shuffled = documents
        .map((document) => ({ document, rank: Number(numbers.next().value) }))
        .sort((a, b) => a.rank - b.rank)
        .map(({ document }) => document)
      const { trusted, retired } = authoritiesOf(kid('A'), documents)
      if (seen(shuffled) !== seen(documents)) return false
      // Somebody always speaks for the authority, and nobody is trusted and retired.
      return trusted.size > 0 && [...retired].every((each) => !trusted.has(each))
    }),
    { numRuns: 100 },
  )
  t.pass('the same')
  t.end()
})
