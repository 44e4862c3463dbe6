/**
 * A test file that runs in a network and mount namespace of its own: what it makes of links, rules, mounts and files below
 * /run is gone when it ends, however it ends.
 *
 * The outer process starts the same file again under unshare(1); the inner one runs the tests.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from './command.ts'

const inside = 'LINKSPAN_TEST_INSIDE'

/**
 * Calls `tests` in the inner process, with a directory that is removed afterwards. The inner process is the first of a PID
 * namespace: when it, the outer one or unshare(1) dies of anything, the kernel ends all that is in there.
 */
export async function isolated(url: string, tests: (directory: string) => Promise<void>): Promise<void> {
  const file = fileURLToPath(url)
  const directory = process.env[inside]
  if (directory === undefined) {
    if (process.getuid?.() !== 0) {
      t.pass(path.basename(file), { skip: 'needs root, for namespaces' })
      return
    }
    t.setTimeout(0) // tap's clock runs in the inner process
    // Under `node --test`, tap reports to the runner, once, and takes the word out of the environment; it is the inner's.
    const underRunner =
      process.env['NODE_TEST_CONTEXT'] === undefined ? {} : { NODE_TEST_CONTEXT: 'child-v8' }
    const made = mkdtempSync(path.join(tmpdir(), 'linkspan-test-'))
    const namespaces = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child']
    try {
      const { status, error } = spawnSync(
        'setpriv',
        ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--mount-proc', process.execPath, file],
        { env: { ...process.env, ...underRunner, [inside]: made, TAP_TIMEOUT: '600' }, stdio: 'inherit' },
      )
      if (error !== undefined) throw error
      process.exitCode = status ?? 1
    } finally {
      rmSync(made, { recursive: true, force: true })
    }
    return
  }
  t.setTimeout(600_000) // an emulated machine is twenty times slower
  run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
  run('mount', '-t', 'sysfs', 'sysfs', '/sys')
  run('ip', 'link', 'set', 'dev', 'lo', 'up')
  try {
    await tests(directory)
    t.end()
  } finally {
    leave()
  }
}

/**
 * Tests may leave programs running, which would keep this process for ever. What it has still to tell goes out first: tap tells
 * the last of it at its end, and pauses where the runner is slow to read.
 */
function leave(): void {
  setTimeout(() => {
    setInterval(() => {
      if (process.stdout.writableLength === 0) process.exit()
    }, 100)
  }, 1000).unref()
}
