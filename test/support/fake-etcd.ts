/**
 * A server that speaks etcd's API and does what a test wants, above all what etcd should not: lose a change, answer nothing,
 * cancel a watch, tell another history, or send what is no message. Beyond that it keeps keys and tells changes as etcd does.
 */
import * as grpc from '@grpc/grpc-js'
import { authenticate, range, txn, watch } from '../../agent/registry/etcd-message.ts'
import type { Method } from '../../agent/registry/etcd-message.ts'
import { decode, encode } from '../../agent/registry/etcd-wire.ts'
import type { Message, Partially, Shape } from '../../agent/registry/etcd-wire.ts'

type RangeRequest = Message<typeof range.request>
export type RangeAnswer = Partially<typeof range.response>
type WatchAnswer = Partially<typeof watch.response>
type Event = NonNullable<WatchAnswer['events']>[number]
type Stream = grpc.ServerDuplexStream<Message<typeof watch.request>, WatchAnswer | Buffer>

/** As gRPC ends a call. */
export interface Refusal {
  readonly code: number
  readonly details: string
}

interface Stored {
  readonly value: Buffer
  readonly modRevision: number
}

export class FakeEtcd {
  clusterId = 1n
  raftTerm = 2
  revision = 1
  /** Older revisions cannot be watched. */
  compacted = 0
  readonly keys = new Map<string, Stored>()
  /** What was asked: `list`, `keys`, `one KEY`, `touch`, `watch REVISION`, `progress`, `authenticate`, `put KEY`. */
  readonly asked: string[] = []
  /** Tokens that came with reads and watches; '' for none. */
  readonly tokens: string[] = []
  /** Answers a read in place of the server; undefined: it does itself; `silence`: nobody does. */
  onRange: (request: RangeRequest, token: string) => RangeAnswer | Refusal | 'silence' | undefined = () =>
    undefined
  onAuthenticate: () => { readonly token: string } | Refusal = () => ({ token: 'token' })
  answersProgress = true
  /** Of the next watches: before they are made. */
  onWatch: (startRevision: number) => WatchAnswer | undefined = () => undefined
  readonly #server = new grpc.Server({
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': -1,
  })
  readonly #history: { readonly revision: number; readonly event: Event }[] = []
  readonly #streams = new Set<Stream>()
  #port = 0

  static async start(): Promise<FakeEtcd> {
    const fake = new FakeEtcd()
    fake.#serve()
    await fake.#listen(0)
    return fake
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get watching(): number {
    return this.#streams.size
  }

  put(key: string, text: string | Buffer, { told = true } = {}): void {
    const value = Buffer.from(text)
    const modRevision = ++this.revision
    this.keys.set(key, { value, modRevision })
    const event = { type: 0, kv: { key: Buffer.from(key), value, modRevision } }
    if (told) this.tell(event)
  }

  delete(key: string, { told = true } = {}): void {
    this.keys.delete(key)
    const modRevision = ++this.revision
    if (told) this.tell({ type: 1, kv: { key: Buffer.from(key), modRevision } })
  }

  tell(event: Event): void {
    this.#history.push({ revision: event.kv?.modRevision ?? 0, event })
    this.send({ events: [event] })
  }

  /** To all watches, as it is. */
  send(answer: WatchAnswer | Buffer): void {
    for (const stream of this.#streams)
      stream.write(Buffer.isBuffer(answer) ? answer : { header: this.#header, ...answer })
  }

  /** Ends all watches with a status. */
  breakWatches(refusal: Refusal): void {
    for (const stream of this.#streams) stream.emit('error', refusal)
    this.#streams.clear()
  }

  end(): void {
    this.#server.forceShutdown()
  }

  get #header(): NonNullable<RangeAnswer['header']> {
    return { clusterId: this.clusterId, memberId: 7n, revision: this.revision, raftTerm: this.raftTerm }
  }

  #serve(): void {
    this.#server.addService(
      {
        range: definition(range),
        txn: definition(txn),
        authenticate: definition(authenticate),
        watch: { ...definition(watch), requestStream: true, responseStream: true },
      },
      {
        range: unary<typeof range>((request, token) => this.#range(request, token)),
        txn: unary<typeof txn>(({ compare, success }) => {
          const succeeded = compare.every(
            ({ key, modRevision }) => (this.keys.get(text(key))?.modRevision ?? 0) === modRevision,
          )
          for (const { put } of succeeded ? success : []) {
            this.asked.push(`put ${text(put?.key ?? Buffer.of())}`)
            if (put !== undefined) this.put(text(put.key), Buffer.from(put.value))
          }
          return { header: this.#header, succeeded }
        }),
        authenticate: unary<typeof authenticate>(() => {
          this.asked.push('authenticate')
          return this.onAuthenticate()
        }),
        watch: (stream: Stream) => {
          this.#watch(stream)
        },
      },
    )
  }

  #range(request: RangeRequest, token: string): RangeAnswer | Refusal | 'silence' {
    const { key, rangeEnd, limit, keysOnly } = request
    const isOne = rangeEnd.length === 0
    this.asked.push(isOne ? (keysOnly ? 'touch' : `one ${text(key)}`) : keysOnly ? 'keys' : 'list')
    this.tokens.push(token)
    const special = this.onRange(request, token)
    if (special !== undefined) return special
    const within = [...this.keys].filter(([name]) =>
      isOne ? name === text(key) : name >= text(key) && name < text(rangeEnd),
    )
    const kvs = within
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { value, modRevision }]) => {
        return { key: Buffer.from(name), modRevision, ...(keysOnly ? {} : { value }) }
      })
    const some = limit > 0 ? kvs.slice(0, limit) : kvs
    return { header: this.#header, kvs: some, more: some.length < kvs.length }
  }

  #watch(stream: Stream): void {
    this.tokens.push(tokenOf(stream.metadata))
    stream.on('data', ({ create, progress }: Message<typeof watch.request>) => {
      if (create !== undefined) this.#create(stream, create.startRevision)
      if (progress !== undefined) {
        this.asked.push('progress')
        if (this.answersProgress) stream.write({ header: this.#header })
      }
    })
    for (const end of ['cancelled', 'error', 'end'] as const)
      stream.on(end, () => {
        this.#streams.delete(stream)
      })
  }

  #create(stream: Stream, startRevision: number): void {
    this.asked.push(`watch ${startRevision}`)
    const special = this.onWatch(startRevision)
    if (special !== undefined) {
      stream.write(special)
      return
    }
    if (startRevision <= this.compacted) {
      stream.write({ canceled: true, compactRevision: this.compacted })
      return
    }
    stream.write({ header: this.#header, created: true })
    const missed = this.#history.filter(({ revision }) => revision >= startRevision)
    if (missed.length > 0) stream.write({ header: this.#header, events: missed.map(({ event }) => event) })
    this.#streams.add(stream)
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error !== null) reject(error)
        else resolve()
        this.#port = bound
      })
    })
  }
}

function definition<Q extends Shape, A extends Shape>(
  method: Method<Q, A>,
): grpc.MethodDefinition<object, object> {
  return {
    path: method.path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (request: object) => encode(method.request, request as Partially<Q>),
    requestDeserialize: (bytes: Buffer) => decode(method.request, bytes),
    // Bytes go out as they are.
    responseSerialize: (answer: object) =>
      Buffer.isBuffer(answer) ? answer : encode(method.response, answer as Partially<A>),
    responseDeserialize: (bytes: Buffer) => decode(method.response, bytes),
  }
}

function unary<M extends { readonly request: Shape; readonly response: Shape }>(
  answer: (request: Message<M['request']>, token: string) => Partially<M['response']> | Refusal | 'silence',
): grpc.handleUnaryCall<Message<M['request']>, Partially<M['response']>> {
  return ({ request, metadata }, callback) => {
    const answered = answer(request, tokenOf(metadata))
    if (answered === 'silence') return
    if (isRefusal(answered)) callback(answered)
    else callback(null, answered)
  }
}

function isRefusal(answer: object): answer is Refusal {
  return 'code' in answer && 'details' in answer
}

function tokenOf(metadata: grpc.Metadata): string {
  return String(metadata.get('token')[0] ?? '')
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString()
}
