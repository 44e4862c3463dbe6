/** The last-known-good store on a disk that fails: of each call that writes or reads, EIO once. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import t from 'tap'
import type { Test } from 'tap'
import type { Delivered } from '../../../agent/model/document.ts'
import { KnownStore } from '../../../agent/registry/known.ts'
import type { Known } from '../../../agent/registry/known.ts'
import { noMarks } from '../../../agent/trust/tenure.ts'
import type { Marks } from '../../../agent/trust/tenure.ts'
import { certificateDocument, delivered, fabricDocument } from '../../support/documents.ts'
import { FailingDisk } from '../../support/failing-disk.ts'

const [fabric, first, second, third] = [
  delivered(fabricDocument()),
  delivered(certificateDocument(1)),
  delivered(certificateDocument(2)),
  delivered(certificateDocument(3)),
] as const
const marks: Marks = { ...noMarks, numbers: new Map([[7, 'g7']]) }
const later: Marks = { ...noMarks, numbers: new Map([[8, 'g8']]) }

interface Place {
  readonly directory: string
  readonly file: string
}

function place(t: Test): Place {
  const directory = mkdtempSync(join(tmpdir(), 'linkspan-known-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  return { directory, file: join(directory, 'known', 'documents') }
}

const disk = new FailingDisk()
t.teardown(() => {
  disk.close()
})

async function read({ directory }: Place): Promise<Known & { readonly texts: readonly string[] }> {
  const { known } = await KnownStore.open(directory)
  return { ...known, texts: known.documents.map(textOf) }
}

function textOf({ bytes }: Pick<Delivered, 'bytes'>): string {
  return Buffer.from(bytes).toString().trim()
}

for (const call of ['open', 'write', 'datasync', 'close'] as const) {
  void t.test(`EIO at ${call} of an append: asked again, nothing is lost`, async (t) => {
    const at = place(t)
    const { store } = await KnownStore.open(at.directory)
    await store.append([fabric, first])
    disk.fail(call, at.directory)
    await t.rejects(store.append([second]), { code: 'EIO' })
    t.ok(disk.hasFailed)
    const between = await read(at)
    t.match(between.texts.slice(0, 2), [textOf(fabric), textOf(first)], 'what was there is there')
    await store.append([second, third])
    const { texts, damage } = await read(at)
    t.strictSame(damage, [])
    for (const one of [fabric, first, second, third]) t.ok(texts.includes(textOf(one)))
  })
}

for (const call of ['open', 'write', 'sync', 'rename'] as const) {
  void t.test(
    `EIO at ${call} of the marks: those before stand, and the same are kept when asked again`,
    async (t) => {
      const at = place(t)
      const { store } = await KnownStore.open(at.directory)
      await store.saveMarks(marks, 5)
      disk.fail(call, at.directory)
      await t.rejects(store.saveMarks(later, 6), { code: 'EIO' })
      t.ok(disk.hasFailed)
      t.strictSame((await read(at)).marks.numbers, marks.numbers)
      await store.saveMarks(later, 6)
      const { marks: kept, floorMs } = await read(at)
      t.strictSame(kept.numbers, later.numbers)
      t.equal(floorMs, 6)
    },
  )
}

for (const call of ['readFile', 'open', 'write', 'sync', 'rename'] as const) {
  void t.test(`EIO at ${call} of a rewrite: the file before stands`, async (t) => {
    const at = place(t)
    const { store } = await KnownStore.open(at.directory)
    await store.append([fabric, first, second])
    const before = readFileSync(at.file, 'latin1')
    disk.fail(call, at.directory)
    await t.rejects(
      store.rewrite(() => true),
      { code: 'EIO' },
    )
    t.ok(disk.hasFailed)
    t.equal(readFileSync(at.file, 'latin1'), before)
    await store.rewrite(({ bytes }) => textOf({ bytes }) !== textOf(first))
    await store.append([third])
    t.strictSame((await read(at)).texts, [fabric, second, third].map(textOf))
  })
}

void t.test('a file that cannot be read is damage, and what is appended spoils nothing of it', async (t) => {
  const at = place(t)
  const { store } = await KnownStore.open(at.directory)
  await store.append([fabric, first])
  disk.fail('readFile', at.directory)
  const blind = await KnownStore.open(at.directory)
  t.match(blind.known, { documents: [], damage: [{ reason: /EIO/ }] })
  disk.fail('write', at.directory)
  await t.rejects(blind.store.append([second]), { code: 'EIO' })
  await blind.store.append([second])
  t.strictSame((await read(at)).texts, [fabric, first, second].map(textOf))
})

void t.test('a line that was torn does not tear the next', async (t) => {
  const at = place(t)
  const { store } = await KnownStore.open(at.directory)
  await store.append([fabric, first])
  const whole = readFileSync(at.file)
  writeFileSync(at.file, whole.subarray(0, whole.length - 50))
  const { store: again, known } = await KnownStore.open(at.directory)
  t.match(known.damage, [{ reason: /is cut off/ }])
  await again.append([second])
  const { texts, damage } = await read(at)
  t.strictSame(texts, [fabric, second].map(textOf))
  t.strictSame(damage, [])
})
