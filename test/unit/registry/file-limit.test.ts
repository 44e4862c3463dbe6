/** How much of a directory is taken: what does not fit is left out and said, and what was taken stays. */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Bag } from '../../../agent/model/document.ts'
import { FileRegistry, readRegistry } from '../../../agent/registry/file.ts'
import { fabricDocument, recordDocument, sealed } from '../../support/documents.ts'

t.setTimeout(120_000)

void t.test('more than a registry may hold', async (t) => {
  const directory = join(t.testdir(), 'registry')
  const records = join(directory, 'records')
  await mkdir(records, { recursive: true })
  await writeFile(join(directory, 'fabric.jws'), sealed(fabricDocument()))
  await writeFile(join(records, 'g1.jws'), sealed(recordDocument(1)))
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const bags = new FileRegistry(directory, { bagBytes: 10_000, walkMs: 50 })
    .watch(stop.signal)
    [Symbol.asyncIterator]()
  const next = async (): Promise<Bag | undefined> => {
    const result: IteratorResult<Bag, unknown> = await bags.next()
    return result.done === true ? undefined : result.value
  }
  const of = (bag: Bag | undefined): string[] => (bag?.documents ?? []).map(({ origin }) => origin)
  t.strictSame(of(await next()).sort(), [join(directory, 'fabric.jws'), join(records, 'g1.jws')])

  for (let i = 0; i < 30; i++) await writeFile(join(records, `junk-${i}.jws`), sealed(recordDocument(i + 2)))
  const taken = new Set<string>()
  let bag: Bag | undefined
  do {
    bag = await next()
    for (const origin of of(bag)) taken.add(origin)
  } while (bag !== undefined && !bag.unreadable.some(({ object }) => object === directory))
  const reason = /documents are left out: .* 10000 bytes together/
  t.match(bag?.unreadable.at(-1), { object: directory, reason })
  t.ok(taken.size > 0 && taken.size < 30, `${taken.size} of them`)

  // There is no room, but this one needs none that it does not have.
  await writeFile(join(records, 'g1.jws'), sealed(recordDocument(1, { serial: 2 })))
  while (bag !== undefined && !of(bag).includes(join(records, 'g1.jws'))) bag = await next()
  t.not(bag, undefined)

  for (let i = 0; i < 30; i++) await rm(join(records, `junk-${i}.jws`))
  do bag = await next()
  while (bag !== undefined && bag.unreadable.length > 0)
  t.strictSame(bag?.unreadable, [], 'nothing is left out where there is room again')
})

void t.test('a thousand files that cannot be read are a hundred reasons and a number', async (t) => {
  const directory = join(t.testdir(), 'registry')
  const records = join(directory, 'records')
  await mkdir(records, { recursive: true })
  await writeFile(join(directory, 'fabric.jws'), sealed(fabricDocument()))
  for (let i = 0; i < 1000; i++) await symlink('/nonexistent', join(records, `${1000 + i}.jws`))
  const { documents, unreadable, complete } = await readRegistry(directory)
  t.ok(complete)
  t.equal(documents.length, 1)
  t.equal(unreadable.length, 101)
  t.match(unreadable[0], { object: join(records, '1000.jws'), reason: /cannot be read/ })
  t.match(unreadable.at(-1), { object: directory, reason: 'holds 900 more documents that cannot be read' })
})
