/** `linkspan registry put` and `remove` on a directory. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { linkspan } from '../../support/authority.ts'
import type { Said } from '../../support/authority.ts'
import {
  authority,
  certificateDocument,
  fabricDocument,
  fabricOf,
  keyOf,
  recordDocument,
  requestDocument,
  sealed,
} from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

class Shelf {
  readonly directory: string
  readonly registry: string

  constructor(t: Test) {
    this.directory = t.testdir({ registry: {} })
    this.registry = join(this.directory, 'registry')
  }

  /** A signed document in a file that lies about. */
  file(document: Document, name: string, key = undefined as ReturnType<typeof keyOf> | undefined): string {
    const path = join(this.directory, name)
    writeFileSync(path, key === undefined ? sealed(document) : sealed(document, key))
    return path
  }

  put(...files: readonly string[]): Promise<Said> {
    return linkspan(['registry', 'put', ...files, '--registry', this.registry, '--authority', authority])
  }

  remove(...places: readonly string[]): Promise<Said> {
    return linkspan(['registry', 'remove', ...places, '--registry', this.registry])
  }

  at(place: string): string {
    return join(this.registry, `${place}.jws`)
  }
}

const fresh = { freshUntil: 4_000_000_000_000 }
const fabric = fabricDocument({ ...fresh, serial: 5 })

void t.test('into their places, in any order, and once', async (t) => {
  const shelf = new Shelf(t)
  const files = [
    shelf.file(recordDocument(1), 'a'),
    shelf.file(certificateDocument(1), 'b'),
    shelf.file(fabric, 'c'),
    shelf.file(requestDocument(2), 'd'),
  ]
  const put = await shelf.put(...files)
  t.match(put, { code: 0, stderr: '' })
  t.match(
    put.stdout,
    /^put fabric, serial 5\nput certificates\/g1, serial 1\nput records\/g1, serial 1\nput requests\/g2\n$/,
  )
  t.equal(readFileSync(shelf.at('records/g1'), 'utf8'), sealed(recordDocument(1)).toString())
  const again = await shelf.put('--json', ...files)
  t.match(JSON.parse(again.stdout), {
    schema: 1,
    documents: [
      { place: 'fabric', written: false },
      { written: false },
      { written: false },
      { written: false },
    ],
  })
  const newer = shelf.file(recordDocument(1, { serial: 3 }), 'newer')
  t.match(await shelf.put(newer), { code: 0, stdout: 'put records/g1, serial 3\n' })
  t.match(
    await shelf.put(
      shelf.file(recordDocument(1, { serial: 4, prefixes: [prefix('10.9.0.0/16')] }), 'partly'),
    ),
    { code: 0, stderr: /^note: in part: certified: .*10\.9\.0\.0\/16/ },
  )
  t.match(await shelf.put(shelf.file(certificateDocument(3), 'e'), shelf.file(recordDocument(3), 'f')), {
    code: 0,
  })
})

