/**
 * Which paths are probed: all to every peer, our own site's gateways included, on the device and to the address that belong
 * to that path alone. A link-local address is reached over its device whatever the routes say; where the host has no IPv6 it
 * is the far end's overlay address, with the socket bound to the device. Idle lanes are left alone.
 */
import { deviceName, laneOf } from '../model/device.ts'
import type { Name, ProbeTimes } from '../model/fabric.ts'
import { linkLocalAddress, overlayAddress } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import type { PublicKey } from '../model/key.ts'
import type { PathState } from '../model/path-state.ts'
import type { Address } from '../model/prefix.ts'
import type { PlanInput } from './input.ts'
import { idlePaths, isContested } from './lane.ts'
import { localOf } from './local.ts'
import type { Local } from './local.ts'
import { pathsTo } from './path.ts'
import { isPeer } from './wireguard.ts'

export interface PlannedProbe {
  readonly gateway: Name
  readonly site: Name
  readonly underlay: Name
  readonly device: string
  readonly lane: number
  /** Several lanes lead there over this underlay, or did: see PathState.provenKeyOf. */
  readonly contested: boolean
  /** The peer's on that device. */
  readonly publicKey: PublicKey
  readonly address: Address
  /** Bytes of the largest packet, by documents. */
  readonly mtu: number
  /** Where documents say that the far end is called; of one behind NAT nothing. */
  readonly endpoint: string
  readonly times: ProbeTimes
}

interface Planned {
  readonly probes: readonly PlannedProbe[]
  /** Devices of lanes that rest; absent where there is but one lane. */
  readonly idle?: (state: PathState) => ReadonlySet<string>
}

interface Known extends Planned {
  readonly gateway: Gateway
}

/**
 * What was planned before is kept, gateway by gateway, while nothing of ourselves is different: of ten thousand gateways one
 * changes at a time. And what comes out the same stays the same object, so that a gateway that advertises another prefix costs
 * the engine nothing.
 */
export class ProbePlan {
  #ground: object | undefined
  #byName = new Map<Name, Known>()
  #probes: readonly PlannedProbe[] = []

  /** The same array while it says the same. Empty while the snapshot does not hold us, and when our own certificate ended. */
  of(input: PlanInput): readonly PlannedProbe[] {
    const local = localOf(input)
    const probes: PlannedProbe[] = []
    if (local !== undefined && local.self.barred !== true) {
      const isOther = local.ground !== this.#ground
      this.#ground = local.ground
      const byName = new Map<Name, Known>()
      for (const gateway of input.snapshot.gateways.values()) {
        const before = this.#byName.get(gateway.name)
        const known =
          before?.gateway === gateway && !isOther ? before : again(before, probesOf(local, gateway), gateway)
        byName.set(gateway.name, known)
        const { idle } = known
        const resting = idle === undefined ? undefined : idle(input.paths)
        for (const probe of known.probes) if (resting?.has(probe.device) !== true) probes.push(probe)
      }
      this.#byName = byName
    }
    if (!sameItems(probes, this.#probes)) this.#probes = probes
    return this.#probes
  }
}

function again(before: Known | undefined, planned: Planned, gateway: Gateway): Known {
  const isSame = before !== undefined && JSON.stringify(before.probes) === JSON.stringify(planned.probes)
  return { ...planned, gateway, ...(isSame ? { probes: before.probes } : {}) }
}

function probesOf(local: Local, gateway: Gateway): Planned {
  const { fabric, families } = local
  if (!isPeer(local, gateway)) return { probes: [] }
  const address = families.includes(6)
    ? linkLocalAddress(gateway.number)
    : overlayAddress(fabric, gateway.number, 4)
  if (address === undefined) return { probes: [] }
  const { paths } = pathsTo(local, gateway)
  const probes = paths.map(({ u, underlay, device, publicKey, mtu, endpoint }) => ({
    gateway: gateway.name,
    site: gateway.site.name,
    underlay,
    device: deviceName(device),
    lane: laneOf(device),
    contested: paths.filter((path) => path.u === u).length > 1,
    publicKey,
    address,
    mtu,
    endpoint: endpoint === undefined ? '' : `${endpoint.address} ${endpoint.port}`,
    times: { ...fabric.probe, ...fabric.probe.underlays[underlay] },
  }))
  if (!isContested(paths)) return { probes }
  const idle = (state: PathState): ReadonlySet<string> =>
    new Set([...idlePaths(paths, gateway.name, state)].map(({ device }) => deviceName(device)))
  return { probes, idle }
}

function sameItems(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((item, i) => item === other[i])
}
