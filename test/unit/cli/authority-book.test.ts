/** What an authority believes: its own copies first, then what the registry shows, by keys that count. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KeyObject } from 'node:crypto'
import t from 'tap'
import { Book, issuedIn, nameOf, readIssued, writeIssued } from '../../../agent/cli/authority-book.ts'
import type { Issued } from '../../../agent/cli/authority-book.ts'
import type { Document } from '../../../agent/model/document.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import {
  authority,
  authorityKey,
  certificateDocument,
  delivered,
  fabricDocument,
  keyOf,
  recordDocument,
  requestDocument,
} from '../../support/documents.ts'

const nextKey = keyOf('next authority')
const next = kidOf(nextKey)
const thiefKey = keyOf('thief')

function issued(document: Document, key: KeyObject = authorityKey): Issued {
  const [one] = issuedIn([delivered(document, 'x.jws', key)])
  if (one === undefined) throw new Error('is not issued')
  return one
}

function link(
  serial: number,
  by: KeyObject,
  to: KeyObject | undefined,
  retired: readonly string[] = [],
): Issued {
  const step = to === undefined ? {} : { next: kidOf(to), proof: proofOf('prod', kidOf(by), to) }
  return issued({ type: 'authority', payload: { fabric: 'prod', serial, ...step, retired } }, by)
}

const serialsOf = (book: Book): Record<string, number> =>
  Object.fromEntries(
    book.documents.map((one) => [
      nameOf(one),
      one.document.type === 'request' ? 0 : one.document.payload.serial,
    ]),
  )

void t.test('only what authorities sign', (t) => {
  const good = delivered(fabricDocument())
  const altered = Buffer.from(good.bytes)
  altered[altered.length - 20]! ^= 1
  const found = issuedIn([
    good,
    delivered(recordDocument(1)),
    delivered(requestDocument(1)),
    { origin: 'a', bytes: altered },
    { origin: 'b', bytes: Buffer.from('{}') },
  ])
  t.same(found.map(nameOf), ['fabric.jws'])
  t.equal(issuedIn([good], found)[0], found[0], 'a document that is known is not checked again')
  t.end()
})

void t.test('the newest counts, wherever it is', (t) => {
  const own = [fabricDocument({ serial: 5 }), certificateDocument(1, { serial: 6 })].map((one) => issued(one))
  const there = [fabricDocument({ serial: 4 }), certificateDocument(1, { serial: 7 }), certificateDocument(2)]
  const book = Book.of(
    authority,
    own,
    there.map((one) => issued(one)),
  )
  t.same(serialsOf(book), { 'fabric.jws': 5, 'certificates/g1.jws': 7, 'certificates/g2.jws': 1 })
  t.equal(book.certificate('g1')?.document.payload.serial, 7)
  t.equal(book.certificate('g9'), undefined)
  t.same(book.contradictions, [])
  t.equal(book.signer, authority)
  t.end()
})

void t.test('a stranger counts for nothing', (t) => {
  const there = [
    issued(fabricDocument({ serial: 9 }), thiefKey),
    issued(certificateDocument(1, { serial: 9 }), thiefKey),
    link(9, thiefKey, authorityKey),
  ]
  const book = Book.of(authority, [issued(fabricDocument({ serial: 5 }))], there)
  t.same(serialsOf(book), { 'fabric.jws': 5 })
  t.same(book.contradictions, [])
  t.end()
})

void t.test('two of one serial: our own stays, and that is told', (t) => {
  const own = [issued(fabricDocument({ serial: 5 }))]
  const book = Book.of(authority, own, [issued(fabricDocument({ serial: 5, removed: ['g1'] }))])
  t.same(book.fabric?.document.payload.removed, [])
  t.same(book.contradictions.map(nameOf), ['fabric.jws'])
  t.end()
})

void t.test('a rollover', (t) => {
  const step = link(2, authorityKey, nextKey)
  const old = [issued(fabricDocument({ serial: 1 })), issued(certificateDocument(1))]
  const begun = Book.of(authority, old, [step])
  t.equal(begun.signer, next)
  t.same([...begun.authorities.trusted], [authority, next])
  t.same(serialsOf(begun), { [`authority/${authority}.jws`]: 2, 'fabric.jws': 1, 'certificates/g1.jws': 1 })
  const done = begun.with([
    issued(fabricDocument({ serial: 3 }), nextKey),
    link(4, nextKey, undefined, [authority]),
  ])
  t.equal(done.signer, next)
  t.same([...done.authorities.retired], [authority])
  t.equal(done.fabric?.kid, next)
  t.equal(done.certificate('g1')?.kid, authority, 'what was not signed anew is remembered')
  t.end()
})

void t.test('who stole a retired key, or the old one, takes nothing over', (t) => {
  const own = [link(2, authorityKey, nextKey), issued(fabricDocument({ serial: 3 }), nextKey)]
  const retired = [...own, link(4, nextKey, undefined, [authority])]
  for (const [state, copies] of [
    ['under way', own],
    ['finished', retired],
  ] as const) {
    const book = Book.of(authority, copies, [link(99, authorityKey, thiefKey)])
    t.equal(book.signer, next, state)
    t.same(book.contradictions.map(nameOf), [`authority/${authority}.jws`])
  }
  const forged = issued(fabricDocument({ serial: 99, removed: ['g1'] }))
  const book = Book.of(authority, retired, [forged])
  t.equal(book.fabric?.document.payload.serial, 3)
  t.same(book.contradictions, [forged])
  t.end()
})

void t.test('kept as one bundle', async (t) => {
  const directory = t.testdir()
  t.same(await readIssued(directory), [])
  const book = Book.of(
    authority,
    [issued(fabricDocument()), issued(certificateDocument(1)), link(2, authorityKey, nextKey)],
    [],
  )
  await writeIssued(directory, book.documents)
  const again = Book.of(authority, await readIssued(directory), [])
  t.same(serialsOf(again), serialsOf(book))
  const path = join(directory, 'issued.bundle')
  const text = readFileSync(path, 'latin1')
  for (const [bad, says] of [
    [text.slice(0, -20), /cut off|last line/],
    [text.replace('fabric.jws ey', 'fabric.jws fy'), /no authority signs/],
    [text.replace(/(\nfabric\.jws .*)\n/, '$1.x\n'), /line \d+: holds neither/],
    ['x', /is no bundle/],
  ] as const) {
    writeFileSync(path, bad, 'latin1')
    await t.rejects(
      readIssued(directory),
      { code: 'state-unreadable', object: path, reason: says },
      String(says),
    )
  }
})
