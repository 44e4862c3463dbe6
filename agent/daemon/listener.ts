/**
 * An HTTP server that stops listening while the process, or the host, has no descriptor left. libuv asks without end for a
 * connection that waits and cannot be accepted (uv__server_io; accept4: EMFILE, ENFILE), tells nobody, and takes a core for
 * it. So a look once a second: where no descriptor is to be had, the socket is closed, and whoever connects is refused
 * at once; where several are, it is opened anew.
 */
import { Server } from 'node:http'
import { closeSync, openSync } from 'node:fs'
import { errnoOf } from '../errors.ts'
import { onceASecond } from './once-a-second.ts'

/** Descriptors that must be free before it listens again: its own, and some to be of use with. */
const enough = 8

export class Listener extends Server {
  #end: (() => void) | undefined

  /** Listens by `bind`, and again by it after a pause. Rejects where the first one does. */
  async keepListening(bind: () => Promise<void>): Promise<void> {
    await bind()
    let isBusy = false
    this.#end = onceASecond(() => {
      if (isBusy) return
      if (this.listening) {
        if (!areFree(1)) super.close()
        return
      }
      if (!areFree(enough)) return
      isBusy = true
      bind()
        .catch(() => undefined) // the next look tries again
        .finally(() => {
          isBusy = false
          if (this.#end === undefined) super.close()
        })
    })
  }

  override close(callback?: (error?: Error) => void): this {
    this.#end?.()
    this.#end = undefined
    return super.close(callback)
  }
}

/** True where so many files could be opened. */
function areFree(count: number): boolean {
  const opened: number[] = []
  try {
    while (opened.length < count) opened.push(openSync('/dev/null', 'r'))
    return true
  } catch (error) {
    const errno = errnoOf(error)
    return errno !== 'EMFILE' && errno !== 'ENFILE'
  } finally {
    for (const descriptor of opened) closeSync(descriptor)
  }
}
