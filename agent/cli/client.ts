/**
 * Asking the running agent: HTTP over its unix socket. Whoever may open the socket may ask (root and the group linkspan).
 * A connection that is dropped before an answer, as happens while somebody floods the socket, is tried again.
 */
import { request } from 'node:http'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { socketName } from '../daemon/http.ts'
import { errnoOf, LinkspanError } from '../errors.ts'

export const defaultRunDirectory = '/run/linkspan'

/** How long dropped connections are tried again, in ms. */
const patienceMs = 3000

export interface AskOptions {
  readonly method?: 'GET' | 'POST'
  /** Silence on the connection after which the agent counts as not answering, in ms. */
  readonly timeoutMs?: number
}

/**
 * The JSON answer. Throws `not-running` where nobody listens or answers in time, `permission` where the socket is not for
 * us, and what the agent itself answers as its Reason.
 */
export async function ask(runDirectory: string, target: string, options: AskOptions = {}): Promise<unknown> {
  const socket = path.join(runDirectory, socketName)
  const until = performance.now() + patienceMs
  for (let waitMs = 20; ; waitMs = Math.min(500, 2 * waitMs)) {
    try {
      return await once(socket, target, options)
    } catch (error) {
      if (!isDropped(error) || performance.now() > until) throw explained(error, socket)
      await pause(waitMs)
    }
  }
}

function once(
  socketPath: string,
  target: string,
  { method = 'GET', timeoutMs = 10_000 }: AskOptions,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = request(
      { socketPath, path: target, method, agent: false, headers: { host: 'linkspan' } },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('error', reject)
        response.on('end', () => {
          try {
            const answer: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'))
            if (response.statusCode === 200) resolve(answer)
            else reject(refusal(answer))
          } catch (error) {
            reject(error instanceof Error ? error : new TypeError(String(error)))
          }
        })
      },
    )
    call.setTimeout(timeoutMs, () => call.destroy(new Timeout(`no answer within ${timeoutMs / 1000} s`)))
    call.on('error', reject)
    call.end()
  })
}

class Timeout extends Error {}

function refusal(answer: unknown): Error {
  if (typeof answer === 'object' && answer !== null && 'error' in answer) {
    const { error } = answer
    if (
      typeof error === 'object' &&
      error !== null &&
      'code' in error &&
      'object' in error &&
      'reason' in error
    ) {
      return new LinkspanError(error as LinkspanError)
    }
  }
  return new LinkspanError({
    code: 'internal',
    object: 'agent',
    reason: 'answered with an error of unknown form',
  })
}

function isDropped(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'EAGAIN'].includes(String(errnoOf(error)))
}

function explained(error: unknown, socket: string): unknown {
  if (error instanceof LinkspanError) return error
  const errno = errnoOf(error)
  if (errno === 'EACCES' || errno === 'EPERM') {
    const next = 'run as root, or become a member of the group linkspan'
    return new LinkspanError(
      { code: 'permission', object: socket, reason: 'may not be opened', next },
      { cause: error },
    )
  }
  const absent = errno === 'ENOENT' || errno === 'ECONNREFUSED'
  const reason = absent ? 'no agent listens there' : error instanceof Error ? error.message : String(error)
  const next = absent
    ? 'systemctl start linkspan'
    : 'systemctl status linkspan; its log says what it is busy with'
  return new LinkspanError({ code: 'not-running', object: socket, reason, next }, { cause: error })
}