void t.test('what gateways would refuse is not put', async (t) => {
  const shelf = new Shelf(t)
  await shelf.put(shelf.file(fabric, 'fabric'), shelf.file(certificateDocument(1, { serial: 5 }), 'c1'))
  await shelf.put(shelf.file(recordDocument(1, { serial: 5 }), 'r1'))
  const before = readFileSync(shelf.at('records/g1'))
  const cut = shelf.file(fabric, 'cut')
  writeFileSync(cut, sealed(fabric).subarray(0, -9))
  const other = { overlay: { ipv4: prefix('100.64.0.0/16') } }
  const endpoints = [{ underlay: 'internet', address: address('192.0.2.99'), port: 51820 }]
  for (const [file, says] of [
    [shelf.file(recordDocument(1, { serial: 4 }), 'older'), /rollback: .*serial 4, in force is 5/],
    [shelf.file(recordDocument(1, { serial: 5, endpoints }), 'twin'), /equivocation: /],
    [shelf.file(recordDocument(1, { serial: 6 }), 'forged', keyOf('thief')), /signer: /],
    [shelf.file(recordDocument(2), 'stranger'), /certificate: .*no certificate/],
    [shelf.file(certificateDocument(2), 'thief', keyOf('thief')), /authority: /],
    [shelf.file(certificateDocument(2, { number: 1 }), 'number'), /number: /],
    [
      shelf.file(certificateDocument(2, { fabric: 'lab' }), 'lab'),
      /fabric: .*belongs to the fabric lab, this is prod/,
    ],
    [shelf.file(certificateDocument(2, { notAfter: 1_763_700_000_001 }), 'ended'), /expired: /],
    [
      shelf.file({ type: 'fabric', payload: { ...fabricOf(fresh), ...other, serial: 6 } }, 'moved'),
      /succession: /,
    ],
    [shelf.file(requestDocument(2), 'asked', keyOf('thief')), /signer: /],
    [cut, /document: .*signature of another form/],
  ] as const) {
    const refused = await shelf.put(file)
    t.match(refused, { code: 2, stdout: '', stderr: /gateways would refuse this, so nothing was put/ }, file)
    t.match(refused.stderr, says, basename(file))
  }
  t.same(readFileSync(shelf.at('records/g1')), before)

  const good = shelf.file(certificateDocument(2), 'good')
  const bad = shelf.file(recordDocument(1, { serial: 2 }), 'bad')
  t.match(await shelf.put(good, bad), { code: 2, stderr: /2 documents: .*\n {2}rollback/ })
  t.notOk(existsSync(shelf.at('certificates/g2')), 'all or nothing')
  t.match(await shelf.put(good, shelf.file(certificateDocument(2, { serial: 2 }), 'twice')), {
    code: 2,
    stderr: /has the same place as .*good/,
  })
  const large = join(shelf.directory, 'large')
  writeFileSync(large, Buffer.alloc(23_000_000, 'x'))
  t.match(await shelf.put(large), { code: 2, stderr: /large: is 23000000 bytes long, expected at most/ })
  t.match(await shelf.put(shelf.directory), { code: 2, stderr: /is not a regular file/ })
  t.match(await shelf.put(join(shelf.directory, 'none')), { code: 2, stderr: /none: cannot be read/ })
  t.match(await shelf.put(good, '--force'), { code: 2, stderr: /force/ })

  mkdirSync(shelf.at('certificates/g2'))
  t.match(await shelf.put(good), {
    code: 1,
    stderr: /g2\.jws: is not a regular file .*registry remove certificates\/g2/,
  })
  rmSync(shelf.registry, { recursive: true })
  t.match(await shelf.put(good), { code: 1, stderr: /registry: cannot be listed/ })
  t.notOk(existsSync(shelf.registry), 'nor is a registry made that is not mounted')
})

void t.test('who wrote a document decides nothing about its place', async (t) => {
  const shelf = new Shelf(t)
  await shelf.put(shelf.file(fabric, 'fabric'), shelf.file(certificateDocument(1), 'c1'))
  // Somebody put a newer one there that counts for nobody.
  mkdirSync(join(shelf.registry, 'records'))
  writeFileSync(shelf.at('records/g1'), sealed(recordDocument(1, { serial: 99 }), keyOf('thief')))
  t.match(await shelf.put(shelf.file(recordDocument(1), 'r1')), { code: 0, stdout: /put records\/g1/ })
})

void t.test('taken away', async (t) => {
  const shelf = new Shelf(t)
  await shelf.put(
    shelf.file(fabric, 'a'),
    shelf.file(certificateDocument(1), 'b'),
    shelf.file(recordDocument(1), 'c'),
    shelf.file(requestDocument(2), 'd'),
  )
  writeFileSync(join(shelf.registry, 'records/odd.jws'), 'x')
  t.match(await shelf.remove('g1'), { code: 2, stderr: /g1: may be certificates\/g1 or records\/g1 / })
  t.match(await shelf.remove('records/g11'), { code: 2, stderr: /did you mean "records\/g1"/ })
  t.match(await shelf.remove('../fabric'), { code: 2, stderr: /is no document of this registry/ })
  t.match(await shelf.remove('records/g1', 'records/none'), { code: 2 })
  t.ok(existsSync(shelf.at('records/g1')), 'all are found before one goes')
  const removed = await shelf.remove('records/g1', shelf.at('certificates/g1'))
  t.match(removed, { code: 0, stdout: 'removed records/g1\nremoved certificates/g1\n' })
  t.match(removed.stderr, /this turns nobody out[^]*records\/g1: linkspan ca remove g1.*revoke g1/)
  t.notOk(existsSync(shelf.at('records/g1')) || existsSync(shelf.at('certificates/g1')))
  t.match(await shelf.remove('requests/g2', '--json'), {
    code: 0,
    stderr: '',
    stdout: /"schema":1.*"name":"request g2"/,
  })
  t.match(await shelf.remove('odd'), { code: 0 }, 'nonsense, too')
  t.match(await shelf.remove('fabric.jws'), { code: 0, stderr: /no new gateway finds its way in/ })
  mkdirSync(join(shelf.registry, 'records/folder.jws'))
  t.match(await shelf.remove('records/folder'), { code: /[15]/, stderr: /folder\.jws: cannot be removed/ })
  t.match(await shelf.remove('fabric'), { code: 2, stderr: /is no document of this registry/ })
})
