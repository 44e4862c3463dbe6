/**
 * Azure's instance metadata service: two documents. The instance knows its subnets, not the space of its VNet, and
 * public addresses of the retired Basic SKU only; those of the Standard SKU are told by the load balancer's document, which
 * answers 404 where there are none.
 *
 * The version of the instance's document is the last one without user data: what may hold secrets is not fetched.
 */
import type { Address } from '../model/prefix.ts'
import type { MetadataClient } from './metadata-http.ts'
import type { CloudFacts, CloudInterface, CloudProvider } from './port.ts'
import { distinct, fieldOf, isObject, jsonOf, Reading } from './reading.ts'

const instancePath = '/metadata/instance?api-version=2020-09-01&format=json'
const balancerPath = '/metadata/loadbalancer?api-version=2020-10-01&format=json'
/** Without it the service answers 400: a browser or a proxy does not send it. */
const headers = { Metadata: 'true' }

export const azure: CloudProvider = {
  name: 'azure',
  async ask(client) {
    const instance = await client.get({ path: instancePath, headers })
    const facts = azureFacts(instance, await balancer(client))
    if (facts === undefined) {
      throw client.failure('its instance document is none', 'is this a VM of Azure, or of a stack like it?')
    }
    return facts
  },
}

/** Undefined where there is none: 404, or 400 of a service that does not know such a document. */
async function balancer(client: MetadataClient): Promise<string | undefined> {
  const { status, text } = await client.ask({ path: balancerPath, headers })
  if (status === 200) return text
  if (status === 404 || status === 400) return undefined
  // Not as if there were none: the endpoint would move to a private address.
  throw client.failure(`answered ${status} to ${balancerPath}`)
}

/** Undefined where the instance's document is none, so that this is another service. */
export function azureFacts(
  instance: string | undefined,
  balancer: string | undefined,
): CloudFacts | undefined {
  const document = jsonOf(instance ?? '')
  if (!isObject(fieldOf(document, 'network')) && !isObject(fieldOf(document, 'compute'))) return undefined
  const reading = new Reading()
  const translations = translationsOf(balancer, reading)
  const interfaces = reading.list(fieldOf(document, 'network', 'interface'), 'interfaces')
  return {
    provider: 'azure',
    region: reading.words(fieldOf(document, 'compute', 'location'), 'location'),
    zone: reading.words(fieldOf(document, 'compute', 'zone'), 'zone'),
    instance: reading.words(fieldOf(document, 'compute', 'vmId'), 'vmId'),
    interfaces: interfaces.map((each) => interfaceOf(each, translations, reading)),
    unusable: reading.unusable,
  }
}

/** Public addresses of the Standard SKU, by the private one behind each. */
function translationsOf(balancer: string | undefined, reading: Reading): ReadonlyMap<Address, Address> {
  const what = 'public address of the Standard SKU'
  const translations = new Map<Address, Address>()
  if (balancer === undefined) return translations
  const pairs = fieldOf(jsonOf(balancer), 'loadbalancer', 'publicIpAddresses')
  for (const pair of reading.list(pairs, what)) {
    const behind = reading.address(fieldOf(pair, 'privateIpAddress'), what)
    const found = reading.publicAddress(fieldOf(pair, 'frontendIpAddress'), what)
    if (behind !== undefined && found !== undefined) translations.set(behind, found)
  }
  return translations
}

function interfaceOf(
  of: unknown,
  translations: ReadonlyMap<Address, Address>,
  reading: Reading,
): CloudInterface {
  const mac = reading.mac(fieldOf(of, 'macAddress'), 'macAddress')
  const what = mac === '' ? 'interface' : mac
  const pairs = ['ipv4', 'ipv6'].flatMap((family) =>
    reading.list(fieldOf(of, family, 'ipAddress'), `${what} ${family}`),
  )
  const found = pairs.map((pair) => {
    const own = reading.address(fieldOf(pair, 'privateIpAddress'), `${what} privateIpAddress`)
    const basic = reading.publicAddress(fieldOf(pair, 'publicIpAddress'), `${what} publicIpAddress`)
    return { own, outer: basic ?? (own === undefined ? undefined : translations.get(own)) }
  })
  const subnets = ['ipv4', 'ipv6'].flatMap((family) =>
    reading.list(fieldOf(of, family, 'subnet'), `${what} ${family} subnet`),
  )
  const prefixes = subnets.map((subnet) =>
    reading.prefix(fieldOf(subnet, 'address'), fieldOf(subnet, 'prefix'), `${what} subnet`),
  )
  return {
    mac,
    privateAddresses: distinct(found.map(({ own }) => own)),
    publicAddresses: distinct(found.map(({ outer }) => outer)),
    networkPrefixes: [],
    subnetPrefixes: distinct(prefixes),
  }
}
