/**
 * The file registry against a directory in turmoil: files written whole, in place and by halves, deleted and moved; folders
 * and the directory itself made, moved away and back, swapped and replaced. Once it is quiet, what was delivered is what
 * is there, told by events alone: the periodic walk is an hour away.
 */
import { strict as assert } from 'node:assert'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { folders } from '../../agent/registry/directory.ts'
import { FileRegistry } from '../../agent/registry/file.ts'
import { parameters } from '../support/arbitraries.ts'
import { shortDirectory } from '../support/short-directory.ts'

t.setTimeout(600_000)

/** Halves are given up after 1.25 s, what cannot be read is tried again after 2 s; a slow machine takes longer. */
const patienceMs = 15_000

// Few of them, so that many things happen to one.
const folder = fc.constantFrom('certificates', 'records')
const place = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.tuple(folder, fc.constantFrom('g1.jws', 'g2.jws')).map((names) => join(...names)),
  },
  { weight: 1, arbitrary: fc.constant('fabric.jws') },
)
/** Paths are below the test's own directory; the registry is `registry`, and `aside` is beside it. */
type Step =
  | { readonly do: 'write' | 'half' | 'rewrite' | 'touch' | 'remove' | 'make'; readonly at: string }
  | { readonly do: 'move' | 'swap'; readonly at: string; readonly to: string }
  | { readonly do: 'renew' }
  | { readonly do: 'pause'; readonly ms: number }

const inside = (name: string): string => join('registry', name)
const aside = (name: string): string => join('aside', name.replace('/', '-'))
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('write', 'half', 'rewrite'), at: place.map(inside) }),
  fc.record({ do: fc.constantFrom('remove'), at: fc.oneof(place, folder).map(inside) }),
  fc.record({
    do: fc.constantFrom('make', 'touch'),
    at: fc.oneof(folder.map(inside), fc.constant('registry')),
  }),
  // What was moved may be written to, and comes back.
  fc
    .oneof(place, folder)
    .chain((name) =>
      fc.constantFrom<Step>(
        { do: 'move', at: inside(name), to: aside(name) },
        { do: 'move', at: aside(name), to: inside(name) },
        { do: 'write', at: name.endsWith('.jws') ? aside(name) : join(aside(name), 'g1.jws') },
      ),
    ),
  fc.constantFrom<Step>(
    { do: 'move', at: 'registry', to: aside('registry') },
    { do: 'move', at: aside('registry'), to: 'registry' },
    { do: 'renew' },
  ),
  fc.record({ do: fc.constant('swap' as const), at: folder.map(inside), to: folder.map(inside) }),
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pause' as const), ms: fc.constantFrom(0, 1, 5, 8, 60) }),
  },
)

let count = 0

/** Steps that are not possible now are none. */
async function take(base: string, each: Step): Promise<void> {
  // It ends as a signed document does.
  const text = `e30.${++count}.${'A'.repeat(86)}\n`
  try {
    if (each.do === 'pause') {
      await pause(each.ms)
      return
    }
    if (each.do === 'renew') {
      cpSync(join(base, 'registry'), join(base, 'next'), { recursive: true })
      renameSync(join(base, 'registry'), join(base, `before-${count}`))
      renameSync(join(base, 'next'), join(base, 'registry'))
      return
    }
    const at = join(base, each.at)
    if (each.do === 'move' || each.do === 'swap') {
      const to = join(base, each.to)
      if (each.do === 'swap') renameSync(to, `${to}.swap`)
      else if (existsSync(to)) return
      renameSync(at, to)
      if (each.do === 'swap') renameSync(`${to}.swap`, at)
    } else if (each.do === 'write') {
      writeFileSync(`${at}.tmp`, text)
      renameSync(`${at}.tmp`, at)
    } else if (each.do === 'half') writeFileSync(at, 'e30.')
    else if (each.do === 'rewrite') writeFileSync(at, text)
    else if (each.do === 'touch') utimesSync(at, 1, count)
    else if (each.do === 'make') mkdirSync(at)
    else rmSync(at, { recursive: true })
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error
  }
}

/** What there is to deliver; undefined where there is no registry. */
function contents(directory: string): Readonly<Record<string, string>> | undefined {
  if (!existsSync(directory)) return undefined
  const names = folders.flatMap((name) =>
    existsSync(join(directory, name))
      ? readdirSync(join(directory, name)).map((file) => join(name, file))
      : [],
  )
  return Object.fromEntries(
    ['fabric.jws', ...names]
      .filter((name) => name.endsWith('.jws') && existsSync(join(directory, name)))
      .map((name) => [join(directory, name), readFileSync(join(directory, name), 'utf8')]),
  )
}

void t.test('the last state is delivered, whatever came before', async (t) => {
  const base = shortDirectory(t)
  const directory = join(base, 'registry')
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 24 }), async (steps) => {
    rmSync(base, { recursive: true })
    for (const name of ['registry/records', 'aside']) mkdirSync(join(base, name), { recursive: true })
    const view = new Map<string, string>()
    let unreadable: readonly string[] = []
    const stop = new AbortController()
    const watching = (async (): Promise<void> => {
      for await (const bag of new FileRegistry(directory, { walkMs: 3_600_000 }).watch(stop.signal)) {
        if (bag.complete) view.clear()
        for (const origin of bag.gone ?? []) view.delete(origin)
        for (const { origin, bytes } of bag.documents) view.set(origin, Buffer.from(bytes).toString())
        unreadable = bag.unreadable.map(({ object }) => object)
      }
    })()
    try {
      for (const each of steps) await take(base, each)
      const there = contents(directory)
      const difference = (): string | undefined => {
        // Without a registry what was delivered last stays.
        const [is, should] =
          there === undefined
            ? [unreadable, [directory]]
            : [
                [Object.fromEntries(view), unreadable],
                [there, []],
              ]
        const [left, right] = [is, should].map((value) => JSON.stringify(value, sorted))
        return left === right ? undefined : `${String(left)}, expected ${String(right)}`
      }
      // Twice: it may look so before the last event came.
      for (const quietMs of [0, 70]) {
        await pause(quietMs)
        const until = performance.now() + patienceMs
        while (difference() !== undefined && performance.now() < until) await pause(5)
      }
      assert.equal(difference(), undefined)
    } finally {
      stop.abort()
      await watching
    }
  })
  await fc.assert(property, { ...parameters(40, 60), endOnFailure: true })
  t.pass('holds')
})

/** For JSON.stringify: keys in order. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
