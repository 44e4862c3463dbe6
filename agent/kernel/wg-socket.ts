/**
 * wireguard-go's configuration socket: the cross-platform text protocol of wireguard.com/xplatform, one connection a
 * request. It stops at the first line it dislikes, so a request that fails is repeated change by change.
 */
import { connect } from 'node:net'
import path from 'node:path'
import { getSystemErrorName } from 'node:util'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { PublicKey } from '../model/key.ts'
import { discarding } from './peer-change.ts'
import type { PeerChange, PeerChannel } from './peer-change.ts'

/** Where wireguard-go makes NAME.sock. */
export const socketDirectory = '/run/wireguard'
/** Prefixes in one request: some milliseconds of work at either end. */
const requestPrefixes = 2000
const timeoutMs = 10_000
const silence = `wireguard-go did not answer in ${timeoutMs} ms`

export const socketChannel: PeerChannel = {
  async send(device, changes, signal) {
    const errors: (Reason | undefined)[] = []
    for (const part of partsOf(changes)) {
      signal.throwIfAborted()
      const error = await sendLines(device, discarding(part).map(linesOf).join(''))
      // Silence is no dislike: each change on its own would only be waited for in its turn.
      if (error === undefined || part.length === 1 || error.reason === silence) {
        for (const one of part) errors.push(error && about(device, one, error))
        continue
      }
      for (const one of part) {
        const own = await sendLines(device, discarding([one]).map(linesOf).join(''))
        errors.push(own && about(device, one, own))
      }
    }
    return errors
  },
}

/** Changes of about one request each; a single large change stays whole. */
function* partsOf(changes: readonly PeerChange[]): Generator<readonly PeerChange[], void> {
  let part: PeerChange[] = []
  let size = 0
  for (const change of changes) {
    part.push(change)
    size += 1 + change.prefixes.length
    if (size >= requestPrefixes) {
      yield part
      part = []
      size = 0
    }
  }
  if (part.length > 0) yield part
}

function linesOf({ publicKey, verb, endpoint, keepalive, prefixes }: PeerChange): string {
  const peer = `public_key=${hexOf(publicKey)}\n`
  const allowed = prefixes.map((prefix) => `allowed_ip=${prefix}\n`).join('')
  switch (verb) {
    case 'set':
      return `${peer}${endpoint === undefined ? '' : `endpoint=${endpoint}\n`}persistent_keepalive_interval=${keepalive ?? 0}\n`
    case 'allow':
      return `${peer}update_only=true\n${allowed}`
    case 'remove':
      return `${peer}remove=true\n`
    case 'discard':
      return `${peer}${allowed}${peer}remove=true\n`
    case 'disallow':
      throw new LinkspanError({ code: 'internal', object: publicKey, reason: 'wireguard-go cannot disallow' })
  }
}

function hexOf(key: PublicKey): string {
  return Buffer.from(key, 'base64').toString('hex')
}

function about(device: string, { publicKey, verb }: PeerChange, error: Reason): Reason {
  return { ...error, object: `wg ${device} ${verb === 'discard' ? 'allowed-ips' : `peer ${publicKey}`}` }
}

/**
 * Resolves when the process has answered a request that changes nothing, or will never answer it: the socket is closed, or
 * there is none. A process that hangs keeps it waiting, without keeping ours.
 */
export function answered(device: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(path.join(socketDirectory, `${device}.sock`))
    socket.on('error', () => undefined) // 'close' follows; whoever asks for more will say why
    socket.on('data', () => {
      socket.destroy()
    })
    socket.on('close', () => {
      resolve()
    })
    socket.write('set=1\n\n')
    socket.unref()
  })
}

/** Sends one `set` request; undefined for errno 0. */
export function sendLines(device: string, lines: string): Promise<Reason | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path.join(socketDirectory, `${device}.sock`))
    let answer = ''
    const fail = (reason: string): void => {
      socket.destroy()
      resolve({ code: 'exec', object: `wg ${device}`, reason })
    }
    socket.setEncoding('ascii')
    socket.setTimeout(timeoutMs, () => {
      fail(silence)
    })
    socket.on('error', (error) => {
      fail(reasonOf(error, device).reason)
    })
    socket.on('data', (piece: string) => {
      answer += piece
      const errno = /^errno=(-?\d+)\n\n/.exec(answer)?.[1]
      if (errno === undefined) return
      if (Number(errno) === 0) {
        socket.end()
        resolve(undefined)
      } else fail(`wireguard-go: ${getSystemErrorName(-Math.abs(Number(errno)))}`)
    })
    socket.on('end', () => {
      fail('wireguard-go closed the connection')
    })
    socket.write(`set=1\n${lines}\n`)
  })
}
