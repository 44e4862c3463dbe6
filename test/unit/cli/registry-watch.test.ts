/** `linkspan registry watch` on a directory: a line for every change. */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { Watching } from '../../support/watching.ts'
import {
  authority,
  certificateDocument,
  fabricDocument,
  keyOf,
  recordDocument,
  sealed,
} from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each, and slow machines

const fabric = fabricDocument({ freshUntil: 4_000_000_000_000 })

class Shelf {
  readonly registry: string

  constructor(t: Test) {
    this.registry = join(t.testdir({ registry: { certificates: {}, records: {} } }), 'registry')
  }

  put(document: Document | string, place: string): void {
    const path = join(this.registry, `${place}.jws`)
    writeFileSync(`${path}.next`, typeof document === 'string' ? document : sealed(document))
    renameSync(`${path}.next`, path)
  }
}

void t.test('what is put, refused, replaced and gone', async (t) => {
  const shelf = new Shelf(t)
  shelf.put(fabric, 'fabric')
  shelf.put(certificateDocument(1), 'certificates/g1')
  shelf.put(sealed(certificateDocument(2), keyOf('thief')).toString(), 'certificates/odd')
  const watching = new Watching(t, ['--registry', shelf.registry, '--authority', authority])
  await watching.line(/watching file:.*: 3 documents: 2 in force, 1 refused$/)
  await watching.line(/certificate g2, serial 1: refused; authority: certificate g2: is signed by the key /)
  shelf.put(recordDocument(1, { serial: 5 }), 'records/g1')
  await watching.line(/record g1, serial 5: in force$/)
  shelf.put(recordDocument(1, { serial: 6 }), 'records/g1')
  await watching.line(/record g1, serial 6: in force$/)
  shelf.put(recordDocument(1, { serial: 4 }), 'records/g1')
  await watching.line(/record g1, serial 4: refused; rollback: record g1: is older .* in force is 6/)
  rmSync(join(shelf.registry, 'certificates/odd.jws'))
  await watching.line(/certificate g2, serial 1: gone; /)
  // One document changes what counts of another.
  shelf.put(fabricDocument({ freshUntil: 4_000_000_000_000, serial: 2, removed: ['g1'] }), 'fabric')
  await watching.line(/fabric prod, serial 2: in force$/)
  await watching.line(/certificate g1, serial 1: refused; removed: /)
  rmSync(join(shelf.registry, 'certificates/g1.jws'))
  await watching.line(/certificate g1, serial 1: gone; gateways that know it keep it$/)
  renameSync(shelf.registry, `${shelf.registry}.away`)
  await watching.line(/unreadable: .*registry: cannot be listed/)
  renameSync(`${shelf.registry}.away`, shelf.registry)
  await watching.line(/all readable again$/)
  t.equal(await watching.interrupt(), 0)
  t.equal(watching.stderr, '')
})

void t.test('as JSON, from an empty directory', async (t) => {
  const shelf = new Shelf(t)
  const watching = new Watching(t, [
    '--registry',
    shelf.registry,
    '--authority',
    authority,
    '--fabric',
    'prod',
    '--json',
  ])
  t.match(JSON.parse(await watching.line(/watching/)), { schema: 1, event: 'watching', documents: 0 })
  shelf.put(certificateDocument(1), 'certificates/g1')
  t.match(JSON.parse(await watching.line(/certificate/)), {
    schema: 1,
    event: 'new',
    place: 'certificates/g1',
    type: 'certificate',
    gateway: 'g1',
    serial: 1,
    standing: 'waits',
    refusals: [],
  })
  shelf.put(fabric, 'fabric')
  t.match(JSON.parse(await watching.line(/"type":"fabric"/)), { event: 'new', standing: 'in force' })
  t.match(JSON.parse(await watching.line(/"type":"certificate"/)), { event: 'changed', standing: 'in force' })
  t.equal(await watching.interrupt('SIGTERM'), 0)
})

void t.test('nothing to go by', async (t) => {
  const shelf = new Shelf(t)
  const watching = new Watching(t, ['--registry', shelf.registry])
  t.equal(await watching.ended(), 2)
  t.match(watching.stderr, /whose documents count/)
})
