/**
 * One request for a bundle, redirects followed, to its end: a body, "unchanged", or why there is neither.
 *
 * Each request has a connection of its own. So a name is resolved each time, a certificate is checked each time (a resumed
 * TLS session would not), and a dead connection is nobody's to inherit; at one request in ten seconds that costs nothing
 * that could be measured.
 *
 * The environment has no say. Proxy variables are not read: a gateway's registry traffic leaves by the underlay, by routes
 * and marks that the agent sets, and a variable that some login shell exports must not send it and its token elsewhere. Nor
 * can NODE_TLS_REJECT_UNAUTHORIZED and NODE_OPTIONS make TLS or the parser lenient: all that matters is given here. (With
 * no `ca` file the authorities are those that Node knows, and NODE_EXTRA_CA_CERTS adds to them.)
 */
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { RequestOptions } from 'node:https'
import { isIP } from 'node:net'
import type { TcpSocketConnectOpts } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { Reason } from '../errors.ts'
import { quoted } from '../trust/excerpt.ts'
import { readBody } from './https-body.ts'
import type { Body } from './https-body.ts'
import type { Credentials } from './credential.ts'
import { networkFault, statusOf, unreadable } from './https-fault.ts'
import type { Words } from './https-fault.ts'
import { Patience } from './https-patience.ts'
import type { PatienceLimits } from './https-patience.ts'
import { lookupBy } from './resolver.ts'
import type { Resolve } from './resolver.ts'
import { bundleUrl, shownUrl } from './https-url.ts'
import { conditionOf, retryAfterOf, validatorOf } from './https-validator.ts'
import type { Validator } from './https-validator.ts'

export interface Ask extends PatienceLimits {
  readonly url: URL
  readonly credentials: Credentials
  /** What the last body of this server is known by. */
  readonly validator: Validator | undefined
  readonly maxBytes: number
  readonly resolve: Resolve
}

export type Answer =
  | { readonly kind: 'body'; readonly body: Body; readonly validator: Validator | undefined }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly retryAfterMs?: number }

type Outcome =
  | Exclude<Answer, { kind: 'failed' }>
  | { readonly kind: 'fault'; readonly words: Words; readonly retryAfterMs?: number }

/** What https.request() passes on to tls.connect(), besides what its type says. */
type Options = RequestOptions &
  Pick<ConnectionOptions, 'secureContext'> &
  Pick<TcpSocketConnectOpts, 'autoSelectFamily' | 'autoSelectFamilyAttemptTimeout'>

const maxRedirects = 3
/** Answers of kind 1xx, before the one that counts. */
const maxInterim = 8
const maxHeaderBytes = 16 * 1024
/** Node tries the next address after 250 ms, which is less than a handshake takes between continents. */
const addressMs = 2500

/** Throws the signal's reason when it aborts. */
export async function get(ask: Ask, signal: AbortSignal): Promise<Answer> {
  const patience = new Patience(ask, signal)
  const way = new Way(ask.url)
  let outcome: Outcome
  try {
    outcome = await follow(ask, way, patience)
    signal.throwIfAborted()
    // To a body that ends with its connection, our turning away is an end like any other.
    if (patience.over !== undefined) outcome = fault(patience.over)
  } catch (error) {
    signal.throwIfAborted()
    outcome = fault(patience.over ?? networkFault(error, patience.phase))
  } finally {
    patience.close()
  }
  if (outcome.kind !== 'fault') return outcome
  const { words, retryAfterMs } = outcome
  const reason = unreadable(ask.url, { ...words, reason: `${way.text}${words.reason}` })
  return { kind: 'failed', reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
}

/** The URL asked, and where that one redirects to. */
class Way {
  readonly #first: URL
  url: URL
  redirects = 0

  constructor(first: URL) {
    this.#first = first
    this.url = first
  }

  /** For messages that speak of the first one. */
  get text(): string {
    return this.url === this.#first ? '' : `redirects to ${shownUrl(this.url)}: `
  }

  /** Whether the server is the one that the configuration names. */
  get isAtHome(): boolean {
    return this.url.origin === this.#first.origin
  }
}

async function follow(ask: Ask, way: Way, patience: Patience): Promise<Outcome> {
  for (;;) {
    const answer = await send(ask, way, patience)
    try {
      const next = redirectOf(answer, way)
      if (next === undefined) return await take(ask, way.url, answer, patience)
      if (!(next instanceof URL)) return fault(next)
      way.url = next
      way.redirects++
      // Node resolves no address; but who sees to it that these stay on the underlay must hear of each.
      const host = next.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0) await ask.resolve(host)
    } finally {
      answer.destroy()
    }
  }
}

