import { execFileSync } from 'node:child_process'
import { appendFile, chmod, cp, mkdir, open, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import type { Bag, Document } from '../../../agent/model/document.ts'
import { FileRegistry, readRegistry } from '../../../agent/registry/file.ts'
import { envelopeBytes } from '../../../agent/trust/envelope.ts'
import { certificateDocument, fabricDocument, recordDocument, sealed } from '../../support/documents.ts'

/** As it travels. */
const textOf = (document: Document): string => sealed(document).toString()
const text = textOf(recordDocument(1))

/** A registry directory inside a directory of its own, with one record. */
async function registry(t: Test): Promise<string> {
  const directory = join(t.testdir(), 'registry')
  await mkdir(join(directory, 'records'), { recursive: true })
  await writeFile(join(directory, 'fabric.jws'), textOf(fabricDocument()))
  await writeFile(join(directory, 'records', 'g1.jws'), text)
  return directory
}

/** Takes bags one by one, and fails where one does not come. */
class Follower {
  readonly #stop = new AbortController()
  readonly #bags: AsyncIterator<Bag>
  readonly #directory: string
  #pending: Promise<IteratorResult<Bag>> | undefined

  constructor(directory: string, options: { walkMs?: number } = {}) {
    this.#directory = directory
    this.#bags = new FileRegistry(directory, options).watch(this.#stop.signal)[Symbol.asyncIterator]()
  }

  /** The next bag; undefined where none comes in time. */
  async next(timeoutMs = 5000): Promise<Bag | undefined> {
    this.#pending ??= this.#bags.next()
    const late = new Promise<undefined>((resolve) => {
      setTimeout(resolve, timeoutMs, undefined).unref()
    })
    const first = await Promise.race([this.#pending, late])
    if (first === undefined) return undefined
    this.#pending = undefined
    return first.done === true ? undefined : first.value
  }

  /** Paths of a bag's documents, relative to the registry. */
  async files(timeoutMs?: number): Promise<string[] | undefined> {
    const bag = await this.next(timeoutMs)
    return bag?.documents.map(({ origin }) => origin.slice(this.#directory.length + 1)).sort()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#pending
    await this.#bags.return?.()
  }
}

/** Past the first bag. */
async function following(t: Test, directory: string, options: { walkMs?: number } = {}): Promise<Follower> {
  const follower = new Follower(directory, options)
  t.teardown(() => follower.close())
  await follower.next()
  return follower
}

async function replace(path: string, content: string): Promise<void> {
  await writeFile(`${path}.tmp`, content)
  await rename(`${path}.tmp`, path)
}

void t.test('first everything, then what changes', async (t) => {
  const directory = await registry(t)
  const follower = new Follower(directory)
  t.teardown(() => follower.close())
  const first = await follower.next()
  t.equal(first?.complete, true)
  t.same(first?.unreadable, [])
  t.same(first?.documents.map(({ origin }) => origin).sort(), [
    join(directory, 'fabric.jws'),
    join(directory, 'records/g1.jws'),
  ])
  t.equal(
    Buffer.from(first?.documents.find(({ origin }) => origin.endsWith('g1.jws'))?.bytes ?? []).toString(),
    text,
  )

  const changed = textOf(recordDocument(1, { serial: 2 }))
  const started = performance.now()
  await replace(join(directory, 'records/g1.jws'), changed)
  const second = await follower.next()
  t.ok(performance.now() - started < 1000, 'by event, not by walk')
  t.equal(second?.complete, false)
  t.equal(second?.documents.length, 1)
  t.equal(Buffer.from(second?.documents[0]?.bytes ?? []).toString(), changed)

  await writeFile(join(directory, 'records/g2.jws'), textOf(recordDocument(2)))
  t.same(await follower.files(), ['records/g2.jws'])
  await replace(join(directory, 'fabric.jws'), textOf(fabricDocument({ serial: 2 })))
  t.same(await follower.files(), ['fabric.jws'])
  await rm(join(directory, 'records/g2.jws'))
  t.same((await follower.next())?.gone, [join(directory, 'records/g2.jws')])
})

void t.test('a folder that comes later', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  await mkdir(join(directory, 'certificates'))
  await writeFile(join(directory, 'certificates/g1.jws'), textOf(certificateDocument(1)))
  t.same(await follower.files(), ['certificates/g1.jws'])
  await replace(join(directory, 'certificates/g1.jws'), textOf(certificateDocument(1, { serial: 2 })))
  t.same(await follower.files(), ['certificates/g1.jws'], 'and is watched from then on')
})

void t.test('a half-written file waits for its rest', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  const path = join(directory, 'records/g1.jws')
  // In the payload, and in the signature.
  for (const [serial, left] of [
    [2, 300],
    [3, 10],
  ] as const) {
    const whole = textOf(recordDocument(1, { serial }))
    await writeFile(path, whole.slice(0, -left))
    t.equal(await follower.next(30), undefined, 'nothing is said of it yet')
    await appendFile(path, whole.slice(-left))
    const bag = await follower.next()
    t.equal(Buffer.from(bag?.documents[0]?.bytes ?? []).toString(), whole)
    t.same(bag?.gone, [])
  }
})

void t.test('nobody takes a registry for whole while one of its files looks half written', async (t) => {
  const directory = await registry(t)
  const path = join(directory, 'records/g1.jws')
  await writeFile(path, text.slice(0, 100))
  const follower = new Follower(directory)
  t.teardown(() => follower.close())
  const first = await follower.next()
  t.same(
    first?.documents.map(({ origin }) => origin),
    [join(directory, 'fabric.jws')],
  )
  t.match(first?.unreadable, [{ code: 'registry-unreadable', object: path, reason: /looks half written/ }])
  await writeFile(path, text)
  const second = await follower.next()
  t.same(second?.unreadable, [])
  t.same(
    second?.documents.map(({ origin }) => origin),
    [path],
  )
})

void t.test('a writer that goes on piece by piece is given its time', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  const path = join(directory, 'records/g1.jws')
  const step = Math.ceil(text.length / 8)
  const next = follower.next()
  await writeFile(path, '')
  for (let at = 0; at < text.length; at += step) {
    await pause(12)
    await appendFile(path, text.slice(at, at + step))
  }
  const bag = await next
  t.equal(Buffer.from(bag?.documents[0]?.bytes ?? []).toString(), text, "its pieces are nobody's business")
})

void t.test('a half-written file whose folder goes is gone with it', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  const next = follower.next()
  await writeFile(join(directory, 'records/g1.jws'), text.slice(0, 100))
  await pause(20)
  await rename(join(directory, 'records'), join(directory, 'aside'))
  for (let bag = await next; bag !== undefined; bag = await follower.next(2500)) {
    if (bag.gone?.length === 1) t.same(bag.gone, [join(directory, 'records/g1.jws')])
    else t.same(bag.unreadable, [], 'and not unreadable')
  }
})

void t.test('what an event showed unreadable is looked at again soon', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  const outside = join(directory, '..', 'outside.jws')
  await symlink(outside, join(directory, 'records/g3.jws'))
  t.equal((await follower.next())?.unreadable.length, 1)
  await writeFile(outside, text)
  const bag = await follower.next(15_000)
  t.same(bag?.unreadable, [])
  t.equal(bag?.documents.length, 1)
})

