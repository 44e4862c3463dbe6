/** Own with its endpoints resolved against the host. */
import { ownOf } from '../model/config.ts'
import type { Config } from '../model/config.ts'
import type { Fabric } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { Own } from '../model/own.ts'
import { familyOf } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'

/** Answers the same object while nothing of it changed, because plan compares references. */
export function ownResolver(
  config: Config,
  registryAddresses: () => readonly Address[] = () => config.own.registryAddresses,
): (fabric: Fabric, facts: HostFacts) => Own {
  let last: Own | undefined
  return (fabric, facts) => {
    const route = facts.links.find(({ defaultRoute }) => defaultRoute === true)
    const addresses = route?.addresses.map(({ address }) => address) ?? []
    const address = addresses.find((each) => familyOf(each) === 4) ?? addresses[0]
    const own = { ...ownOf(config, fabric, address), registryAddresses: registryAddresses() }
    if (last === undefined || JSON.stringify(last) !== JSON.stringify(own)) last = own
    return last
  }
}
