/**
 * What a web server that lies or breaks down does to the snapshot: an https registry reads it, and a ledger judges what comes
 * of that, as in the agent. Whatever is cut off, altered, emptied or contradicted, the last good snapshot stays in force.
 * Numbers are those of the fault catalogue.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Bag, Document } from '../../agent/model/document.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { encodeBundle } from '../../agent/registry/bundle.ts'
import { HttpsRegistry } from '../../agent/registry/https.ts'
import type { Admission } from '../../agent/trust/admission.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import { Ledger } from '../../agent/trust/ledger.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import {
  authorityKey,
  certificateDocument,
  fabricDocument,
  ground,
  identityOf,
  keyOf,
  moment,
  placeOf,
  recordDocument,
  sealed,
  tunnelKeysOf,
} from '../support/documents.ts'
import { samples } from '../support/fault.ts'
import { quickTimes, saidBy } from '../support/https-follower.ts'
import { HttpsServer, say } from '../support/https-server.ts'

t.setTimeout(300_000)
const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bundle-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
const tls = await CertificateAuthority.create(directory, 'tls')
const leaf = await tls.issue({ name: 'leaf', hosts: ['localhost', '127.0.0.1'] })
const files = { ca: tls.pair.certificateFile }
const hurried = { times: { ...quickTimes, pollMs: 1, leastBackoffMs: 1, mostBackoffMs: 2 }, files }

const gateways = (...numbers: readonly number[]): Document[] =>
  numbers.flatMap((n) => [certificateDocument(n), recordDocument(n)])
const good = bundle(fabricDocument(), ...gateways(1, 2))

function bundle(...documents: readonly Document[]): Buffer {
  return encodeBundle(documents.map((each) => ({ name: placeOf(each), bytes: sealed(each) })))
}

/** A registry on these servers, and the ledger that its bags go into. */
class Judge {
  readonly #ledger = new Ledger(ground)
  readonly #bags: AsyncIterator<Bag>
  last: Admission | undefined

  constructor(t: Test, urls: readonly string[]) {
    const stop = new AbortController()
    t.teardown(() => {
      stop.abort()
    })
    this.#bags = new HttpsRegistry(urls, hurried).watch(stop.signal)[Symbol.asyncIterator]()
  }

  async next(): Promise<Bag> {
    const next = await this.#bags.next()
    if (next.done === true) throw new Error('the watch ended')
    this.last = this.#ledger.admit(next.value, moment)
    return next.value
  }

  get names(): string {
    return [...(this.last?.snapshot?.gateways.keys() ?? [])].join()
  }

  get rules(): string {
    return (this.last?.refusals ?? []).map(({ rule, object }) => `${rule} ${object}`).join()
  }
}

async function serving(t: Test, body: Uint8Array): Promise<HttpsServer> {
  const server = await HttpsServer.start(leaf)
  t.teardown(() => server.close())
  server.conduct = say(200, body)
  return server
}