void t.test('a path that leads nowhere is unreadable, and no failure', async (t) => {
  const directory = await registry(t)
  await symlink('loop', join(directory, 'loop'))
  for (const name of ['fabric.jws', 'fabric.jws/x', 'loop', 'loop/x']) {
    const follower = new Follower(join(directory, name))
    t.equal((await follower.next())?.unreadable.length, 1, name)
    await follower.close()
  }
})

void t.test('a file that stays cut off is passed on, so that somebody hears of it', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  await writeFile(join(directory, 'records/g1.jws'), '')
  const bag = await follower.next()
  t.equal(bag?.documents[0]?.bytes.length, 0)
})

void t.test('temporary files are none of ours', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  for (const name of [
    '.g2.jws',
    'g2.jws~',
    'g2.jws.tmp',
    '#g2.jws#',
    '.g2.jws.swp',
    'g2.json',
    'README',
    '.git',
  ]) {
    await writeFile(join(directory, 'records', name), text)
  }
  t.equal(await follower.next(100), undefined)
})

void t.test('a burst is one bag', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  for (let i = 0; i < 5; i++)
    await replace(join(directory, 'records/g1.jws'), textOf(recordDocument(1, { serial: i })))
  const bag = await follower.next()
  t.equal(bag?.documents.length, 1)
  const late = await follower.next(100)
  t.ok(late === undefined || late.documents.length === 1)
})

void t.test('what is no document file', async (t) => {
  const directory = await registry(t)
  await mkdir(join(directory, 'records/directory.jws'))
  execFileSync('mkfifo', [join(directory, 'records/fifo.jws')])
  await symlink('/nonexistent', join(directory, 'records/dangling.jws'))
  await symlink(join(directory, 'records/g1.jws'), join(directory, 'records/link.jws'))
  const large = await open(join(directory, 'records/large.jws'), 'w')
  await large.truncate(envelopeBytes(65_536) + 1)
  await large.close()
  const bag = await readRegistry(directory)
  t.equal(bag.complete, true)
  t.same(bag.documents.map(({ origin }) => origin.slice(directory.length + 1)).sort(), [
    'fabric.jws',
    'records/g1.jws',
    'records/link.jws',
  ])
  t.same(bag.unreadable.map(({ object }) => object.slice(directory.length + 1)).sort(), [
    'records/dangling.jws',
    'records/directory.jws',
    'records/fifo.jws',
    'records/large.jws',
  ])
  t.match(
    bag.unreadable.find(({ object }) => object.includes('large'))?.reason,
    new RegExp(`${envelopeBytes(65_536) + 1} bytes long, expected at most ${envelopeBytes(65_536)}`),
  )
})

