/** Dumps and errors of one rtnetlink socket: dump again where the kernel says that a dump was torn, errors in words. */
import { constants } from 'node:os'
import { LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Failure, NetlinkSocket } from './addon.ts'
import { forEachMessage } from './message.ts'

/** Dumps in a row that may be torn (NLM_F_DUMP_INTR: the table changed meanwhile, objects may be missing or double). */
const attempts = 10

export type Decode<T> = (bytes: Uint8Array, type: number, start: number, end: number) => T | undefined

export class RouteSocket {
  readonly raw: NetlinkSocket

  constructor(raw: NetlinkSocket) {
    this.raw = raw
  }

  /** Everything of one dump, in the pieces it came in. `missing`: errnos that mean an empty answer. */
  async chunks<T>(
    request: Uint8Array,
    object: string,
    decode: Decode<T>,
    missing: readonly number[] = [],
  ): Promise<readonly T[][]> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const found: T[][] = []
      const outcome = await this.raw.dump(request, (chunk) => {
        const part: T[] = []
        forEachMessage(chunk, (type, _flags, _seq, _pid, start, end) => {
          const decoded = decode(chunk, type, start, end)
          if (decoded !== undefined) part.push(decoded)
        })
        if (part.length > 0) found.push(part)
      })
      if ('errno' in outcome) {
        if (missing.includes(outcome.errno)) return []
        throw new LinkspanError(reasonOfFailure(outcome, `dump of ${object}`))
      }
      if (!outcome.interrupted) return found
    }
    throw new LinkspanError({
      code: 'netlink',
      object: `dump of ${object}`,
      reason: `the table changed under every one of ${attempts} dumps`,
      next: 'it is tried again; see who rewrites it',
    })
  }

  async collect<T>(
    request: Uint8Array,
    object: string,
    decode: Decode<T>,
    missing: readonly number[] = [],
  ): Promise<readonly T[]> {
    return (await this.chunks(request, object, decode, missing)).flat()
  }
}

/** Of two names for one number, those that the kernel's sources use: EAGAIN, EOPNOTSUPP. */
const errnoNames = new Map(
  Object.entries(constants.errno)
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP')
    .map(([name, value]) => [value, name]),
)

function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`
}

export function reasonOfFailure(failure: Failure, object: string): Reason {
  const name = errnoName(failure.errno)
  const permission = failure.errno === constants.errno.EPERM
  return {
    code: permission ? 'permission' : 'netlink',
    object,
    reason: failure.message === '' ? name : `${name}: ${failure.message}`,
    ...(permission ? { next: 'the agent needs CAP_NET_ADMIN' } : {}),
  }
}
