/**
 * The https registry: one bundle (bundle.ts) on any web server or object store, or on several that mirror each other. It is
 * read-only to a gateway: whoever keeps the registry makes the bundle and puts it there.
 *
 * Each poll asks whether the body changed, reads it whole within limits, checks that it is a whole bundle, and only then
 * says anything. A bag holds all documents of the bundle. That a mirror lags behind does no harm: serials decide which
 * document counts, and what is missing stays in force.
 *
 * What fails says so once, in a bag without documents, and again only when the reason is another; while one mirror works,
 * nothing is unreadable. How each mirror fares is in `mirrors`.
 */
import { isAborted, pause } from '../pause.ts'
import { LinkspanError } from '../errors.ts'
import { settingOf } from './https-option.ts'
import type { HttpsRegistryOptions } from './https-option.ts'
import { Source } from './https-source.ts'
import type { MirrorHealth } from './https-source.ts'
import type { Bag, Registry } from './port.ts'

export type { HttpsRegistryOptions } from './https-option.ts'
export type { MirrorHealth } from './https-source.ts'

export class HttpsRegistry implements Registry {
  readonly #source: Source
  readonly #spreadMs: number

  /**
   * `urls`: mirrors of one bundle, the preferred one first; one to eight. Throws `config-invalid` where one is no https URL,
   * and where a client certificate is given without key or a key without certificate.
   */
  constructor(urls: readonly string[], options: HttpsRegistryOptions = {}) {
    const setting = settingOf(urls, options)
    this.#source = new Source(setting)
    this.#spreadMs = setting.spreadMs * setting.random()
  }

  /** One watch at a time. */
  async *watch(signal: AbortSignal): AsyncIterable<Bag> {
    // A watch begins with all there is, whatever an earlier one said.
    this.#source.forget()
    await pause(this.#spreadMs, signal)
    while (!signal.aborted) {
      let bag: Bag | undefined
      try {
        bag = await this.#source.poll(signal)
      } catch (error) {
        if (isAborted(signal)) return
        throw error
      }
      if (bag !== undefined) yield bag
      await pause(this.#source.waitMs, signal)
    }
  }

  get latencyMs(): number | undefined {
    return this.mirrors.find(({ isUsed }) => isUsed)?.latencyMs
  }

  /** How the mirrors fare, the preferred one first. */
  get mirrors(): readonly MirrorHealth[] {
    return this.#source.health
  }
}

/**
 * The bundle as it is now, once. Throws `registry-unreadable` (or `permission`, for a file of ours) where no mirror has it,
 * `config-invalid` as HttpsRegistry does, and the signal's reason.
 */
export async function fetchBundle(
  urls: readonly string[],
  options: HttpsRegistryOptions,
  signal: AbortSignal,
): Promise<Bag> {
  const bag = await new Source(settingOf(urls, options)).poll(signal)
  if (bag?.complete === true) return bag
  const [first, ...others] = bag?.unreadable ?? []
  if (first === undefined) throw new Error('a poll that says nothing')
  const more = others.map(({ object, reason }) => `; ${object}: ${reason}`)
  throw new LinkspanError({ ...first, reason: `${first.reason}${more.join('')}` })
}
