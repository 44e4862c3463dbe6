/** Documents on their way into a registry directory: whole files, each in its place. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { Document } from '../../../agent/model/document.ts'
import { documentPath, FileRegistry, readRegistry, writeDocument } from '../../../agent/registry/file.ts'
import {
  authority,
  certificateDocument,
  fabricDocument,
  recordDocument,
  requestDocument,
  sealed,
  signed,
} from '../../support/documents.ts'

/** As it travels. */
const textOf = (document: Document): string => sealed(document).toString()
const text = textOf(recordDocument(1))

/** A registry directory inside a directory of its own, with one record. */
async function registry(t: Test): Promise<string> {
  const directory = join(t.testdir(), 'registry')
  await mkdir(join(directory, 'records'), { recursive: true })
  await writeFile(join(directory, 'records', 'g1.jws'), text)
  return directory
}

void t.test('publishes whole files to their places', async (t) => {
  const directory = await registry(t)
  const { signal } = new AbortController()
  const publisher = new FileRegistry(directory)
  await publisher.publish(sealed(requestDocument(7)), signal)
  await publisher.publish(sealed(recordDocument(7)), signal)
  t.equal(await readFile(join(directory, 'requests/g7.jws'), 'utf8'), textOf(requestDocument(7)))
  t.equal(await readFile(join(directory, 'records/g7.jws'), 'utf8'), textOf(recordDocument(7)))
  t.same(
    (await readdir(join(directory, 'records'))).sort(),
    ['g1.jws', 'g7.jws'],
    'no temporary file is left',
  )
  await t.rejects(publisher.publish(Buffer.from('{}'), signal), { code: 'document-invalid' })
  const forged = text.replace(/[^.]+$/, `${'A'.repeat(86)}\n`)
  await t.rejects(publisher.publish(Buffer.from(forged), signal), { code: 'document-invalid' })
  t.equal(
    await readFile(join(directory, 'records/g1.jws'), 'utf8'),
    text,
    'what is not signed is not written',
  )
  await t.rejects(publisher.publish(Buffer.from(text), AbortSignal.abort()))
  await t.rejects(new FileRegistry(join(directory, 'missing')).publish(Buffer.from(text), signal), {
    code: 'registry-unreadable',
  })
})

void t.test('every type has its place', async (t) => {
  const directory = await registry(t)
  const next: Document = { type: 'authority', payload: { fabric: 'prod', serial: 1, retired: [] } }
  const places = new Map<Document, string>([
    [fabricDocument(), 'fabric.jws'],
    [next, `authority/${authority}.jws`],
    [certificateDocument(1), 'certificates/g1.jws'],
    [recordDocument(1), 'records/g1.jws'],
    [requestDocument(2), 'requests/g2.jws'],
  ])
  for (const [document, place] of places) {
    t.equal(documentPath(directory, signed(document)), join(directory, place))
    t.equal(await writeDocument(directory, signed(document), sealed(document)), join(directory, place))
  }
  const { documents } = await readRegistry(directory)
  const read = new Map(documents.map(({ origin, bytes }) => [origin.slice(directory.length + 1), bytes]))
  t.same([...read.keys()].sort(), [...places.values()].sort())
  for (const [document, place] of places)
    t.equal(Buffer.from(read.get(place) ?? '').toString(), textOf(document))
})
