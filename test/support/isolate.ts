/**
 * A test file that runs in namespaces of its own (namespace.ts).
 *
 * Run by itself it starts itself again in there, and the inner process runs the tests. The suite begins with the inner one
 * (inside.ts).
 */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from './command.ts'
import { inside, runInside } from './namespace.ts'

/** Calls `tests` in the inner process, with a directory that is removed afterwards. */
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
    process.exitCode = runInside(file, { ...process.env, ...underRunner })
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
