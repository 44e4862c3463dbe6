/** One at a time, also after a death. */
import { spawnSync } from 'node:child_process'
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { withAuthorityLock } from '../../../agent/cli/authority-lock.ts'

const gone = spawnSync('true').pid
const whoever = `${process.pid} ${hostname()} 00\n`

void t.test('one at a time, and nothing is left', async (t) => {
  const directory = t.testdir({ count: '0' })
  const file = join(directory, 'count')
  const add = async (): Promise<void> => {
    const before = Number(await readFile(file, 'utf8'))
    await nextTurn()
    await writeFile(file, String(before + 1))
  }
  // All of them find a dead holder's lock first.
  await writeFile(join(directory, '.lock'), `${gone} ${hostname()} 00\n`)
  await Promise.all(Array.from({ length: 12 }, () => withAuthorityLock(directory, add)))
  t.equal(await readFile(file, 'utf8'), '12')
  await t.rejects(
    withAuthorityLock(directory, () => Promise.reject(new Error('failed'))),
    /failed/,
  )
  t.same(await readdir(directory), ['count'])
})

void t.test('a living holder is waited for, then named', async (t) => {
  const directory = t.testdir({ '.lock': whoever })
  const path = join(directory, '.lock')
  const work = (): Promise<string> => Promise.resolve('done')
  await t.rejects(withAuthorityLock(directory, work, 120), {
    code: 'conflict',
    object: path,
    reason: `process ${process.pid} on ${hostname()} works with this authority`,
    next: /delete this file/,
  })
  t.equal(await readFile(path, 'utf8'), whoever, 'it keeps the lock')
  // Of another host only the age tells.
  await writeFile(path, `${gone} elsewhere 00\n`)
  await t.rejects(withAuthorityLock(directory, work, 120), /on elsewhere works/)
  const longAgo = Date.now() / 1000 - 61
  await utimes(path, longAgo, longAgo)
  t.equal(await withAuthorityLock(directory, work, 2000), 'done', 'older than a minute')
  await t.rejects(stat(path))
})

void t.test('who was too slow neither writes nor removes', async (t) => {
  const directory = t.testdir()
  const path = join(directory, '.lock')
  const late = withAuthorityLock(directory, async (lock) => {
    await lock.check()
    await writeFile(path, whoever)
    await lock.check()
  })
  await t.rejects(late, { code: 'conflict' })
  t.equal(await readFile(path, 'utf8'), whoever)
})

void t.test('no directory', async (t) => {
  const directory = join(t.testdir(), 'none')
  await t.rejects(
    withAuthorityLock(directory, () => Promise.resolve()),
    { code: 'state-unreadable', reason: /cannot be locked/ },
  )
})