void t.test('no directory at first', async (t) => {
  const parent = t.testdir()
  const directory = join(parent, 'registry')
  const follower = new Follower(directory)
  t.teardown(() => follower.close())
  const first = await follower.next()
  t.equal(first?.complete, false)
  t.same(first?.documents, [])
  t.equal(first?.unreadable[0]?.object, directory)
  t.match(first?.unreadable[0], { code: 'registry-unreadable', next: /mounted/ })
  await mkdir(join(parent, 'new/records'), { recursive: true })
  await writeFile(join(parent, 'new/records/g1.jws'), text)
  await rename(join(parent, 'new'), directory)
  const second = await follower.next()
  t.equal(second?.complete, true)
  t.equal(second?.documents.length, 1)
  t.same(second?.unreadable, [])
})

void t.test('the directory goes away: unreadable, nothing gone; and comes back', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  await rename(directory, `${directory}.away`)
  const bag = await follower.next()
  t.same(bag?.documents, [])
  t.same(bag?.gone, [])
  t.equal(bag?.complete, false)
  t.equal(bag?.unreadable[0]?.object, directory)
  await writeFile(join(`${directory}.away`, 'records/g2.jws'), textOf(recordDocument(2)))
  await rename(`${directory}.away`, directory)
  const back = await follower.next()
  t.same(back?.unreadable, [])
  t.same(back?.gone, [])
  t.same(
    back?.documents.map(({ origin }) => origin),
    [join(directory, 'records/g2.jws')],
  )
})

void t.test('the directory is replaced as a checkout does it', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory)
  await cp(directory, `${directory}.new`, { recursive: true })
  await writeFile(join(`${directory}.new`, 'records/g2.jws'), textOf(recordDocument(2)))
  await rename(directory, `${directory}.old`)
  await rename(`${directory}.new`, directory)
  const seen = new Set<string>()
  for (let bag = await follower.next(); bag !== undefined; bag = await follower.next(200)) {
    for (const { origin } of bag.documents) seen.add(origin)
    t.same(bag.gone, [])
  }
  t.ok(seen.has(join(directory, 'records/g2.jws')))
  await replace(join(directory, 'records/g1.jws'), textOf(recordDocument(1, { serial: 9 })))
  t.same(await follower.files(), ['records/g1.jws'], 'the new directory is watched')
})

void t.test('the walk finds what no event told', async (t) => {
  const directory = await registry(t)
  const follower = await following(t, directory, { walkMs: 50 })
  t.equal(await follower.next(200), undefined, 'unchanged files are not read again')
  // A file system without events is imitated by a file outside the watched directories.
  const outside = join(directory, '..', 'outside.jws')
  await writeFile(outside, text)
  await symlink(outside, join(directory, 'records/g3.jws'))
  t.same(await follower.files(), ['records/g3.jws'])
  await writeFile(outside, textOf(recordDocument(3)))
  await utimes(outside, 1, 1)
  t.same(await follower.files(), ['records/g3.jws'])
})

void t.test('ends when it is told to', async (t) => {
  const directory = await registry(t)
  const stop = new AbortController()
  let bags = 0
  for await (const bag of new FileRegistry(directory).watch(stop.signal)) {
    t.equal(bag.complete, true)
    bags++
    setImmediate(() => {
      stop.abort()
    })
  }
  t.equal(bags, 1)
})

void t.test(
  'an unreadable folder takes nothing away',
  { skip: process.getuid?.() === 0 && 'root reads all' },
  async (t) => {
    const directory = await registry(t)
    const follower = new Follower(directory, { walkMs: 50 })
    t.teardown(() => follower.close())
    await follower.next()
    await chmod(join(directory, 'records'), 0)
    t.teardown(() => chmod(join(directory, 'records'), 0o755))
    const bag = await follower.next()
    t.same(bag?.gone, [])
    t.equal(bag?.unreadable[0]?.code, 'permission')
  },
)

void t.test('2,000 files', async (t) => {
  const directory = await registry(t)
  for (let i = 0; i < 2000; i++) await writeFile(join(directory, 'records', `n${i}.jws`), text)
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  }, 1)
  const started = performance.now()
  const bag = await readRegistry(directory)
  clearInterval(timer)
  t.equal(bag.documents.length, 2002)
  t.comment(`${Math.round(performance.now() - started)} ms, longest stall ${Math.round(longest)} ms`)
  t.ok(longest < 200, 'the event loop goes on')
})
