import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { ChangeSignal, DirectoryWatch } from '../../../agent/registry/directory-watch.ts'

interface Watching {
  readonly watch: DirectoryWatch
  /** What happened since, when the events had their time. */
  readonly news: () => Promise<{ readonly files: readonly string[]; readonly walk: boolean }>
}

function watching(t: Test, directory: string): Watching {
  const stop = new AbortController()
  const changes = new ChangeSignal(stop.signal)
  const watch = new DirectoryWatch(directory, ['records'], changes)
  t.teardown(() => {
    watch.close()
    stop.abort()
  })
  watch.renew()
  return {
    watch,
    news: async () => {
      await pause(50)
      const { files, walk } = changes.take()
      return { files: [...files], walk }
    },
  }
}

const quiet = { files: [], walk: false }

void t.test('what others do beside the registry is none of our business', async (t) => {
  const parent = t.testdir({ registry: { records: {} } })
  const directory = join(parent, 'registry')
  const { watch, news } = watching(t, directory)
  t.same(watch.watched, [directory, join(directory, 'records')], 'the parent is not even watched')
  for (const name of ['other', 'fabric.jws', 'g1.jws', 'records']) writeFileSync(join(parent, name), '{}')
  rmSync(join(parent, 'other'))
  t.same(await news(), quiet)

  // Nor while it is watched.
  renameSync(directory, join(parent, 'away'))
  t.same(await news(), { files: [], walk: true }, 'the directory tells of its own going')
  watch.renew()
  t.same(watch.watched, [parent])
  writeFileSync(join(parent, 'more'), '')
  writeFileSync(join(parent, 'fabric.jws'), '{"a":1}')
  t.same(await news(), quiet)
  renameSync(join(parent, 'away'), directory)
  t.same(await news(), { files: [], walk: true }, 'and the parent of its coming')
  watch.renew()
  t.same(watch.watched, [directory, join(directory, 'records')])
  writeFileSync(join(directory, 'fabric.jws'), '{}')
  t.same(await news(), { files: [join(directory, 'fabric.jws')], walk: false })
})

void t.test('a symbolic link that turns', async (t) => {
  const parent = t.testdir({ one: { records: {} }, two: { records: {} } })
  const directory = join(parent, 'registry')
  symlinkSync('one', directory)
  const { watch, news } = watching(t, directory)
  mkdirSync(join(parent, 'three'))
  t.same(await news(), quiet)
  symlinkSync('two', join(parent, 'next'))
  renameSync(join(parent, 'next'), directory)
  t.same(await news(), { files: [], walk: true })
  watch.renew()
  writeFileSync(join(parent, 'two', 'fabric.jws'), '{}')
  t.same(await news(), { files: [join(directory, 'fabric.jws')], walk: false })
})
