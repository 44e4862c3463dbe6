/**
 * Bad documents in the registry of a running agent: well signed and wrong, cut off, unreadable. Each is refused by itself, at
 * its place, and the kernel does not hear of it: the dump before equals the dump after. What is not to be believed is in
 * registry-deceit.test.ts.
 *
 * There are as many gateways on paper as there are defects, so that one test has all defects at the same time.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { documentPath } from '../../agent/registry/file.ts'
import { seal } from '../../agent/trust/envelope.ts'
import { sealed, signed, signerOf, tunnelKeysOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { payloadText } from '../support/mistake.ts'
import { firstPaper, isClean, makePaper } from '../support/paper.ts'

/** A mistake in the payload of a document that is signed as it should be. */
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
    to: '"plane": 0,\n  "plane": 1',
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
    to: '"weight": 1,\n  "__proto__": {}',
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
  { name: 'an empty list', of: 'record', from: /^[^]*$/, to: '[]', at: '[]', reason: /expected/ },
]

/** Offsets at which a document is cut, in sixteenths of it, and one paper gateway for each. */
const cuts = Array.from({ length: 15 }, (_, i) => i + 1)

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, paper, documents, whole, put, putAll, until } = await makePaper(
    directory,
    Math.max(defects.length, cuts.length),
  )

  await t.test('fault 30: every defect is refused by itself, at its place', async (t) => {
    const files = defects.map((defect, i) => {
      const n = String(firstPaper + i)
      const document = documents[i]?.[defect.of]
      if (document === undefined) throw new Error('too few gateways on paper')
      const text = payloadText(document)
      const from = typeof defect.from === 'string' ? defect.from.replace('N', n) : defect.from
      // Keys are made from the name, so the text is, too.
      const to = defect.name.startsWith('one key')
        ? `"1":"${tunnelKeysOf(`g${n}`)[0] ?? ''}"`
        : defect.to.replace('N', n)
      const wrong = text.replace(from, () => to)
      t.not(wrong, text, `${defect.name}: the text was changed`)
      const bytes = seal(document.type, wrong, signerOf(document))
      return { ...defect, n, wrong, file: put(document, bytes) }
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

  await t.test('fault 17: a document cut off anywhere is not read as another one', async (t) => {
    const files = cuts.map((cut, i) => {
      const document = documents[i]?.record
      if (document === undefined) throw new Error('too few gateways on paper')
      const bytes = sealed(document)
      const file = documentPath(lab.registry, signed(document))
      writeFileSync(file, bytes.subarray(0, Math.floor((bytes.length * cut) / 16)))
      return file
    })
    const status = await until('a refusal for each', ({ refusals }) => refusals.length >= cuts.length)
    t.strictSame(status.refusals.map(({ origin }) => origin).sort(), [...files].sort())
    for (const { rule, object } of status.refusals)
      t.match({ rule, object }, { rule: 'document', object: /\.jws$/ })
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
    putAll()
    await until('no refusal', isClean)

    left.log = ''
    for (const { record: document } of documents) {
      const file = documentPath(lab.registry, signed(document))
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, text.slice(0, 200))
      await pause(20)
      writeFileSync(file, text)
    }
    await pause(500)
    t.notMatch(left.log, /document-refused/, 'a slow writer is given time')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
  })

  await t.test('fault 16: what is deleted or cannot be read stays in force', async (t) => {
    const [gone, linked, folder, fifo, large] = documents
      .slice(0, 5)
      .map(({ record: each }) => documentPath(lab.registry, signed(each))) as [
      string,
      string,
      string,
      string,
      string,
    ]
    execFileSync('mkfifo', [`${fifo}.next`])
    symlinkSync(linked, `${linked}.next`)
    for (const file of [fifo, linked]) renameSync(`${file}.next`, file)
    for (const file of [gone, folder]) rmSync(file)
    mkdirSync(folder)
    put(large, ' '.repeat(1 << 20))
    const status = await until(
      'all of them are told',
      ({ registry, vanished }) => registry.unreadable.length === 4 && vanished.length > 0,
    )
    // A look between its removal and the directory in its place is possible.
    const vanished = status.vanished.map(({ origin }) => origin).filter((origin) => origin !== folder)
    t.strictSame(vanished, [gone])
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
    await startSettled(left)
    t.match(left.log, /first-audit .*ops=0 /, 'what it knew is enough')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and an agent started without one')

    await left.stop()
    left.machine.run('rm', '-r', '/var/lib/linkspan/known')
    left.start()
    await until('the agent waits', ({ health }) => health === 'waiting')
    await pause(1000)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and one that remembers nothing')

    renameSync(`${lab.registry}.gone`, lab.registry)
    renameSync(path.join(lab.registry, 'gone'), path.join(lab.registry, 'records'))
    putAll()
    await until('all is well', (each) => isClean(each) && each.health !== 'waiting')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and with all of it back')
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})
