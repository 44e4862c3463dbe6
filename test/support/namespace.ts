/**
 * A test file in a network, mount and PID namespace of its own: what it makes of links, rules, mounts and files below /run is
 * gone when it ends, however it ends.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** In the environment of the inner process: a directory that is removed afterwards. */
export const inside = 'LINKSPAN_TEST_INSIDE'

/**
 * Runs the file there; its exit code. It is the first of a PID namespace: when it, this one or unshare(1) dies of anything, the
 * kernel ends all that is in there.
 */
export function runInside(file: string, env: NodeJS.ProcessEnv): number {
  const made = mkdtempSync(path.join(tmpdir(), 'linkspan-test-'))
  const namespaces = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child']
  try {
    const { status, error } = spawnSync(
      'setpriv',
      ['--pdeathsig', 'KILL', 'unshare', ...namespaces, '--mount-proc', process.execPath, file],
      { env: { ...env, [inside]: made, TAP_TIMEOUT: '600' }, stdio: 'inherit' },
    )
    if (error !== undefined) throw error
    return status ?? 1
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
}
