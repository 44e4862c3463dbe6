/**
 * Nonsense, for a while: parsers of what strangers write, and the judgement over it, answer every input with a value, in
 * bounded time, and in words that fit a terminal. LINKSPAN_FUZZ_SECONDS is how long (5), LINKSPAN_SEED where to begin: a
 * failure names the seed with which it is the first round.
 */
import { randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import type { Delivered, Document } from '../../agent/model/document.ts'
import { decodeBundle, encodeBundle, isNoBundle } from '../../agent/registry/bundle.ts'
import { authenticate, range, remove, txn, watch } from '../../agent/registry/etcd-message.ts'
import { decode, encode } from '../../agent/registry/etcd-wire.ts'
import type { Shape } from '../../agent/registry/etcd-wire.ts'
import { KnownStore } from '../../agent/registry/known.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf, openEnvelope, seal } from '../../agent/trust/envelope.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import type { Refusal } from '../../agent/trust/refusal.ts'
import { noMarks } from '../../agent/trust/tenure.ts'
import type { Marks } from '../../agent/trust/tenure.ts'
import { verify } from '../../agent/trust/verify.ts'
import {
  authority,
  authorityKey,
  certificateDocument,
  claimDocument,
  delivered,
  deliveredText,
  fabricDocument,
  ground,
  identityKeyOf,
  identityOf,
  keyOf,
  moment,
  nowMs,
  recordDocument,
  requestDocument,
  sealed,
  signerOf,
  tunnelKeyOf,
  voucherDocument,
  voucherKeyOf,
} from '../support/documents.ts'
import { Chance, mutatedBytes, mutatedJson, noise } from '../support/mutation.ts'

const seconds = Number(process.env['LINKSPAN_FUZZ_SECONDS'] ?? 5)
const firstSeed = Number(process.env['LINKSPAN_SEED'] ?? randomInt(2 ** 31))
/** CPU time of one call: the least of a few where the first takes longer, since a compiler or a collector may be at work. */
const boundMs = 100
const tries = 5

const next = keyOf('next authority')
const good: readonly Document[] = [
  fabricDocument(),
  fabricDocument({ serial: 2, underlays: [{ name: 'internet' }, { name: 'dx', mtu: 8500 }], mesh: [] }),
  ...[1, 2, 3].flatMap((number) => [
    certificateDocument(number, { networks: [{ name: 'lan' }], grants: ['shared'] }),
    recordDocument(number, { networks: [{ name: 'lan' }] }),
    requestDocument(number),
    voucherDocument(number),
    claimDocument(number),
  ]),
  {
    type: 'authority',
    payload: {
      fabric: 'prod',
      serial: 1,
      next: kidOf(next),
      proof: proofOf('prod', authority, next),
      retired: [],
    },
  },
]
const rightSigner = new Map(good.map((each) => [each, signerOf(each)]))
const goodBytes = good.map((each, i) => delivered(each, `good${i}.jws`))
const signers = [
  authorityKey,
  next,
  keyOf('stranger'),
  ...['g1', 'g2', 'g3'].flatMap((of) => [identityKeyOf(of), voucherKeyOf(of)]),
]
const types = [
  'fabric',
  'certificate',
  'record',
  'request',
  'authority',
  'voucher',
  'claim',
  'proof',
  'nothing',
]

/** A document that is nearly one, mostly well signed. */
function document(chance: Chance, origin: string): Delivered {
  const of = chance.pick(good)
  const json = chance.once(6)
    ? JSON.stringify(of.payload)
    : mutatedJson(chance, of.payload, 1 + chance.below(4))
  const signer = chance.once(8) ? chance.pick(signers) : (rightSigner.get(of) ?? next)
  const whole = deliveredText(seal(chance.once(12) ? chance.pick(types) : of.type, json, signer), origin)
  return chance.once(8) ? { origin, bytes: mutatedBytes(chance, whole.bytes, 1 + chance.below(3)) } : whole
}

/** What is said of documents goes to terminals and logs: short, and without anything that moves a cursor. */
function checkWords(refusals: readonly Refusal[]): void {
  for (const { excerpt, ...words } of refusals) {
    const said = Object.values(words).join(' ')
    if (
      said.length > 2000 ||
      /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/.test(said)
    )
      throw new Error(`not for a terminal: ${JSON.stringify(words).slice(0, 400)}`)
    if (excerpt !== undefined && excerpt.split('\n').length !== 2) throw new Error(`no excerpt: ${excerpt}`)
  }
}

/** Prepares one call from a seed; what it answers is timed, and is the length of its input in bytes. */
type Target = (chance: Chance) => () => number | Promise<number>

const kv = {
  key: Buffer.from('/linkspan/prod/records/g1'),
  modRevision: 7,
  value: Buffer.from('x'.repeat(40)),
}
const header = { clusterId: 2n ** 63n + 1n, memberId: 3n, revision: 9 }
const answers = [
  encode(range.response, { header, kvs: [kv, kv], more: true }),
  encode(watch.response, {
    header,
    created: true,
    compactRevision: -1,
    cancelReason: 'etcdserver: mvcc',
    events: [{ type: 1, kv }, { kv }],
  }),
]

function wire(chance: Chance): () => number {
  const input = chance.once(4)
    ? noise(chance, chance.below(300))
    : mutatedBytes(chance, chance.pick(answers), 1 + chance.below(6))
  const { response } = chance.pick<{ readonly response: Shape }>([range, txn, remove, watch, authenticate])
  return () => {
    try {
      decode(response, input)
    } catch (error) {
      // Its word for "no such message". What a bug throws has a class of its own.
      if (!(error instanceof Error) || error.constructor !== Error) throw error
    }
    return input.length
  }
}

function bundle(chance: Chance): () => number {
  const entries = Array.from({ length: 1 + chance.below(9) }, (_, i) => {
    const { bytes: held } = chance.once(3) ? { bytes: noise(chance, chance.below(90)) } : document(chance, '')
    return { name: `${chance.pick(['records', 'x', 'a/b/c'])}/${i}.jws`, bytes: held }
  })
  const whole = encodeBundle(entries)
  const input = chance.once(6) ? whole : mutatedBytes(chance, whole, 1 + chance.below(4))
  return () => {
    const decoded = decodeBundle(input)
    if (isNoBundle(decoded)) return input.length
    const names = new Set(decoded.entries.map(({ name }) => name))
    if (names.size < decoded.entries.length) throw new Error('a name counts twice')
    if (input === whole && names.size < entries.length) throw new Error('a good bundle lacks documents')
    return input.length
  }
}

function envelope(chance: Chance): () => number {
  const { bytes: held } = document(chance, '')
  const input = chance.once(5)
    ? noise(chance, chance.below(500))
    : mutatedBytes(chance, held, chance.below(5))
  return () => {
    openEnvelope(input)
    return input.length
  }
}

function parsed(chance: Chance): () => number {
  const input = document(chance, 'x.jws')
  return () => {
    const outcome = parseDocument(input)
    if (isRefusal(outcome)) checkWords([outcome])
    return input.bytes.length
  }
}

/** verify() and the ledger over the same, and the ledger over more. */
function judged(chance: Chance, marks: Marks = noMarks): () => number {
  const bag = (): Delivered[] => [
    ...(chance.once(3) ? [] : goodBytes.slice(0, 8)),
    ...Array.from({ length: 1 + chance.below(6) }, (_, i) => document(chance, `x${i}.jws`)),
  ]
  const bags = [bag(), bag(), bag()]
  const here = { ...ground, ...(chance.once(2) ? { self: chance.pick(['g1', 'g2']) } : {}) }
  const at = chance.pick([moment, { sureMs: 0, likelyMs: 0 }, { sureMs: 5e12, likelyMs: 2 ** 53 - 1 }])
  return () => {
    const ledger = new Ledger(here, marks)
    for (const [i, documents] of bags.entries()) {
      const admission = ledger.admit({ documents, complete: chance.once(2), unreadable: [] }, at)
      checkWords(admission.refusals)
      if (i > 0) continue
      const verdict = verify(documents, { ...here, marks, moment: at })
      const [left, right] = [admission, verdict].map(({ snapshot, refusals }) => [
        JSON.stringify(snapshot?.fabric),
        ...Array.from(snapshot?.gateways ?? [], (each) => JSON.stringify(each)),
        ...refusals.map((each) => JSON.stringify(each)),
      ])
      const only = (some: readonly string[] = [], others: readonly string[] = []): string =>
        some.filter((line) => !others.includes(line)).join('\n')
      if (left?.join() !== right?.join())
        throw new Error(`only the ledger\n${only(left, right)}\nonly verify\n${only(right, left)}`)
    }
    new Ledger(here, ledger.marks()).admit({ documents: [], complete: true, unreadable: [] }, at)
    return bags.flat().reduce((sum, each) => sum + each.bytes.length, 0)
  }
}

const ledger = new Ledger(ground)
const admitted = ledger.admit(
  {
    documents: goodBytes.slice(0, 8),
    complete: true,
    unreadable: [],
  },
  moment,
)
const marksJson = {
  identities: [[identityOf('g1'), 'g1']],
  numbers: [[1, 'g1']],
  tunnelKeys: [[tunnelKeyOf('g1 0'), 'g1']],
  documents: [['record g9 x', { serial: 7, hash: 'h' }]],
  floorMs: nowMs,
}

function known(directory: string): Target {
  return (chance) => {
    const lines = admitted.admitted.map(
      ({ origin, bytes: held }) => `${origin} ${Buffer.from(held).toString('latin1')}`,
    )
    const documents = mutatedBytes(chance, Buffer.from(lines.join('')), chance.below(4))
    const marks = mutatedJson(chance, marksJson, chance.below(4))
    writeFileSync(path.join(directory, 'known', 'documents'), documents)
    writeFileSync(path.join(directory, 'known', 'marks.json'), marks)
    const judge = new Chance(chance.below(2 ** 31))
    return async () => {
      const { known: found } = await KnownStore.open(directory)
      const { identities, numbers, tunnelKeys } = found.marks
      const keys = [...identities.keys(), ...tunnelKeys.keys()]
      if (
        keys.some((key) => typeof key !== 'string') ||
        [...numbers.keys()].some((key) => typeof key !== 'number')
      )
        throw new Error(`no marks: ${marks}`)
      if (!Number.isSafeInteger(found.floorMs) || found.floorMs < 0) throw new Error(`no floor: ${marks}`)
      for (const one of found.documents) parseDocument(one)
      return documents.length + marks.length + judged(judge, found.marks)()
    }
  }
}

t.setTimeout(1000 * (seconds + 600))

void t.test('nonsense is answered', async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-fuzz-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true })
  })
  mkdirSync(path.join(directory, 'known'))
  const targets: Readonly<Record<string, Target>> = {
    wire,
    bundle,
    envelope,
    parsed,
    judged,
    known: known(directory),
  }
  // Some take a tenth of a millisecond, some ten.
  const shares = { wire: 4, bundle: 4, envelope: 6, parsed: 12, judged: 3, known: 1 }
  const names = Object.entries(shares).flatMap(([name, share]) => Array.from({ length: share }, () => name))
  const slowest = new Map<string, { ms: number; seed: number; rounds: number }>()
  const end = performance.now() + seconds * 1000
  for (let seed = firstSeed; seed === firstSeed || performance.now() < end; seed++) {
    const name = new Chance(seed).pick(names)
    try {
      let ms = Infinity
      let most = 0
      let length = 0
      for (let round = 0; round < tries && ms > most; round++) {
        const chance = new Chance(seed)
        chance.pick(names)
        const call = targets[name]?.(chance)
        const before = process.cpuUsage()
        length = (await call?.()) ?? 0
        const { user, system } = process.cpuUsage(before)
        ms = Math.min(ms, (user + system) / 1000)
        most = boundMs * Math.max(1, length / 2 ** 20)
      }
      const so = slowest.get(name) ?? { ms: 0, seed, rounds: 0 }
      slowest.set(name, { ...(ms > so.ms ? { ms, seed } : so), rounds: so.rounds + 1 })
      if (ms > most) throw new Error(`took ${ms} ms for ${length} bytes, at most ${most} are good`)
    } catch (error) {
      t.fail(
        `LINKSPAN_SEED=${seed} (${name}): ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
      )
      break
    }
  }
  for (const [name, { ms, seed, rounds }] of slowest)
    t.comment(`${name}: ${rounds} rounds, the slowest ${ms.toFixed(1)} ms of CPU, seed ${seed}`)
  t.pass(`from seed ${firstSeed}`)
})

/** What would change much if it came in, as short as can be. */
const successors: readonly Document[] = [
  fabricDocument({ serial: 2, removed: ['g1'], networks: [] }),
  certificateDocument(1, { serial: 2, number: 9 }),
  recordDocument(1, { serial: 2, state: 'withdrawn', tunnelKeys: { 0: tunnelKeyOf('g1 0') }, endpoints: [] }),
]

for (const successor of successors) {
  void t.test(`every truncation and every flipped bit of a ${successor.type}`, (t) => {
    const running = new Ledger(ground)
    const documents = [fabricDocument(), certificateDocument(1), recordDocument(1)].map((each) =>
      delivered(each),
    )
    const { snapshot } = running.admit({ documents, complete: true, unreadable: [] }, moment)
    const { origin } = delivered(successor)
    const whole = sealed(successor)
    const wrong: string[] = []
    const say = (what: string, said: Uint8Array, place: string): void => {
      const bag = { documents: [{ origin: place, bytes: said }], complete: false, unreadable: [] }
      const admission = running.admit(bag, moment)
      if (admission.snapshot !== snapshot || admission.changed || admission.admitted.length > 0)
        wrong.push(what)
    }
    // The line feed at the end may be missing.
    for (let length = 0; length < whole.length - 1; length++)
      say(`cut to ${length}`, whole.subarray(0, length), origin)
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const flipped = Buffer.from(whole)
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      say(`bit ${bit}`, flipped, bit % 2 === 0 ? origin : 'beside.jws')
    }
    t.same(wrong, [], 'nothing of it comes in: the snapshot is the same object')
    const after = running.admit(
      { documents: [{ origin, bytes: whole }], complete: false, unreadable: [] },
      moment,
    )
    t.not(after.snapshot, snapshot, 'whole, it does')
    t.end()
  })
}
