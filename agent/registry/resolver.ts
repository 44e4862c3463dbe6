/** Host names to addresses, anew for each connection. */
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'

/** Addresses of a host name, in the order in which they are tried. Rejects with the resolver's error. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** Asks the system. A name server that hangs is waited for once, not once a request: each wait holds a thread of the pool. */
export function systemResolver(): Resolve {
  const running = new Map<string, ReturnType<Resolve>>()
  return (host) => {
    const found =
      running.get(host) ??
      lookup(host, { all: true }).finally(() => {
        running.delete(host)
      })
    running.set(host, found)
    return found
  }
}

/** As net.connect() wants it. */
export function lookupBy(resolve: Resolve): LookupFunction {
  return (host, options, callback) => {
    void resolve(host).then(
      (addresses) => {
        const [first] = addresses
        setImmediate(() => {
          if (first === undefined) callback(notFound(), '', 0)
          else if (options.all === true) callback(null, [...addresses])
          else callback(null, first.address, first.family)
        })
      },
      (error: unknown) => {
        setImmediate(() => {
          callback(error instanceof Error ? error : notFound(), '', 0)
        })
      },
    )
  }
}

function notFound(): NodeJS.ErrnoException {
  return Object.assign(new Error('no address'), { code: 'ENOTFOUND' })
}