await t.test('fault 17: truncated anywhere', async (t) => {
  const server = await serving(t, good)
  const judge = new Judge(t, [server.url()])
  await judge.next()
  const { snapshot } = judge.last ?? {}
  t.equal(judge.names, 'g1,g2', 'control')
  const offsets = samples(good.length - 1, 200)
  let at = 0
  // A body without a length ends with the connection, wherever that is.
  server.conduct = (socket) => {
    socket.end(`HTTP/1.1 200 OK\r\n\r\n${good.subarray(0, offsets[at++]).toString()}`)
    if (at === offsets.length) server.conduct = say(200, bundle(fabricDocument(), ...gateways(1, 2, 3)))
  }
  const reasons = new Set<string>()
  // The same reason is said once, so there are fewer bags than cuts; the last bag is that of a whole bundle.
  for (let bag = await judge.next(); !bag.complete; bag = await judge.next()) {
    t.strictSame([bag.documents, judge.last?.snapshot === snapshot], [[], true], `cut at ${at}`)
    reasons.add(saidBy(bag).replace(/"[^"]*"|\d+/g, '…'))
  }
  t.comment(`cut at ${at} places: ${[...reasons].join('; ')}`)
  t.equal(at, offsets.length)
  t.equal(judge.names, 'g1,g2,g3', 'and whole again')
})

await t.test('fault 18: one bit of it turned, anywhere', async (t) => {
  const server = await serving(t, good)
  const judge = new Judge(t, [server.url()])
  await judge.next()
  const { snapshot } = judge.last ?? {}
  const offsets = samples(good.length - 1, 120)
  let at = 0
  const whole = bundle(fabricDocument(), ...gateways(1, 2, 3))
  server.conduct = (socket, asked) => {
    const wrong = Buffer.from(good)
    wrong[at] = (wrong[at] ?? 0) ^ (1 << (at % 8))
    say(200, at++ < good.length ? wrong : whole)(socket, asked)
  }
  while (at <= offsets.length || judge.names !== 'g1,g2,g3') {
    await judge.next()
    if (at <= offsets.length && judge.last?.snapshot !== snapshot) t.fail(`another snapshot at ${at}`)
  }
  t.equal(judge.names, 'g1,g2,g3', 'and whole again')
})

await t.test('fault 15: an empty body, and what some programs write for nothing', async (t) => {
  const server = await serving(t, good)
  const judge = new Judge(t, [server.url()])
  await judge.next()
  for (const nothing of ['', '[]', '{}', 'null', '\n']) {
    server.conduct = say(200, nothing)
    const bag = await judge.next()
    t.match(saidBy(bag), /the body is empty|is no bundle/, JSON.stringify(nothing))
    t.strictSame([bag.complete, judge.names, judge.last?.vanished], [false, 'g1,g2', []])
    server.conduct = say(200, good)
    await judge.next()
  }
  server.conduct = say(200, bundle())
  t.equal((await judge.next()).complete, true, 'a bundle of nothing is one')
  t.equal(judge.names, 'g1,g2')
  t.equal(judge.last?.vanished.length, 5, 'and all vanished')
})

await t.test('fault 19: the bundle of yesterday', async (t) => {
  const server = await serving(t, good)
  const judge = new Judge(t, [server.url()])
  await judge.next()
  const newer = { serial: 2, prefixes: [{ prefix: prefix('10.2.0.0/17') }] }
  const record = { serial: 2, prefixes: [prefix('10.2.0.0/17')] }
  server.conduct = say(
    200,
    bundle(
      fabricDocument({ serial: 2 }),
      ...gateways(1),
      certificateDocument(2, newer),
      recordDocument(2, record),
    ),
  )
  await judge.next()
  const { snapshot } = judge.last ?? {}
  t.strictSame(snapshot?.gateways.get('g2')?.prefixes, ['10.2.0.0/17'])
  server.conduct = say(200, good)
  await judge.next()
  t.equal(judge.last?.snapshot, snapshot)
  t.equal(judge.rules, 'rollback certificate g2,rollback fabric prod,rollback record g2')
})

await t.test('fault 22: two mirrors that disagree', async (t) => {
  const first = await serving(t, good)
  const other = { prefixes: [{ prefix: prefix('10.66.0.0/16') }] }
  const second = await serving(
    t,
    bundle(fabricDocument(), ...gateways(1), certificateDocument(2, other), recordDocument(2)),
  )
  const judge = new Judge(t, [first.url(), second.url()])
  await judge.next()
  const { snapshot } = judge.last ?? {}
  first.conduct = say(503)
  while ((judge.last?.refusals.length ?? 0) === 0) await judge.next()
  t.equal(judge.rules, 'equivocation certificate g2')
  t.equal(judge.last?.snapshot, snapshot, 'the incumbent stays')
  first.conduct = say(200, good)
  while ((judge.last?.refusals.length ?? 0) > 0) await judge.next()
  t.equal(judge.last?.snapshot, snapshot)
})

await t.test('fault 38: two keys of the authority at a time', async (t) => {
  const next = keyOf('next authority')
  const [named, said] = [kidOf(next), { fabric: 'prod', serial: 2 }]
  const handover: Document = {
    type: 'authority',
    payload: { ...said, next: named, proof: proofOf('prod', kidOf(authorityKey), next), retired: [] },
  }
  const retirement: Document = {
    type: 'authority',
    payload: { ...said, serial: 3, retired: [kidOf(authorityKey)] },
  }
  const named2 = (name: string, document: Document, key = authorityKey): { name: string; bytes: Buffer } => ({
    name,
    bytes: sealed(document, key),
  })
  const base = [fabricDocument(), ...gateways(1)].map((each) => ({
    name: placeOf(each),
    bytes: sealed(each),
  }))
  const byNext = [
    named2('certificates/g2.jws', certificateDocument(2), next),
    { name: 'records/g2.jws', bytes: sealed(recordDocument(2)) },
  ]
  const server = await serving(t, encodeBundle([...base, ...byNext]))
  const judge = new Judge(t, [server.url()])
  await judge.next()
  t.equal(judge.names, 'g1', 'nobody knows that key yet')
  const link = named2('authority/1.jws', handover)
  server.conduct = say(200, encodeBundle([link, ...base, ...byNext]))
  await judge.next()
  t.equal(judge.names, 'g1,g2', 'both count')
  const end = named2('authority/2.jws', retirement, next)
  const anew = named2('certificates/g1.jws', certificateDocument(1, { serial: 2 }), next)
  const fabric = named2('fabric.jws', fabricDocument({ serial: 2 }), next)
  const record = { name: 'records/g1.jws', bytes: sealed(recordDocument(1)) }
  server.conduct = say(200, encodeBundle([end, link, anew, fabric, record, ...byNext]))
  await judge.next()
  t.equal(judge.names, 'g1,g2', 'what was signed again counts on')
  const late = named2('certificates/g3.jws', certificateDocument(3))
  server.conduct = say(200, encodeBundle([end, link, anew, fabric, record, ...byNext, late]))
  await judge.next()
  t.equal(judge.names, 'g1,g2')
  t.match(judge.rules, /authority/, 'what the old one signs from now on does not')
})

await t.test('fault 27: ten thousand records', async (t) => {
  const count = 10_000
  const body = bundle(
    fabricDocument(),
    ...Array.from({ length: count }, (_, i) => i + 1).flatMap((n) => {
      const own = prefix(`10.${n >> 8}.${n & 255}.0/24`)
      const gateway = `g${n}`
      const site = { name: `s${n}`, provider: '', region: '', labels: {} }
      const identity = identityOf(gateway)
      return [
        certificateDocument(1, { gateway, number: n, site, identity, prefixes: [{ prefix: own }] }),
        recordDocument(1, { gateway, tunnelKeys: tunnelKeysOf(gateway), prefixes: [own], endpoints: [] }),
      ]
    }),
  )
  const server = await serving(t, body)
  const before = process.memoryUsage().rss
  const judge = new Judge(t, [server.url()])
  const began = performance.now()
  await judge.next()
  const ms = performance.now() - began
  t.equal(judge.last?.snapshot?.gateways.size, count)
  t.strictSame(judge.last?.refusals, [])
  const mebibytes = (process.memoryUsage().rss - before) / 2 ** 20
  t.comment(
    `${count} gateways, ${(body.length / 2 ** 20).toFixed(1)} MiB: ${Math.round(ms)} ms, ${Math.round(mebibytes)} MiB more`,
  )
  t.ok(ms < 60_000, 'on any machine; scripts/bench has the figure')
  t.ok(mebibytes < 1024)
})
