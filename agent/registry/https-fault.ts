/**
 * What can go wrong between us and a web server, in words: what happened, and what to do. The words are the same each time
 * the same thing happens, because a change of them is news. Nothing a server sent is repeated but what is harmless to print.
 */
import { STATUS_CODES } from 'node:http'
import { LinkspanError } from '../errors.ts'
import { quoted } from '../trust/excerpt.ts'
import { shownUrl } from './https-url.ts'

/** How far a request has come. */
export type Phase = 'connect' | 'handshake' | 'answer' | 'body'

/** `reason` and `next` of a Reason. */
export interface Words {
  readonly reason: string
  readonly next?: string
}

export function unreadable(url: URL, { reason, next }: Words): LinkspanError {
  return new LinkspanError({
    code: 'registry-unreadable',
    object: shownUrl(url),
    reason,
    ...(next === undefined ? {} : { next }),
  })
}

/** Nothing came for `idleMs`, or the whole took longer than `totalMs`. */
export function timeoutOf(phase: Phase, limit: 'idle' | 'total', ms: number): Words {
  const time = `${ms / 1000} s`
  if (limit === 'total')
    return { reason: `the answer is not whole after ${time}`, next: 'the server is too slow' }
  const words: Readonly<Record<Phase, Words>> = {
    connect: {
      reason: `no connection within ${time}`,
      next: 'is the server up, and does a firewall drop packets?',
    },
    handshake: {
      reason: `connected, but no TLS handshake within ${time}`,
      next: 'does this port speak TLS?',
    },
    answer: { reason: `connected, but no answer within ${time}`, next: 'see the log of the server' },
    body: { reason: `the body stalled: nothing came for ${time}`, next: 'see the log of the server' },
  }
  return words[phase]
}

export function statusOf(status: number): Words {
  const name = STATUS_CODES[status]
  const reason = `answers ${status}${name === undefined ? '' : ` ${name}`}`
  if (status === 304)
    return { reason: `${reason}, and was not asked whether anything changed`, next: atFault }
  if (status === 401 || status === 403)
    return {
      reason,
      next: 'check the token, the client certificate and the rights that the server gives them',
    }
  if (status === 404 || status === 410) return { reason, next: 'is the bundle there, and its URL right?' }
  if (status === 429) return { reason, next: 'the server wants fewer requests' }
  return { reason, next: status >= 500 ? 'see the log of the server' : 'expected 200 OK' }
}

const atFault = 'the server, or a proxy before it, is at fault'
const clock = 'is the clock of this host right?'
const reachable = 'is there a route, and does a firewall let it through?'
const resolver = 'check the name, and the name servers of this host'

/** By error code and what OpenSSL adds to it; the first that fits. */
const words: readonly (readonly [RegExp, Words])[] = [
  [/^ENOTFOUND/, { reason: 'the host name is not known', next: resolver }],
  [/^(EAI_|ENODATA|ESERVFAIL)/, { reason: 'the host name cannot be resolved now', next: resolver }],
  [/^ECONNREFUSED/, { reason: 'refuses the connection', next: 'is the server up, and the port right?' }],
  [/^(EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)/, { reason: 'cannot be reached: no route', next: reachable }],
  [/^(EACCES|EPERM)/, { reason: 'a firewall of this host forbids the connection', next: reachable }],
  [/^ETIMEDOUT/, { reason: 'cannot be reached: no answer', next: reachable }],
  [/^CERT_HAS_EXPIRED/, { reason: 'the certificate of the server has expired', next: `renew it; ${clock}` }],
  [/^CERT_NOT_YET_VALID/, { reason: 'the certificate of the server is not valid yet', next: clock }],
  [
    /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|INVALID_CA|CERT_UNTRUSTED)/,
    {
      reason: 'the certificate of the server is by an unknown authority',
      next: 'name the file of that authority’s certificate, if it is the right one; a server must send its whole chain',
    },
  ],
  [/^CERT_/, { reason: 'the certificate of the server is not acceptable' }],
  [/ALERT_CERTIFICATE_REQUIRED/, { reason: 'wants a client certificate', next: 'give one' }],
  [
    /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|ACCESS_DENIED|DECRYPT_ERROR)/,
    { reason: 'does not accept the client certificate', next: 'is it the right one, and not expired?' },
  ],
  [
    /UNSUPPORTED_PROTOCOL|ALERT_PROTOCOL_VERSION|ALERT_INSUFFICIENT_SECURITY/,
    { reason: 'offers no TLS 1.2 or newer', next: 'let the server speak TLS 1.2 or 1.3' },
  ],
  [
    /ALERT_HANDSHAKE_FAILURE/,
    { reason: 'refuses the TLS handshake', next: 'does it want a client certificate?' },
  ],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/,
    { reason: 'does not speak TLS', next: 'is the port right?' },
  ],
  [/^HPE_HEADER_OVERFLOW/, { reason: 'sends headers that are too large', next: atFault }],
  [/^HPE_INTERIM/, { reason: 'announces an answer again and again', next: atFault }],
  [/^HPE_/, { reason: 'answers something that is no HTTP', next: atFault }],
  [/^Z_BUF_ERROR/, { reason: 'the gzip data of the body are cut off', next: atFault }],
  [/^Z_/, { reason: 'the body is no gzip data, though it is called so', next: atFault }],
]

/** How a connection that just ends is called, by phase. */
const cut: Readonly<Record<Phase, Words>> = {
  connect: { reason: 'the connection was reset', next: reachable },
  handshake: { reason: 'cut the connection in the TLS handshake', next: 'does this port speak TLS?' },
  answer: {
    reason: 'cut the connection without an answer',
    next: 'does it want a client certificate, or another one?',
  },
  body: { reason: 'cut the connection before the body was whole', next: 'see the log of the server' },
}

export function networkFault(error: unknown, phase: Phase): Words {
  const all = error instanceof AggregateError ? (error.errors as unknown[]) : [error]
  // Of several addresses the last error: the first ones had less time.
  const fault = all.at(-1) ?? error
  const code = textOf(fault, 'code')
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return { reason: wrongHost(fault), next: 'use a name that it is for' }
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') return cut[phase]
  // What OpenSSL says is in the code, or with blanks in the message, as it comes.
  const said = `${code} ${textOf(fault, 'reason')} ${textOf(fault, 'message')}`
  const text = said.toUpperCase().replace(/[^A-Z0-9]+/g, '_')
  const known = words.find(([pattern]) => pattern.test(text))?.[1]
  return known ?? { reason: `cannot be read: ${quoted(code === '' ? textOf(fault, 'message') : code)}` }
}

/** The names are the server's words. */
function wrongHost(error: unknown): string {
  const certificate: unknown = error instanceof Error && 'cert' in error ? error.cert : undefined
  const names = textOf(certificate, 'subjectaltname')
  return `the certificate of the server is for another host${names === '' ? '' : `: ${quoted(names)}`}`
}

function textOf(thing: unknown, field: string): string {
  const value: unknown = typeof thing === 'object' && thing !== null ? Reflect.get(thing, field) : undefined
  return typeof value === 'string' ? value : ''
}
