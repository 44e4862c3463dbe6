/**
 * Discovery: which cloud this is, and what its metadata service says. The first outcome is there within 2 s, so that a start
 * never waits longer for it; on premises there is none and no packet is sent. A service that was not ready is asked again a
 * few times soon; after that, and when it answered, every five minutes: a public address can be given to a running VM, and
 * be taken away.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isAborted } from '../pause.ts'
import { aws } from './aws.ts'
import { azure } from './azure.ts'
import { cloudOf, readDmi } from './dmi.ts'
import { gcp } from './gcp.ts'
import { MetadataClient, MetadataFailure } from './metadata-http.ts'
import type { CloudTrouble, Dial } from './metadata-http.ts'
import type { CloudFacts, CloudProvider } from './port.ts'

export type Discovery = { readonly facts: CloudFacts } | { readonly trouble: CloudTrouble }

export interface DiscoverOptions {
  /** Where the kernel shows SMBIOS. */
  readonly dmi?: string
  readonly dial?: Dial
  /** One asking, all requests together, in ms. */
  readonly wholeMs?: number
  /** Pauses after failures, in ms; then `againMs`. */
  readonly retryMs?: readonly number[]
  readonly againMs?: number
}

const providers = { aws, azure, gcp } as const

/**
 * Yields the first outcome within `wholeMs`, then what is new: other facts, or another trouble. Facts stay in force through
 * a trouble. Ends at once on premises, and when the signal aborts.
 */
export async function* discoverCloud(
  signal: AbortSignal,
  options: DiscoverOptions = {},
): AsyncGenerator<Discovery, void> {
  const { wholeMs = 2000, retryMs = [1000, 3000, 10_000, 30_000], againMs = 300_000, dial, dmi } = options
  const name = cloudOf(await readDmi(dmi))
  if (name === undefined) return
  let facts = ''
  let trouble = ''
  for (let failures = 0; !signal.aborted;) {
    const found = await ask(providers[name], wholeMs, signal, dial)
    if (isAborted(signal)) return
    const text = JSON.stringify(found)
    if ('facts' in found) {
      failures = 0
      trouble = ''
      if (text !== facts) yield found
      facts = text
    } else {
      failures++
      if (text !== trouble) yield found
      trouble = text
    }
    const waitMs = 'facts' in found ? againMs : (retryMs[failures - 1] ?? againMs)
    await pause(waitMs, undefined, { signal }).catch(() => undefined) // told to stop: the loop sees it
  }
}

async function ask(
  provider: CloudProvider,
  wholeMs: number,
  signal: AbortSignal,
  dial: Dial | undefined,
): Promise<Discovery> {
  const object = `metadata service of ${provider.name}`
  const end = new AbortController()
  const stop = (): void => {
    end.abort()
  }
  const timer = setTimeout(stop, wholeMs)
  signal.addEventListener('abort', stop, { once: true })
  try {
    const client = new MetadataClient({ object, signal: end.signal, ...(dial === undefined ? {} : { dial }) })
    return { facts: await provider.ask(client) }
  } catch (error) {
    if (!(error instanceof MetadataFailure)) return { trouble: { object, reason: String(error) } }
    const { reason, next } = error
    return { trouble: { object, reason, ...(next === undefined ? {} : { next }) } }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    end.abort() // requests beside the one that failed
  }
}
