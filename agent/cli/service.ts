/**
 * The agent as a service of systemd. `down` stops it before anything else, in whatever state it is: a unit that waits to be
 * started again has no process to ask, and would begin anew behind our back.
 */
import { readlink } from 'node:fs/promises'
import { LinkspanError } from '../errors.ts'
import type { Exec } from '../kernel/exec.ts'
import { isWithoutManager, systemdRuns } from '../kernel/systemd.ts'

const unit = 'linkspan.service'
const stopMs = 30_000
/** All others lead to a running agent: active, reloading, refreshing, activating (auto-restart, too), deactivating. */
const atRest: readonly string[] = ['inactive', 'failed']
/** Polkit's words, and PID 1's without it. */
const denied = /authentication required|Access denied|Permission denied|not permitted/

/** True where the service has to be stopped. Throws LinkspanError `exec` where systemd does not say. */
export async function isServiceUp(exec: Exec, isThere = systemdRuns()): Promise<boolean> {
  if (!isThere) return false
  try {
    const said = await exec.run('systemctl', ['show', '--property=ActiveState', unit])
    const state = /^ActiveState=(.*)$/m.exec(said)?.[1]
    return state !== undefined && !atRest.includes(state)
  } catch (error) {
    if (error instanceof LinkspanError && (isWithoutManager(error) || isNotInstalled(error))) return false
    throw error
  }
}

/** Returns when it has stopped. Throws LinkspanError `exec` or `permission`. */
export async function stopService(exec: Exec): Promise<void> {
  try {
    await exec.run('systemctl', ['stop', unit], { object: unit, timeoutMs: stopMs })
  } catch (error) {
    if (!(error instanceof LinkspanError && denied.test(error.reason))) throw error
    const { object, reason } = error
    throw new LinkspanError(
      { code: 'permission', object, reason, next: 'run the command as root' },
      { cause: error },
    )
  }
}

/** The service is the host's: from within a network namespace of another agent it is left alone. */
export async function isHostNetwork(): Promise<boolean> {
  try {
    const [own, host] = await Promise.all([readlink('/proc/self/ns/net'), readlink('/proc/1/ns/net')])
    return own === host
  } catch {
    return true // not allowed to look: then the one that systemd names is meant
  }
}

function isNotInstalled({ reason }: LinkspanError): boolean {
  return reason.includes('ENOENT')
}
