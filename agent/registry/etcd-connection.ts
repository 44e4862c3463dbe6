/**
 * One gRPC connection to one etcd server. It is never repaired: whatever happens to it is for the caller to see, who opens
 * another, perhaps to another server, with the certificates of that moment.
 *
 * grpc-js is large, so it is loaded with the first connection: an agent with another registry does not pay for it. Deadlines
 * are timers of our own: grpc-js takes them from the wall clock, which may jump. Sockets are destroyed by ourselves:
 * grpc-js closes a session politely, which never ends where the other side is frozen, and a day of retries would leave
 * thousands open. It does not hand them out, so they are caught as they are made, by the context they are made in.
 */
import type * as Grpc from '@grpc/grpc-js'
import { AsyncLocalStorage } from 'node:async_hooks'
import diagnostics from 'node:diagnostics_channel'
import type { LookupAddress } from 'node:dns'
import { isIP, Socket } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { isAborted } from '../pause.ts'
import { hostAndPort } from './etcd-endpoint.ts'
import type { Endpoint } from './etcd-endpoint.ts'
import { EtcdFailure, status } from './etcd-failure.ts'
import type { Method } from './etcd-message.ts'
import { decode, encode } from './etcd-wire.ts'
import type { Message, Partially, Shape } from './etcd-wire.ts'

type Metadata = Readonly<Record<string, string>>

export interface CallOptions {
  readonly deadlineMs: number
  readonly metadata?: Metadata
  readonly signal?: AbortSignal
}

/** A call with messages both ways. */
export interface Stream<Q> {
  write(message: Q): void
  /** Ends it; nothing is told afterwards. */
  cancel(): void
}

export interface StreamHandler<A> {
  message(message: A): void
  /** Once: the stream is over, by the server or by an error. */
  end(failure: EtcdFailure): void
}

/** Bytes on their way to us that the server may send ahead; 64 KiB, the default, is slow over long distances. */
const windowBytes = 4 * 1024 * 1024

/** The sockets of the connection that is being opened in this context. */
const opening = new AsyncLocalStorage<Set<Socket>>()
let openings = 0

const catchSocket = (news: unknown): void => {
  const sockets = opening.getStore()
  const socket = (news as { socket?: unknown }).socket
  if (sockets === undefined || !(socket instanceof Socket)) return
  sockets.add(socket)
  socket.once('close', () => sockets.delete(socket))
}

export class EtcdConnection {
  readonly endpoint: Endpoint
  readonly #grpc: typeof Grpc
  readonly #client: Grpc.Client
  readonly #sockets = new Set<Socket>()
  readonly #calls = new Set<{ cancel(): void }>()
  #open = false
  #closed = false

  private constructor(grpc: typeof Grpc, endpoint: Endpoint, client: Grpc.Client) {
    this.#grpc = grpc
    this.endpoint = endpoint
    this.#client = client
  }

  /**
   * To one address of the endpoint. Nothing is sent before the first call. `context`: for TLS. `maxAnswerBytes`: a longer
   * message ends its call.
   */
  static async to(
    endpoint: Endpoint,
    { address, family }: LookupAddress,
    context: SecureContext | undefined,
    maxAnswerBytes: number,
  ): Promise<EtcdConnection> {
    const grpc = await import('@grpc/grpc-js')
    // Its log would go to stderr, and at its most talkative holds passwords.
    grpc.setLogVerbosity(grpc.logVerbosity.NONE)
    const { host, port } = endpoint
    const credentials =
      context === undefined
        ? grpc.credentials.createInsecure()
        : grpc.credentials.createFromSecureContext(context, {
            checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
          })
    const client = new grpc.Client(`ipv${family}:${hostAndPort(address, port)}`, credentials, {
      'grpc.default_authority': hostAndPort(host, port),
      // RFC 6066 section 3 allows no address as server name; the certificate is checked for it all the same, above.
      'grpc.ssl_target_name_override': isIP(host) === 0 ? host : 'etcd.invalid',
      'grpc.max_receive_message_length': maxAnswerBytes,
      'grpc.max_send_message_length': -1,
      'grpc-node.flow_control_window': windowBytes,
      // Connections of its own, not shared with the one that just failed; no retries but ours.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      // Neither proxies from the environment nor service configurations from DNS.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_channelz': 0,
    })
    return new EtcdConnection(grpc, endpoint, client)
  }

