/** Documents that are well formed, and contradict each other, or change all the time; ids that are lost meanwhile. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Document } from '../../agent/model/document.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { seal } from '../../agent/trust/envelope.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { authorityKey, delivered, identityKeyOf, identityOf, tunnelKeysOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { payloadText } from '../support/mistake.ts'
import { certificate, makePaper, record, seconds } from '../support/paper.ts'

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, paper, whole, put, putTogether, until } = await makePaper(directory, 5)

  await t.test('fault 32, fault 37: documents that contradict each other', async (t) => {
    const [first, second] = paper as [number, number]
    const fabricFile = path.join(lab.registry, 'fabric.jws')
    const fabric = readFileSync(fabricFile, 'utf8')
    const parsed = parseDocument({ origin: fabricFile, bytes: Buffer.from(fabric) })
    if (isRefusal(parsed)) throw new Error(parsed.reason)
    // All of them newcomers, the last one apart: it asks for a prefix of another site besides its own.
    const newcomers: readonly Document[] = [
      certificate(60, { number: 60 }),
      certificate(61, { number: 60 }),
      certificate(62, { identity: identityOf('one') }),
      certificate(63, { identity: identityOf('one') }),
      certificate(64, { site: { name: `s${first}`, provider: '', region: '', labels: {} } }),
      certificate(65),
      certificate(66),
      ...[60, 61, 64].map((n) => record(n)),
      ...[65, 66].map((n) => record(n, { tunnelKeys: tunnelKeysOf('one') })),
      certificate(second, {
        prefixes: [second, first].map((n) => ({ prefix: prefix(`10.${n}.0.0/16`) })),
      }),
      record(second, { prefixes: [second, first].map((n) => prefix(`10.${n}.0.0/16`)) }),
    ]
    // The certificates of 62 and 63 are for one identity, so it signs the records of both.
    const twins = [62, 63].map((n) => delivered(record(n), undefined, identityKeyOf('one')))
    const all = [...newcomers.map((document) => delivered(document)), ...twins]
    putTogether(all.map(({ origin, bytes }) => ({ origin: path.join(lab.registry, origin), bytes })))
    const rules = ['identity', 'number', 'plane', 'tunnel-key', 'two-sites'] as const
    const status = await until('a refusal by each rule', ({ refusals }) =>
      rules.every((rule) => refusals.some((refusal) => refusal.rule === rule)),
    )
    const refused = (rule: string): readonly string[] => [
      ...new Set(
        status.refusals.filter((refusal) => refusal.rule === rule).map(({ gateway }) => gateway ?? ''),
      ),
    ]
    t.strictSame(refused('number'), ['g60', 'g61'], 'one number: neither')
    t.strictSame(refused('identity'), ['g62', 'g63'], 'one identity key: neither')
    t.strictSame(refused('plane'), ['g64'], 'one plane of one site: the higher number')
    t.strictSame(refused('tunnel-key'), ['g65', 'g66'], 'one tunnel key: neither')
    t.strictSame(refused('two-sites'), [`g${second}`], 'a prefix of another site: the higher number')
    await pause(300)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')

    const wrong = payloadText(parsed.document).replace(
      '"networks": []',
      '"networks": [{"name":"a","vni":7001,"kind":"l2"},\n      {"name":"b","vni":7001,"kind":"l2"}]',
    )
    put(fabricFile, seal('fabric', wrong, authorityKey))
    const twice = await until('a VNI used twice', ({ refusals }) =>
      refusals.some(({ origin }) => origin === fabricFile),
    )
    const [vni] = twice.refusals.filter(({ origin }) => origin === fabricFile)
    t.match(vni?.object, /fabric\.jws:[0-9]+:[0-9]+$/)
    t.match(vni?.reason, /the VNI/)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the fabric document before stays in force')

    put(fabricFile, fabric)
    // What it had, said anew: an older document does not come back.
    for (const each of [certificate(second), record(second)]) put(each)
    for (const { origin } of all) {
      if (!origin.endsWith(`/g${second}.jws`)) rmSync(path.join(lab.registry, origin))
    }
    await until('the prefix is given up', ({ refusals }) =>
      refusals.every(({ rule }) => rule !== 'two-sites' && rule !== 'document'),
    )
  })

  await t.test('group ids that were lost are found again in the kernel', async (t) => {
    await left.stop()
    left.machine.run('rm', '/var/lib/linkspan/group-ids.json')
    await startSettled(left)
    t.match(left.log, /first-audit .*ops=0 /, 'nothing to do')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the same ids')

    await left.stop()
    writeFileSync(left.machine.path('/var/lib/linkspan/group-ids.json'), '{"next": "many"')
    await startSettled(left)
    t.match(left.log, /group-ids-lost/, 'a damaged file is told')
    t.match(left.log, /first-audit .*ops=0 /, 'nothing to do')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the same ids')
  })

  await t.test('a hundred renames in a second end in the last state', async (t) => {
    const [first] = paper as [number]
    const began = performance.now()
    for (let i = 1; i <= 100; i++) {
      put(certificate(first, { prefixes: [{ prefix: prefix('10.128.0.0/9'), maxLength: 16 }] }))
      put(record(first, { prefixes: [prefix(`10.${128 + i}.0.0/16`), prefix('10.250.0.0/16')] }))
      await pause(Math.max(0, began + 10 * i - performance.now()))
    }
    await until('the last prefixes', ({ registry }) => registry.unreadable.length === 0)
    let wrong: readonly string[] = []
    for (let i = 0; i < seconds * 5; i++) {
      await pause(200)
      const prefixes = dump(left.machine)
        .filter((line) => line.startsWith('route4\t1 10.'))
        .map((line) => line.split(' ')[1] ?? '')
        .filter((each) => Number(each.split('.')[1]) >= 128)
      wrong = prefixes
      if (prefixes.join() === '10.228.0.0/16,10.250.0.0/16') break
    }
    t.strictSame(wrong, ['10.228.0.0/16', '10.250.0.0/16'])
    const differs = dumpDiff(whole, dump(left.machine)).filter(
      (line) => !/10\.(10|228|250|128)\.|nft\t(rule|set)/.test(line),
    )
    t.strictSame(differs, [], 'nothing else changed')
    t.notMatch(left.log, /document-refused|op-failed/, 'no document was refused, no op failed')
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})
