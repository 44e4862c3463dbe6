/** REST with a bearer token, as Azure Resource Manager and Compute Engine speak it; refusals come in one form at both. */
import { fieldOf, isObject, jsonOf } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { Api } from './api.ts'
import type { ApiAnswer, ApiRequest } from './api.ts'

export interface JsonApiOptions {
  /** Whom it asks, for messages. */
  readonly object: string
  readonly endpoint: URL
  readonly token: string
  /** Of every request. */
  readonly query: Readonly<Record<string, string>>
  /** Codes and reasons that mean: later. */
  readonly throttled: RegExp
  /** What to do about a 403. */
  readonly allow: string
  readonly signal: AbortSignal
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
  /** The entity tag that it must still have. */
  readonly ifMatch?: string
}

export interface JsonAnswer {
  readonly status: number
  readonly value: unknown
  readonly header: ApiAnswer['header']
}

/** The service refused; `word`: its own code, such as `AuthorizationFailed` or `alreadyExists`. */
export class ApiRefusal extends LinkspanError {
  readonly status: number
  readonly word: string

  constructor(object: string, status: number, word: string, message: string, next: string | undefined) {
    const reason = `${status} ${word}: ${message}`.slice(0, 400)
    super({ code: 'exec', object, reason, ...(next === undefined ? {} : { next }) })
    this.status = status
    this.word = word
  }
}

export class JsonApi {
  readonly #options: JsonApiOptions
  readonly #api: Api

  constructor(options: JsonApiOptions) {
    const { object, signal, throttled } = options
    this.#options = options
    const isThrottled = (answer: ApiAnswer): boolean => throttled.test(refusalOf(answer)?.word ?? '')
    this.#api = new Api({ object, signal, isThrottled })
  }

  /** Throws ApiRefusal, or another LinkspanError where the answer is none. */
  async call(method: ApiRequest['method'], path: string, more: CallOptions = {}): Promise<JsonAnswer> {
    const { endpoint, query } = this.#options
    const url = new URL(path, endpoint)
    for (const [key, value] of Object.entries({ ...query, ...more.query })) url.searchParams.set(key, value)
    return this.#ask(method, url, more)
  }

  /** An address that the service gave: its path, at the place that we trust with the token. */
  follow(address: string): Promise<JsonAnswer> {
    if (!URL.canParse(address)) throw this.failure('gave an address of an operation that is none')
    const { pathname, search } = new URL(address)
    return this.#ask('GET', new URL(pathname + search, this.#options.endpoint), {})
  }

  failure(reason: string): LinkspanError {
    return this.#api.failure(reason)
  }

  wait(ms: number): Promise<void> {
    return this.#api.wait(ms)
  }

  async #ask(method: ApiRequest['method'], url: URL, { body, ifMatch }: CallOptions): Promise<JsonAnswer> {
    const { token, object, allow } = this.#options
    const text = body === undefined ? undefined : JSON.stringify(body)
    const answer = await this.#api.ask(() => ({
      method,
      url,
      headers: {
        authorization: `Bearer ${token}`,
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
      },
      ...(text === undefined ? {} : { body: text }),
    }))
    const { status, header } = answer
    const refusal = refusalOf(answer)
    if (refusal !== undefined) {
      const next = status === 403 || status === 401 ? allow : undefined
      throw new ApiRefusal(
        `${object}, ${method} ${url.pathname}`,
        status,
        refusal.word,
        refusal.message,
        next,
      )
    }
    const value = answer.text === '' ? undefined : jsonOf(answer.text)
    const isAnswer =
      status >= 200 && status < 300 && (value === undefined ? answer.text === '' : isObject(value))
    if (!isAnswer)
      throw this.failure(`answered ${status} to ${method} ${url.pathname} with what is no answer`)
    return { status, value, header }
  }
}

/** `{"error":{"code":…,"message":…,"errors":[{"reason":…}]}}` */
function refusalOf({
  status,
  text,
}: ApiAnswer): { readonly word: string; readonly message: string } | undefined {
  if (status < 400) return undefined
  const error = fieldOf(jsonOf(text), 'error')
  if (!isObject(error)) return undefined
  const reason = fieldOf(listOf(fieldOf(error, 'errors'))[0], 'reason')
  const word = textOf(reason) ?? textOf(fieldOf(error, 'code')) ?? 'refused'
  return { word, message: textOf(fieldOf(error, 'message')) ?? 'no reason is given' }
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
