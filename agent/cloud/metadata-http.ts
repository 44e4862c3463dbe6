/**
 * HTTP to a metadata service, and to nothing else: 169.254.169.254 is a constant of this file. It is link-local, so the
 * hypervisor answers; but on a network that is no cloud anybody on the link may, and a careless client hands such a
 * service's secrets on. So: no redirect is followed, no proxy is used, no name is resolved, at most 256 KiB are read, and
 * everything has a deadline.
 *
 * node:http takes proxies from the environment through its agents only (NODE_USE_ENV_PROXY); a request with a connection of
 * its own has no agent.
 */
import { request as httpRequest } from 'node:http'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Reason } from '../errors.ts'
import { quoted } from '../trust/excerpt.ts'

/** RFC 3927; the same at all three providers. */
export const metadataAddress = '169.254.169.254'
/** A connection that takes longer, in ms, is none: the service is one hop away. */
const connectMs = 1000
/** Longest answer, in bytes. An AWS list is some hundred, an Azure document some thousand. */
const maxBytes = 256 * 1024

/** Begins a connection to the service; tests give one to a server of their own. */
export type Dial = () => Socket

const dialService: Dial = () => connect({ host: metadataAddress, port: 80 })

export interface MetadataRequest {
  readonly path: string
  readonly method?: 'GET' | 'PUT'
  readonly headers: Readonly<Record<string, string>>
  /** A header the answer must have, with this value, or it does not come from the service. */
  readonly signature?: readonly [name: string, value: string]
}

export interface MetadataAnswer {
  readonly status: number
  readonly text: string
}

/** Why a service told nothing: an expected outcome, which stops no start. */
export type CloudTrouble = Omit<Reason, 'code'>

/** The service does not answer, or not as it should. `silent`: it took the request and said nothing. */
export class MetadataFailure extends Error implements CloudTrouble {
  override readonly name = 'MetadataFailure'
  readonly object: string
  readonly reason: string
  readonly next?: string
  readonly silent: boolean

  constructor({ object, reason, next }: CloudTrouble, silent = false) {
    super(`${object}: ${reason}`)
    this.object = object
    this.reason = reason
    if (next !== undefined) this.next = next
    this.silent = silent
  }
}

export interface MetadataClientOptions {
  /** Whom it asks, for messages. */
  readonly object: string
  /** Ends every request. */
  readonly signal: AbortSignal
  readonly dial?: Dial
}

export class MetadataClient {
  readonly #object: string
  readonly #signal: AbortSignal
  readonly #dial: Dial

  constructor({ object, signal, dial = dialService }: MetadataClientOptions) {
    this.#object = object
    this.#signal = signal
    this.#dial = dial
  }

  failure(reason: string, next?: string): MetadataFailure {
    return new MetadataFailure({ object: this.#object, reason, ...(next === undefined ? {} : { next }) })
  }

  /** The text of an answer 200; undefined for a 404: the service has no such thing. Throws for any other status. */
  async get(request: MetadataRequest): Promise<string | undefined> {
    const { status, text } = await this.ask(request)
    if (status === 200) return text
    if (status === 404) return undefined
    throw this.failure(`answered ${status} to ${request.path}`)
  }

  /** One request, one answer, whatever its status save a redirect. Throws MetadataFailure. */
  ask(request: MetadataRequest): Promise<MetadataAnswer> {
    return new Promise((resolve, reject) => {
      const { path, method = 'GET', headers, signature } = request
      if (this.#signal.aborted) {
        reject(this.failure('was not asked: no time left'))
        return
      }
      const socket = this.#dial()
      // Without an agent, node:http would write the port into the Host header, which services compare.
      const host: RequestOptions = { host: metadataAddress, port: 80, defaultPort: 80 }
      const asking = httpRequest({ ...host, path, method, headers, createConnection: () => socket })
      const end = (): void => {
        clearTimeout(timer)
        this.#signal.removeEventListener('abort', late)
        asking.destroy()
        socket.destroy()
      }
      const fail = (failure: MetadataFailure): void => {
        end()
        reject(failure)
      }
      const refuse = (reason: string, next?: string): void => {
        fail(this.failure(reason, next))
      }
      const late = (): void => {
        const reason = socket.connecting ? 'no connection in time' : `no answer to ${path} in time`
        fail(new MetadataFailure({ object: this.#object, reason }, !socket.connecting))
      }
      const timer = setTimeout(() => {
        if (socket.connecting) refuse(`no connection within ${connectMs} ms`)
      }, connectMs)
      this.#signal.addEventListener('abort', late, { once: true })
      for (const each of [socket, asking]) {
        each.on('error', (error: Error) => {
          refuse(error.message)
        })
      }
      asking.on('response', (response) => {
        const wrong = wrongIn(response, signature)
        if (wrong !== undefined) {
          refuse(wrong)
          return
        }
        const chunks: Buffer[] = []
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length > maxBytes) refuse(`answered to ${path} with more than ${maxBytes} bytes`)
          else chunks.push(chunk)
        })
        response.on('error', (error) => {
          refuse(`broke off its answer to ${path}: ${error.message}`)
        })
        response.on('end', () => {
          end()
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') })
        })
      })
      asking.end()
    })
  }
}

/** Why this is not the service's own answer. */
function wrongIn(response: IncomingMessage, signature: MetadataRequest['signature']): string | undefined {
  const { statusCode = 0, headers } = response
  if (signature !== undefined) {
    const [name, value] = signature
    const found = headers[name.toLowerCase()]
    if (found !== value) return `answered without ${name}: ${value}, so it is not the service`
  }
  if (statusCode >= 300 && statusCode < 400) return `answered with a redirect to ${quoted(headers.location)}`
  const isPage = /^(text\/html|application\/xhtml)/i.test(headers['content-type'] ?? '')
  if (statusCode === 200 && isPage) return 'answered with a web page, so it is not the service'
  return undefined
}
