/**
 * One agent per network namespace. The lock is an abstract socket (unix(7)): its name belongs to the network namespace,
 * exactly what an agent programs, and it goes with the process, so it is never stale.
 */
import { createServer } from 'node:net'
import { LinkspanError } from '../errors.ts'

export interface Lock {
  release(): void
}

/** Throws LinkspanError `already-running` where another agent holds it. Nothing may be written before. */
export function takeLock(name = 'linkspan'): Promise<Lock> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new LinkspanError({
              code: 'already-running',
              object: `abstract socket "${name}"`,
              reason: 'another agent runs in this network namespace',
              next: 'see it with `linkspan status`, stop it with `systemctl stop linkspan`',
            })
          : error,
      )
    })
    server.listen(`\0${name}`, () => {
      server.unref()
      resolve({ release: () => void server.close() })
    })
  })
}
