/**
 * Defaults of config.yml from what the cloud says. Pure. What the operator wrote always wins.
 *
 * The copy with the cloud's prefixes is what a gateway asks the authority for. What it says of itself later follows the
 * certificate: a record made from the cloud's prefixes would leave out what the authority granted beyond them, or narrower.
 */
import type { Config } from '../model/config.ts'
import { comparePrefixes, contains, familyOf } from '../model/prefix.ts'
import type { Address, Family, Prefix } from '../model/prefix.ts'
import type { CloudFacts } from './port.ts'

/** The configuration to make a request from: site and prefixes filled where the operator wrote none. */
export function withCloud(config: Config, facts: CloudFacts): Config {
  const { site, prefixes } = config
  const labels = Object.hasOwn(site.labels, 'zone') || facts.zone === '' ? {} : { zone: facts.zone }
  return {
    ...config,
    site: {
      ...site,
      provider: site.provider === '' ? facts.provider : site.provider,
      region: site.region === '' ? facts.region : site.region,
      labels: { ...site.labels, ...labels },
    },
    prefixes: prefixes.length === 0 ? prefixesOf(facts) : prefixes,
  }
}

/**
 * Address space of the VPC or VNet of every interface; of its subnets, in a family in which the cloud knows no more. In
 * order, and without what another one holds.
 */
export function prefixesOf(facts: CloudFacts): readonly Prefix[] {
  const all = facts.interfaces.flatMap(({ networkPrefixes, subnetPrefixes }) => {
    const families = new Set<Family>(networkPrefixes.map(familyOf))
    return [...networkPrefixes, ...subnetPrefixes.filter((subnet) => !families.has(familyOf(subnet)))]
  })
  const once = [...new Set(all)]
  return once
    .filter((inner) => !once.some((outer) => outer !== inner && contains(outer, inner)))
    .sort(comparePrefixes)
}

/**
 * By which the internet reaches this VM, in order of its interfaces, IPv4 first. None: it is behind the cloud's NAT, or on a
 * private interconnect. Which of them is the endpoint that the operator did not write, the host's default route decides.
 */
export function publicAddressesOf(facts: CloudFacts): readonly Address[] {
  const all = facts.interfaces.flatMap(({ publicAddresses }) => publicAddresses)
  return ([4, 6] as const).flatMap((family) => all.filter((each) => familyOf(each) === family))
}
