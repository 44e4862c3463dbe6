/**
 * Bad documents in the registry of a running agent. Each is refused by itself, at its place, and the kernel does not hear
 * of it: the dump before equals the dump after.
 *
 * Two real gateways, and as many on paper as there are defects, so that one test has all defects at the same time.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import { formatDocument } from '../../agent/model/document.ts'
import type { Document } from '../../agent/model/document.ts'
import type { Certificate, GatewayRecord } from '../../agent/model/fabric.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { documentPath } from '../../agent/registry/file.ts'
import { certificateDocument, identityOf, recordDocument, tunnelKeysOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { makePair } from '../support/pair.ts'

const seconds = guest ? 90 : 10
let serial = 1

function certificate(number: number, change: Partial<Certificate> = {}): Document {
  return certificateDocument(number, { fabric: 'lab', serial: ++serial, ...change })
}

function record(number: number, change: Partial<GatewayRecord> = {}): Document {
  const at = address(`192.0.2.${number}`)
  const endpoints = [{ underlay: 'wan', address: at, port: 51820 }]
  return recordDocument(number, { fabric: 'lab', serial: ++serial, endpoints, ...change })
}

/** A mistake in the text of a document. */
interface Defect {
  readonly name: string
  readonly of: 'certificate' | 'record'
  readonly from: string | RegExp
  readonly to: string
  /** The text at the place that is named. */
  readonly at: string
  readonly reason: RegExp
  readonly next?: RegExp
}

/** N stands for the gateway's number. */
const defects: readonly Defect[] = [
  {
    name: 'host bits',
    of: 'record',
    from: '"10.N.0.0/16"',
    to: '"10.N.1.1/16"',
    at: '"10.N.1.1/16"',
    reason: /host bits/,
    next: /did you mean "10\.N\.0\.0\/16"/,
  },
  {
    name: 'octal',
    of: 'record',
    from: '"10.N.0.0/16"',
    to: '"010.N.0.0/16"',
    at: '"010.N.0.0/16"',
    reason: /octal|leading zero/,
  },
  {
    name: '/33',
    of: 'record',
    from: '"10.N.0.0/16"',
    to: '"10.N.0.0/33"',
    at: '"10.N.0.0/33"',
    reason: /33/,
  },
  {
    name: 'duplicate key',
    of: 'certificate',
    from: '"plane": 0',
    to: '"plane": 0,\n    "plane": 1',
    at: '"plane": 1',
    reason: /"plane" is given twice/,
  },
  {
    name: 'unknown key',
    of: 'certificate',
    from: '"plane"',
    to: '"plan"',
    at: '"plan"',
    reason: /unknown field "plan"/,
    next: /did you mean "plane"/,
  },
  {
    name: 'prototype',
    of: 'record',
    from: '"weight": 1',
    to: '"weight": 1,\n    "__proto__": {}',
    at: '"__proto__"',
    reason: /__proto__/,
  },
  {
    name: 'a name with a quote',
    of: 'certificate',
    from: '"gN"',
    to: '"g\\"N"',
    at: '"g\\"N"',
    reason: /expected a name/,
  },
  {
    name: 'a name with a newline',
    of: 'certificate',
    from: '"gN"',
    to: '"gN\\n<3>forged"',
    at: '"gN\\n',
    reason: /expected a name/,
  },
  {
    name: 'a name with ../',
    of: 'record',
    from: '"gN"',
    to: '"../../etc/gN"',
    at: '"../../etc',
    reason: /expected a name/,
  },
  {
    name: 'a site with ../',
    of: 'certificate',
    from: '"sN"',
    to: '"../sN"',
    at: '"../sN"',
    reason: /expected a name/,
  },
  {
    name: 'one key on two devices',
    of: 'record',
    from: /"1":"[^"]*"/,
    to: `"1":"${tunnelKeysOf('gN')[0] ?? ''}"`,
    at: '',
    reason: /devices 0 and 1 have one key/,
  },
  {
    name: 'a number too large',
    of: 'certificate',
    from: /"number": \d+/,
    to: '"number": 65535',
    at: '65535',
    reason: /65534/,
  },
  {
    name: 'a rounded serial',
    of: 'record',
    from: /"serial": \d+/,
    to: '"serial": 9007199254740993',
    at: '9007199254740993',
    reason: /rounded/,
  },
  {
    name: 'no JSON at all',
    of: 'record',
    from: /^[^]*$/,
    to: '<html>200 OK</html>',
    at: '<html>',
    reason: /expected/,
  },
  { name: 'an empty file', of: 'record', from: /^[^]*$/, to: '', at: '', reason: /is empty/ },
  { name: 'an empty list', of: 'record', from: /^[^]*$/, to: '[]', at: '[]', reason: /expected/ },
]

