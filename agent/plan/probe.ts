/**
 * Which paths are probed: all to every peer, our own site's gateways included, on the device and to the address that belong
 * to that path alone. A link-local address is reached over its device whatever the routes say; where the host has no IPv6 it
 * is the far end's overlay address, with the socket bound to the device.
 */
import { deviceName } from '../model/device.ts'
import type { Name, ProbeTimes } from '../model/fabric.ts'
import { linkLocalAddress, overlayAddress } from '../model/gateway.ts'
import type { PublicKey } from '../model/key.ts'
import type { Address } from '../model/prefix.ts'
import type { PlanInput } from './input.ts'
import { localOf } from './local.ts'
import { pathsTo } from './path.ts'
import { isPeer } from './wireguard.ts'

export interface PlannedProbe {
  readonly gateway: Name
  readonly site: Name
  readonly underlay: Name
  readonly device: string
  /** The peer's on that device. */
  readonly publicKey: PublicKey
  readonly address: Address
  readonly times: ProbeTimes
}

/** Empty while the snapshot does not hold us, and when our own certificate ended. */
export function plannedProbes(input: PlanInput): readonly PlannedProbe[] {
  const local = localOf(input)
  if (local === undefined || local.self.barred === true) return []
  const { fabric, families } = local
  const probes: PlannedProbe[] = []
  for (const gateway of input.snapshot.gateways.values()) {
    if (!isPeer(local, gateway)) continue
    const address = families.includes(6)
      ? linkLocalAddress(gateway.number)
      : overlayAddress(fabric, gateway.number, 4)
    if (address === undefined) continue
    for (const { underlay, device, publicKey } of pathsTo(local, gateway).paths) {
      const times = { ...fabric.probe, ...fabric.probe.underlays[underlay] }
      probes.push({
        gateway: gateway.name,
        site: gateway.site.name,
        underlay,
        device: deviceName(device),
        publicKey,
        address,
        times,
      })
    }
  }
  return probes
}
