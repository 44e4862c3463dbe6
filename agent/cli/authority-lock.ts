/**
 * One operator at a time. `ca issue` reads all numbers given out and writes the next, so two at once would give one number
 * twice. The authority's directory may be on a shared file system, where a lock of one kernel says nothing to the other: the
 * lock is a file that exists or not (open(2), O_EXCL), `.lock`.
 *
 * It says who holds it, and is touched while it is held. A holder that died is known by its process on the same host, and
 * elsewhere by the age of the file.
 * Two that find it abandoned must not remove it one after the other, the second one the new lock of the first: who removes
 * it holds `.lock.stale` meanwhile and looks again.
 */
import { randomBytes } from 'node:crypto'
import type { Stats } from 'node:fs'
import { open, readFile, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { errnoOf, LinkspanError } from '../errors.ts'

/** A holder touches it more often; an older one was left behind. */
const staleMs = 60_000
const touchMs = 10_000
const retryMs = 50

export interface AuthorityLock {
  /** Throws where another one took it over, because we held it too long. Ask before writing. */
  check(): Promise<void>
}

/**
 * Runs `work` while nobody else works on the directory, which must exist. Throws LinkspanError `conflict` where somebody
 * else holds the lock for `waitMs`, and `permission` or `state-unreadable` where there can be no lock.
 */
export async function withAuthorityLock<T>(
  directory: string,
  work: (lock: AuthorityLock) => Promise<T>,
  waitMs = 10_000,
): Promise<T> {
  const path = join(directory, '.lock')
  const mine = `${process.pid} ${hostname()} ${randomBytes(6).toString('hex')}\n`
  const isMine = async (): Promise<boolean> => (await readHolder(path)) === mine
  const until = performance.now() + waitMs
  while (!(await create(path, mine))) {
    if (await removeAbandoned(path)) continue
    if (performance.now() >= until) throw heldError(path, await readHolder(path))
    await pause(retryMs * (0.5 + Math.random()))
  }
  const touch = setInterval(() => {
    const now = new Date()
    // One that cannot be touched grows old, and check() finds out when somebody took it over.
    void utimes(path, now, now).catch(() => undefined)
  }, touchMs)
  try {
    return await work({
      check: async () => {
        if (!(await isMine())) throw heldError(path, await readHolder(path))
      },
    })
  } finally {
    clearInterval(touch)
    if (await isMine()) await rm(path, { force: true })
  }
}

/** False where it is there already. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o644)
    try {
      await file.writeFile(text)
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw unlockable(path, error)
  }
}

/** True where the lock is gone now. */
async function removeAbandoned(path: string): Promise<boolean> {
  if (!(await isAbandoned(path, Date.now()))) return false
  const guard = `${path}.stale`
  if (!(await create(guard, ''))) {
    // Held for a moment only; what a death left behind goes, too.
    if (await isAbandoned(guard, Date.now())) await rm(guard, { force: true })
    return false
  }
  try {
    // The file system's own time: clocks of two hosts may be far apart.
    const now = (await present(guard))?.mtimeMs ?? Date.now()
    if (!(await isAbandoned(path, now))) return false
    await rm(path, { force: true })
    return true
  } finally {
    await rm(guard, { force: true })
  }
}

async function isAbandoned(path: string, nowMs: number): Promise<boolean> {
  const stats = await present(path)
  if (stats === undefined) return false
  if (nowMs - stats.mtimeMs > staleMs) return true
  const [, pid, host] = /^([0-9]{1,10}) (\S+)/.exec((await readHolder(path)) ?? '') ?? []
  return host === hostname() && !isAlive(Number(pid))
}

/** kill(2) with signal 0; a process of another user is alive, too (EPERM). */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return errnoOf(error) !== 'ESRCH'
  }
}

async function present(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    expectMissing(path, error)
    return undefined
  }
}

async function readHolder(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    expectMissing(path, error)
    return undefined
  }
}

/** Throws all but ENOENT. */
function expectMissing(path: string, error: unknown): void {
  if (errnoOf(error) === 'ENOENT') return
  throw unlockable(path, error)
}

function unlockable(path: string, error: unknown): LinkspanError {
  const denied = ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '')
  const reason = `cannot be locked: ${error instanceof Error ? error.message : String(error)}`
  return new LinkspanError(
    { code: denied ? 'permission' : 'state-unreadable', object: path, reason },
    { cause: error },
  )
}

function heldError(path: string, holder: string | undefined): LinkspanError {
  const [, pid, host] = /^([0-9]{1,10}) (\S+)/.exec(holder ?? '') ?? []
  const who = pid === undefined ? 'another command' : `process ${pid} on ${host ?? ''}`
  return new LinkspanError({
    code: 'conflict',
    object: path,
    reason: `${who} works with this authority`,
    next: 'try again when it is done; delete this file if nothing runs there any more',
  })
}
