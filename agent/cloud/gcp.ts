/**
 * Compute Engine's metadata server. It signs its answers with a header, without which an answer is somebody else's. Three
 * paths are read, not the instance as a whole: that would bring the attributes, which hold start scripts and keys, and an
 * id that no JavaScript number can hold.
 *
 * It knows the subnet in IPv4 only, and the network's other subnets not at all.
 */
import { addressBytes, familyOf, isMalformed, networkOf, parseAddress, prefixOf } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import type { CloudFacts, CloudInterface, CloudProvider } from './port.ts'
import { distinct, fieldOf, isGlobalSix, jsonOf, Reading } from './reading.ts'

const base = '/computeMetadata/v1/instance/'
const signature = ['Metadata-Flavor', 'Google'] as const

/** What the three paths say. */
export interface GcpAnswers {
  readonly id: string | undefined
  /** projects/NUMBER/zones/ZONE */
  readonly zone: string | undefined
  /** JSON */
  readonly interfaces: string | undefined
}

export const gcp: CloudProvider = {
  name: 'gcp',
  async ask(client) {
    const get = (path: string): Promise<string | undefined> =>
      client.get({ path: base + path, headers: Object.fromEntries([signature]), signature })
    const [id, zone, interfaces] = await Promise.all([
      get('id'),
      get('zone'),
      get('network-interfaces/?recursive=true&alt=json'),
    ])
    const facts = gcpFacts({ id, zone, interfaces })
    if (facts === undefined) throw client.failure('its list of network interfaces is none')
    return facts
  },
}

/** Undefined where the interfaces are no list. */
export function gcpFacts(answers: GcpAnswers): CloudFacts | undefined {
  const interfaces = jsonOf(answers.interfaces ?? '')
  if (!Array.isArray(interfaces)) return undefined
  const reading = new Reading()
  const zone = reading.words(answers.zone?.trim().replace(/^.*\//, ''), 'zone')
  return {
    provider: 'gcp',
    region: /^(.+)-[a-z0-9]+$/.exec(zone)?.[1] ?? '',
    zone,
    instance: reading.words(answers.id?.trim(), 'id'),
    interfaces: reading
      .list(interfaces, 'interfaces')
      .map((each, i) => interfaceOf(each, `interface ${i}`, reading)),
    unusable: reading.unusable,
  }
}

function interfaceOf(of: unknown, what: string, reading: Reading): CloudInterface {
  const own = reading.address(fieldOf(of, 'ip'), `${what} ip`)
  const six = reading.addresses(reading.list(fieldOf(of, 'ipv6s'), `${what} ipv6s`), `${what} ipv6s`)
  const access = reading.list(fieldOf(of, 'accessConfigs'), `${what} accessConfigs`)
  const outer = access.map((each) => reading.publicAddress(fieldOf(each, 'externalIp'), `${what} externalIp`))
  const mtu = reading.mtu(fieldOf(of, 'mtu'), `${what} mtu`)
  return {
    mac: reading.mac(fieldOf(of, 'mac'), `${what} mac`),
    privateAddresses: distinct([own, ...six]),
    publicAddresses: distinct([...outer, ...six.filter(isGlobalSix)]),
    networkPrefixes: [],
    subnetPrefixes: distinct([subnetOf(of, own, what, reading)]),
    ...(mtu === undefined ? {} : { mtu }),
  }
}

/** The subnet in which the address is: the server tells its mask, while DHCP hands out a /32. */
function subnetOf(of: unknown, own: Address | undefined, what: string, reading: Reading): Prefix | undefined {
  const mask = fieldOf(of, 'subnetmask')
  if (own === undefined || familyOf(own) !== 4 || mask === undefined || mask === '') return undefined
  const parsed = parseAddress(typeof mask === 'string' ? mask : '')
  const bytes = isMalformed(parsed) ? [] : [...addressBytes(parsed)]
  const bits = bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if (bits.length !== 32 || !/^1*0*$/.test(bits)) {
    reading.note(`${what} subnetmask`, mask, 'is no mask')
    return undefined
  }
  const length = bits.replaceAll('0', '').length
  return reading.prefix(networkOf(prefixOf(own, length)), length, `${what} subnet`)
}