const firstPaper = 10
/** Offsets at which a document is cut, in sixteenths of it, and one paper gateway for each. */
const cuts = Array.from({ length: 15 }, (_, i) => i + 1)

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right } = await makePair(directory)
  const paper = Array.from({ length: Math.max(defects.length, cuts.length) }, (_, i) => firstPaper + i)
  const documents = paper.map((n) => ({ certificate: certificate(n), record: record(n) }))

  /** Whole or not at all, as a careful writer does it. */
  function put(document: Document | string, text?: string): string {
    const file = typeof document === 'string' ? document : documentPath(lab.registry, document)
    const whole = text ?? (typeof document === 'string' ? '' : formatDocument(document))
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(`${file}.next`, whole)
    renameSync(`${file}.next`, file)
    return file
  }
  function putAll(): void {
    for (const each of documents) {
      put(each.certificate)
      put(each.record)
    }
  }
  async function until(what: string, holds: (status: Status) => boolean): Promise<Status> {
    let status: Status | undefined
    for (let i = 0; i < seconds * 20; i++) {
      await pause(50)
      status = await left.status()
      if (status !== undefined && holds(status)) return status
    }
    throw new Error(`not within ${seconds} s: ${what}\n${JSON.stringify(status, undefined, 1)}\n${left.log}`)
  }
  const isClean = ({ refusals, vanished, registry }: Status): boolean =>
    refusals.length + vanished.length + registry.unreadable.length === 0

  putAll()
  await until('all peers', ({ peers }) => peers.length === 1 + paper.length)
  await pause(300)
  const whole = dump(left.machine)

  await t.test('every defect is refused by itself, at its place', async (t) => {
    const files = defects.map((defect, i) => {
      const n = String(firstPaper + i)
      const document = documents[i]?.[defect.of]
      if (document === undefined) throw new Error('too few gateways on paper')
      const text = formatDocument(document)
      const from = typeof defect.from === 'string' ? defect.from.replace('N', n) : defect.from
      // Keys are made from the name, so the text is, too.
      const to = defect.name.startsWith('one key')
        ? `"1":"${tunnelKeysOf(`g${n}`)[0] ?? ''}"`
        : defect.to.replace('N', n)
      const wrong = text.replace(from, () => to)
      t.not(wrong, text, `${defect.name}: the text was changed`)
      return { ...defect, n, wrong, file: put(document, wrong) }
    })
    const status = await until('a refusal for each', ({ refusals }) => refusals.length >= defects.length)
    t.equal(status.refusals.length, defects.length, 'no others')
    t.equal(status.health, 'degraded')
    for (const { name, file, wrong, at, reason, next, n } of files) {
      const [refusal, ...more] = status.refusals.filter(({ origin }) => origin === file)
      t.equal(more.length, 0, `${name}: once`)
      t.match(refusal?.reason, reason, `${name}: ${String(refusal?.reason)}`)
      const [, line, column] = /:([0-9]+):([0-9]+)$/.exec(refusal?.object ?? '') ?? []
      const found = wrong.split('\n')[Number(line) - 1]?.slice(Number(column) - 1)
      t.ok(found?.startsWith(at.replace('N', n)), `${name}: at ${String(refusal?.object)}`)
      t.match(refusal?.excerpt, /\n {2,}\| *\^$/, `${name}: a caret`)
      if (next !== undefined)
        t.match(refusal?.next, new RegExp(next.source.replace('N', n)), `${name}: a hint`)
    }
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
    const shown = left.cli('status').stdout
    for (const { file } of files)
      t.match(shown, new RegExp(`${path.basename(file)}:[0-9]+:[0-9]+: refused: `))
    t.notMatch(left.log, /^<3>forged/m, 'no line of the log is forged')
    putAll()
    await until('no refusal', isClean)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'nor does putting them right change anything')
  })

  await t.test('a document cut off anywhere is not read as another one', async (t) => {
    const files = cuts.map((cut, i) => {
      const document = documents[i]?.record
      if (document === undefined) throw new Error('too few gateways on paper')
      const bytes = Buffer.from(formatDocument(document))
      const file = documentPath(lab.registry, document)
      writeFileSync(file, bytes.subarray(0, Math.floor((bytes.length * cut) / 16)))
      return file
    })
    const status = await until('a refusal for each', ({ refusals }) => refusals.length >= cuts.length)
    t.strictSame(status.refusals.map(({ origin }) => origin).sort(), [...files].sort())
    for (const { object } of status.refusals) t.match(object, /\.json:[0-9]+:[0-9]+$/)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
    putAll()
    await until('no refusal', isClean)

    left.log = ''
    for (const { record: document } of documents) {
      const file = documentPath(lab.registry, document)
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, text.slice(0, 200))
      await pause(20)
      writeFileSync(file, text)
    }
    await pause(500)
    t.notMatch(left.log, /document-refused/, 'a slow writer is given time')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
  })

  await t.test('what is deleted or cannot be read stays in force', async (t) => {
    const [gone, linked, folder, fifo, large] = documents
      .slice(0, 5)
      .map(({ record: each }) => documentPath(lab.registry, each)) as [string, string, string, string, string]
    execFileSync('mkfifo', [`${fifo}.next`])
    for (const file of [gone, linked, folder, fifo]) rmSync(file)
    symlinkSync(linked, linked)
    mkdirSync(folder)
    renameSync(`${fifo}.next`, fifo)
    put(large, ' '.repeat(1 << 20))
    const status = await until(
      'all of them are told',
      ({ registry, vanished }) => registry.unreadable.length === 4 && vanished.length === 1,
    )
    t.equal(status.vanished[0]?.origin, gone)
    t.strictSame(
      status.registry.unreadable.map(({ object }) => object).sort(),
      [linked, folder, fifo, large].sort(),
    )
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
    for (const file of [linked, folder, fifo]) rmSync(file, { recursive: true })

    renameSync(path.join(lab.registry, 'records'), path.join(lab.registry, 'gone'))
    await until('no record is left', ({ vanished }) => vanished.length === 2 + paper.length)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'without the folder of records')

    renameSync(lab.registry, `${lab.registry}.gone`)
    const without = await until('no registry', ({ registry }) =>
      registry.unreadable.some(({ object }) => object === lab.registry),
    )
    t.match(without.registry.unreadable[0]?.reason, /cannot be listed/)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'without the registry')

    mkdirSync(lab.registry)
    await pause(2500)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'with an empty registry')
    rmSync(lab.registry, { recursive: true })

    await left.stop()
    left.start()
    await until('the agent waits', ({ health }) => health === 'waiting')
    await pause(1000)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and an agent started without one')

    renameSync(`${lab.registry}.gone`, lab.registry)
    renameSync(path.join(lab.registry, 'gone'), path.join(lab.registry, 'records'))
    putAll()
    await until('all is well', (each) => isClean(each) && each.health !== 'waiting')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and with all of it back')
  })

  await t.test('documents that contradict each other', async (t) => {
    const [first, second] = paper as [number, number]
    const fabricFile = path.join(lab.registry, 'fabric.json')
    const fabric = readFileSync(fabricFile, 'utf8')
    const own = documents[1]
    // All of them newcomers, the last one apart: it asks for a prefix of another site besides its own.
    const newcomers: readonly Document[] = [
      certificate(60, { number: 60 }),
      certificate(61, { number: 60 }),
      certificate(62, { identity: identityOf('one') }),
      certificate(63, { identity: identityOf('one') }),
      certificate(64, { site: { name: `s${first}`, provider: '', region: '', labels: {} } }),
      certificate(65),
      certificate(66),
      ...[60, 61, 62, 63, 64].map((n) => record(n)),
      ...[65, 66].map((n) => record(n, { tunnelKeys: tunnelKeysOf('one') })),
      certificate(second, {
        prefixes: [second, first].map((n) => ({ prefix: prefix(`10.${n}.0.0/16`) })),
      }),
      record(second, { prefixes: [second, first].map((n) => prefix(`10.${n}.0.0/16`)) }),
    ]
    for (const document of newcomers) put(document)
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

    put(
      fabricFile,
      fabric.replace(
        '"networks": []',
        '"networks": [{"name":"a","vni":7001,"kind":"l2"},\n      {"name":"b","vni":7001,"kind":"l2"}]',
      ),
    )
    const twice = await until('a VNI used twice', ({ refusals }) =>
      refusals.some(({ origin }) => origin === fabricFile),
    )
    const [vni] = twice.refusals.filter(({ origin }) => origin === fabricFile)
    t.match(vni?.object, /fabric\.json:[0-9]+:[0-9]+$/)
    t.match(vni?.reason, /the VNI/)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the fabric document before stays in force')

    put(fabricFile, fabric)
    if (own !== undefined) for (const each of [own.certificate, own.record]) put(each)
    for (const document of newcomers.slice(0, -2)) rmSync(documentPath(lab.registry, document))
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
