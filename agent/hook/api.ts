/**
 * HTTP to the API of a cloud: one request, one answer of bounded size, each with a deadline. What the service cannot take now
 * (throttled, overloaded, no connection) is asked again a few times, when it says or ever later. No redirect is followed: the
 * request carries what proves who we are.
 */
import { LinkspanError } from '../errors.ts'
import { pause } from '../pause.ts'

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface ApiAnswer {
  readonly status: number
  readonly text: string
  readonly header: (name: string) => string | undefined
}

export interface ApiOptions {
  /** Whom it asks, for messages. */
  readonly object: string
  readonly signal: AbortSignal
  /** True where an answer means: later. 429 and 5xx do anyhow. */
  readonly isThrottled?: (answer: ApiAnswer) => boolean
}

const attempts = 6
const answerMs = 20_000
const maxAnswerBytes = 8 * 1024 * 1024
/** However much later a service wants to be asked. */
const longestMs = 20_000
const firstMs = 300

export class Api {
  readonly #options: ApiOptions

  constructor(options: ApiOptions) {
    this.#options = options
  }

  failure(reason: string, next?: string): LinkspanError {
    const { object } = this.#options
    return new LinkspanError({ code: 'exec', object, reason, ...(next === undefined ? {} : { next }) })
  }

  /** `make`: called for every attempt, since a signature holds for a moment. Throws LinkspanError where there is no answer. */
  async ask(make: () => ApiRequest): Promise<ApiAnswer> {
    const { signal, isThrottled } = this.#options
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#once(make(), attempt === attempts)
      const isLater =
        answer === undefined ||
        answer.status === 429 ||
        answer.status >= 500 ||
        isThrottled?.(answer) === true
      if (answer !== undefined && (!isLater || attempt === attempts)) return answer
      await this.wait(retryAfterMs(answer) ?? firstMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2))
      signal.throwIfAborted()
    }
  }

  wait(ms: number): Promise<void> {
    return pause(Math.min(longestMs, ms), this.#options.signal)
  }

  /** Undefined where there was no answer, and this is not the last attempt. */
  async #once({ method, url, headers, body }: ApiRequest, isLast: boolean): Promise<ApiAnswer | undefined> {
    try {
      const response = await fetch(url, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        redirect: 'manual',
        signal: AbortSignal.any([this.#options.signal, AbortSignal.timeout(answerMs)]),
      })
      const text = await this.#textOf(response)
      return { status: response.status, text, header: (name) => response.headers.get(name) ?? undefined }
    } catch (error) {
      if (error instanceof LinkspanError) throw error
      if (!isLast && !this.#options.signal.aborted) return undefined
      // fetch says little itself ("fetch failed"); never the request, whose headers are secrets.
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
      throw this.failure(
        `no answer from ${url.host}: ${cause instanceof Error ? cause.message : String(cause)}`,
      )
    }
  }

  async #textOf(response: Response): Promise<string> {
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > maxAnswerBytes) throw this.failure(`answered with more than ${maxAnswerBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  }
}

/** RFC 9110, 10.2.3: seconds or a date. */
export function retryAfterMs(answer: Pick<ApiAnswer, 'header'> | undefined): number | undefined {
  const value = answer?.header('retry-after')
  if (value === undefined) return undefined
  if (/^[0-9]{1,6}$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

/** Carries them out, a few at once; those that failed do not keep others from being tried. Throws the first failure, counted. */
export async function each<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: Error[] = []
  const list = items.values()
  const lane = async (): Promise<void> => {
    for (const item of list) {
      try {
        await work(item)
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(String(error)))
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane))
  const [first] = failures
  if (first === undefined) return
  if (failures.length === 1 || !(first instanceof LinkspanError)) throw first
  const { code, object, reason, next } = first
  const more = `${reason}; and ${failures.length - 1} more of ${items.length} failed`
  throw new LinkspanError({ code, object, reason: more, ...(next === undefined ? {} : { next }) })
}
