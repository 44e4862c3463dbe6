/**
 * The agent's side of discovery: asks the cloud while the agent works, and tells the daemon and the events what is new. What
 * goes wrong here is told and ends nothing.
 */
import { prefixesOf, publicAddressesOf, withCloud } from '../cloud/default.ts'
import { discoverCloud } from '../cloud/discover.ts'
import type { DiscoverOptions, Discovery } from '../cloud/discover.ts'
import { Events } from '../daemon/event.ts'
import { Surroundings } from '../daemon/surroundings.ts'
import { reasonOf } from '../errors.ts'
import type { Config } from '../model/config.ts'

/** Never rejects; resolves on premises, or when the signal aborts. */
export async function askCloud(
  config: Config,
  surroundings: Surroundings,
  events: Events,
  signal: AbortSignal,
  options?: DiscoverOptions,
): Promise<void> {
  try {
    for await (const found of discoverCloud(signal, options)) tell(config, surroundings, events, found)
  } catch (error) {
    const { object, reason } = reasonOf(error, 'cloud')
    events.emit('error', 'cloud-failed', { object, reason })
  }
  if (surroundings.isAsked) surroundings.none()
}

/** The first outcome alone, which is there within 2 s: what the agent would know a moment after its start. */
export async function askCloudOnce(config: Config, options?: DiscoverOptions): Promise<Surroundings> {
  const surroundings = new Surroundings(true)
  const stop = new AbortController()
  surroundings.onNew(() => {
    stop.abort()
  })
  await askCloud(config, surroundings, new Events(), stop.signal, options)
  return surroundings
}

function tell(config: Config, surroundings: Surroundings, events: Events, found: Discovery): void {
  if ('trouble' in found) {
    const { object, reason, next } = found.trouble
    events.emit('warning', 'cloud-silent', { object, reason, next })
    surroundings.failed({ code: 'unsupported', ...found.trouble })
    return
  }
  const { provider, region, zone, instance, unusable } = found.facts
  const addresses = publicAddressesOf(found.facts)
  const prefixes = prefixesOf(found.facts)
  const several = { addresses: addresses.join(' '), prefixes: prefixes.join(' ') }
  events.emit('notice', 'cloud-found', { provider, region, zone, instance, ...several })
  for (const reason of unusable) events.emit('warning', 'cloud-unusable', { provider, reason })
  const request = withCloud(config, found.facts)
  const { interfaces } = found.facts
  surroundings.learned({ provider, region, zone, instance, addresses, interfaces, prefixes, request })
}
