/** Routes as people ask for them: which prefix leads where, and which is not installed and why. Made piece by piece. */
import type { Route } from '../model/kernel-object.ts'
import { overlayTable } from '../model/kernel-number.ts'
import type { Desired } from './desired.ts'
import { sharedReasons } from './shared-switch.ts'

export interface RouteView {
  readonly prefix: string
  readonly type: Route['type'] | 'not installed'
  /** Site of the prefix; absent for what is ours, and for overlay addresses. */
  readonly site?: string
  readonly gateways?: readonly string[]
  readonly devices?: readonly string[]
  /** Nexthop group. */
  readonly group?: number
  readonly mtu?: number
  readonly src?: string
  /** Why it is not installed, or why it leads to this of the sites that share it. */
  readonly reason?: string
}

export function* routeViews(desired: Desired): Generator<RouteView> {
  const devices = new Map<number, string>()
  for (const object of desired.get('host')?.objects ?? []) {
    if (object.kind === 'nexthop') devices.set(object.id, object.device ?? 'blackhole')
  }
  const groups = new Map<number, Pick<RouteView, 'gateways' | 'devices'>>()
  for (const { key, objects } of desired.shares) {
    if (!key.startsWith('groups ')) continue
    for (const object of objects) {
      if (object.kind !== 'group') continue
      groups.set(object.id, {
        devices: object.members.map(({ id }) => devices.get(id) ?? `nexthop ${id}`),
        ...(object.of === undefined ? {} : { gateways: gatewaysOf(object.of) }),
      })
    }
  }
  for (const share of desired.shares) {
    const { key, objects } = share
    const site = key.startsWith('site ') ? { site: key.slice('site '.length) } : {}
    const reasons = sharedReasons([share])
    for (const object of objects) {
      if (object.kind !== 'route' || object.table !== overlayTable) continue
      const { prefix, type, nexthop, mtu, src } = object
      const reason = reasons.get(prefix)
      yield {
        prefix,
        type,
        ...site,
        ...(nexthop === undefined ? {} : { ...groups.get(nexthop), group: nexthop }),
        ...(mtu === undefined ? {} : { mtu }),
        ...(src === undefined ? {} : { src }),
        ...(reason === undefined ? {} : { reason }),
      }
    }
  }
  for (const { kind, prefix, reason, site } of desired.notes()) {
    if (kind !== 'prefix-not-installed' || prefix === undefined) continue
    yield { prefix, type: 'not installed', reason, ...(site === undefined ? {} : { site }) }
  }
}

/** From a group's key: `default SITE GATEWAY,...` or `gateway NAME` (plan/group-id.ts). */
function gatewaysOf(key: string): readonly string[] {
  return key.split(' ').at(-1)?.split(',') ?? []
}
