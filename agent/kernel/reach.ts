/** Reaching a canary target: a TCP connection to ADDRESS:PORT, an echo request to a bare address. */
import { connect } from 'node:net'
import type { Exec } from './exec.ts'
import type { CanaryTarget } from '../model/config.ts'

/**
 * True where the target answered within `timeoutMs`. A refused connection is an answer, too: a packet went there and one
 * came back. Throws LinkspanError `exec` where there is no `ping` program.
 */
export async function reachTarget(exec: Exec, target: CanaryTarget, timeoutMs: number): Promise<boolean> {
  const { address, port } = target
  if (port !== undefined) return connects(address, port, timeoutMs)
  const seconds = String(Math.max(1, Math.ceil(timeoutMs / 1000)))
  try {
    await exec.run('ping', ['-n', '-q', '-c', '1', '-W', seconds, address], { timeoutMs: timeoutMs + 2000 })
    return true
  } catch (error) {
    // 1: no answer. Anything else says nothing of the target.
    if (error instanceof Error && /: exit code 1\b/.test(error.message)) return false
    throw error
  }
}

function connects(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    const end = (isReached: boolean) => (): void => {
      socket.destroy()
      resolve(isReached)
    }
    socket.once('connect', end(true))
    socket.once('timeout', end(false))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      end(error.code === 'ECONNREFUSED')()
    })
  })
}
