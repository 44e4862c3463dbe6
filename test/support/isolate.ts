/**
 * A test file that runs in a network and mount namespace of its own: what it makes of links, rules, mounts and files below
 * /run is gone when it ends, however it ends.
 *
 * The outer process starts the same file again under unshare(1); the inner one runs the tests.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const inside = 'LINKSPAN_TEST_INSIDE'

/** Calls `tests` in the inner process, with a directory that is removed afterwards. */
export async function isolated(url: string, tests: (directory: string) => Promise<void>): Promise<void> {
  const file = fileURLToPath(url)
  const directory = process.env[inside]
  if (directory === undefined) {
    const made = mkdtempSync(path.join(tmpdir(), 'linkspan-test-'))
    try {
      const { status, stdout, stderr } = spawnSync(
        'unshare',
        ['--net', '--mount', '--fork', '--pid', '--kill-child', '--mount-proc', process.execPath, file],
        {
          env: { ...process.env, [inside]: made, NODE_TEST_CONTEXT: '' },
          encoding: 'utf8',
          maxBuffer: 1 << 26,
        },
      )
      if (status !== 0) t.comment(`${stdout}\n${stderr}`)
      t.equal(status, 0, `${path.basename(file)} in a namespace of its own`)
    } finally {
      rmSync(made, { recursive: true, force: true })
    }
    return
  }
  run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
  run('mount', '-t', 'sysfs', 'sysfs', '/sys')
  run('ip', 'link', 'set', 'dev', 'lo', 'up')
  await tests(directory)
}

/** Runs a program to its end; its stdout. Throws where it fails. */
export function run(file: string, ...args: readonly string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The same in a named namespace. */
export function runIn(namespace: string, file: string, ...args: readonly string[]): string {
  return run('ip', 'netns', 'exec', namespace, file, ...args)
}

/** `ip` commands, one a line, in order. */
export function ip(commands: string): void {
  for (const line of commands.split('\n')) {
    const words = line.trim().split(/\s+/)
    if (words[0] !== '') run('ip', ...words)
  }
}