  /** Throws EtcdFailure, or the signal's reason. */
  async unary<Q extends Shape, A extends Shape>(
    method: Method<Q, A>,
    request: Partially<Q>,
    options: CallOptions,
  ): Promise<Message<A>> {
    options.signal?.throwIfAborted()
    this.#mustStand()
    const sent = (): Promise<Message<A>> => this.#send(method, request, options)
    if (this.#open) return sent()
    if (openings++ === 0) diagnostics.subscribe('net.client.socket', catchSocket)
    try {
      const answer = await opening.run(this.#sockets, sent)
      this.#open = true
      return answer
    } finally {
      if (--openings === 0) {
        diagnostics.unsubscribe('net.client.socket', catchSocket)
        // Contexts make every promise of the process dearer.
        opening.disable()
      }
    }
  }

  /** On a connection that has answered before. */
  stream<Q extends Shape, A extends Shape>(
    method: Method<Q, A>,
    metadata: Metadata,
    handler: StreamHandler<Message<A>>,
  ): Stream<Partially<Q>> {
    this.#mustStand()
    const call = this.#client.makeBidiStreamRequest(
      method.path,
      (message: Partially<Q>) => encode(method.request, message),
      (answer) => decode(method.response, answer),
      this.#metadata(metadata),
      {},
    )
    this.#calls.add(call)
    let over = false
    const end = (code: number, detail: string): void => {
      this.#calls.delete(call)
      if (over) return
      over = true
      handler.end(new EtcdFailure(code, detail))
    }
    call.on('data', (message: Message<A>) => {
      if (!over) handler.message(message)
    })
    call.on('error', (error: Partial<Grpc.ServiceError>) => {
      end(error.code ?? status.internal, error.details ?? String(error.message))
    })
    call.on('end', () => {
      end(status.unavailable, 'the stream ended')
    })
    return {
      write: (message) => {
        if (!over) call.write(message)
      },
      cancel: () => {
        over = true
        call.cancel()
      },
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const call of this.#calls) call.cancel()
    this.#client.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #send<Q extends Shape, A extends Shape>(
    method: Method<Q, A>,
    request: Partially<Q>,
    { deadlineMs, metadata, signal }: CallOptions,
  ): Promise<Message<A>> {
    return new Promise((resolve, reject) => {
      let late = false
      const call = this.#client.makeUnaryRequest(
        method.path,
        (message: Partially<Q>) => encode(method.request, message),
        (answer) => decode(method.response, answer),
        request,
        this.#metadata(metadata ?? {}),
        {},
        (error, answer) => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', cancel)
          this.#calls.delete(call)
          if (signal !== undefined && isAborted(signal)) reject(signal.reason as Error)
          else if (late) reject(new EtcdFailure(status.deadlineExceeded, `no answer in ${deadlineMs} ms`))
          else if (error !== null) reject(new EtcdFailure(error.code, error.details))
          else if (answer === undefined) reject(new EtcdFailure(status.internal, 'an empty answer'))
          else resolve(answer)
        },
      )
      const cancel = (): void => {
        call.cancel()
      }
      const timer = setTimeout(() => {
        late = true
        cancel()
      }, deadlineMs)
      signal?.addEventListener('abort', cancel, { once: true })
      this.#calls.add(call)
    })
  }

  /** grpc-js would connect anew by itself, outside of what is caught here. */
  #mustStand(): void {
    const { READY } = this.#grpc.connectivityState
    if (this.#closed || (this.#open && this.#client.getChannel().getConnectivityState(false) !== READY)) {
      throw new EtcdFailure(status.unavailable, 'Connection dropped')
    }
  }

  #metadata(values: Metadata): Grpc.Metadata {
    const metadata = new this.#grpc.Metadata()
    for (const [name, value] of Object.entries(values)) metadata.set(name, value)
    return metadata
  }
}