async function take(ask: Ask, url: URL, answer: IncomingMessage, patience: Patience): Promise<Outcome> {
  const { statusCode: status = 0, headers } = answer
  const wasAsked = Object.keys(conditionOf(url, ask.validator)).length > 0
  if (status === 304 && wasAsked) return { kind: 'unchanged' }
  if (status !== 200) {
    const retryAfterMs = retryAfterOf(headers, Date.now())
    return { ...fault(statusOf(status)), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) }
  }
  patience.reach('body')
  const body = await readBody(answer, ask.maxBytes, () => {
    patience.reach('body')
  })
  return 'reason' in body ? fault(body) : { kind: 'body', body, validator: validatorOf(url, headers) }
}

function fault(words: Words): Outcome & { kind: 'fault' } {
  return { kind: 'fault', words }
}

/** Resolves when the headers are there. */
function send(ask: Ask, { url, isAtHome }: Way, patience: Patience): Promise<IncomingMessage> {
  const { credentials } = ask
  // What we prove ourselves with is for that server alone.
  const { authorization } = isAtHome ? credentials : {}
  patience.reach('connect')
  const options: Options = {
    agent: false,
    headers: {
      accept: '*/*',
      'accept-encoding': 'gzip',
      'cache-control': 'no-cache', // a cache between must ask the server
      'user-agent': 'linkspan',
      ...conditionOf(url, ask.validator),
      ...(authorization === undefined ? {} : { authorization }),
    },
    secureContext: isAtHome ? credentials.own : credentials.anonymous,
    rejectUnauthorized: true,
    insecureHTTPParser: false,
    maxHeaderSize: maxHeaderBytes,
    lookup: lookupBy(ask.resolve),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: addressMs,
    signal: patience.signal,
  }
  return new Promise((resolve, reject) => {
    const sent = request(url, options)
    sent.once('socket', (socket) => {
      socket.once('connect', () => {
        patience.reach('handshake')
      })
      socket.once('secureConnect', () => {
        patience.reach('answer')
      })
    })
    // What fails after the headers fails the reading of the body, too.
    sent.on('error', reject)
    // Node says no more than this of an answer that wants another protocol.
    sent.once('close', () => {
      reject(connectionEnd())
    })
    let interim = 0
    sent.on('information', () => {
      if (++interim > maxInterim) sent.destroy(Object.assign(new Error('1xx'), { code: 'HPE_INTERIM' }))
    })
    sent.once('response', (answer) => {
      // Whoever reads it hears of it; who turned away need not.
      answer.on('error', () => undefined)
      resolve(answer)
    })
    sent.end()
  })
}

/** Where it says to go instead, or what is wrong with that; undefined where it says nothing of the kind. */
function redirectOf(answer: IncomingMessage, { url, redirects }: Way): URL | Words | undefined {
  const { statusCode: status = 0, headers } = answer
  if (![301, 302, 303, 307, 308].includes(status)) return undefined
  const next = 'use the URL where the bundle is'
  const { location = '' } = headers
  if (redirects === maxRedirects) return { reason: `redirects more than ${maxRedirects} times`, next }
  if (location === '' || !URL.canParse(location, url.href))
    return { reason: `answers ${status} and does not say where to go`, next }
  const target = new URL(location, url)
  const { protocol } = target
  target.hash = '' // meant for browsers
  if (protocol !== 'https:') return { reason: `redirects to ${quoted(protocol)}, expected https:`, next }
  const checked = bundleUrl(target.href)
  return 'url' in checked ? checked.url : { reason: `redirects to a URL that ${checked.malformed}`, next }
}

function connectionEnd(): NodeJS.ErrnoException {
  return Object.assign(new Error('closed'), { code: 'ECONNRESET' })
}
