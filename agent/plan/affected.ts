/**
 * Which shares a change may touch: a superset, found by comparing references, so that one changed record in a thousand
 * costs a thousand comparisons and no more.
 *
 * What depends on what: a site's share on its gateways; its groups on these and on the state of the paths to them; a
 * gateway's share on that gateway; both on the gateways that share their prefixes, on how the paths to these stand, and on the
 * least MTU that was found on a path to the gateway; a network's share on the gateways attached to it; the host's share on which
 * devices exist, their MTU, our own site, and the prefix lengths in use. All of them depend on Local: our own site,
 * configuration and host.
 */
import type { Name } from '../model/fabric.ts'
import { lanesBetween } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import type { PathState } from '../model/path-state.ts'
import { lengthsOfGateway } from './firewall-element.ts'
import { lengthsInUse } from './firewall.ts'
import { firewallInput } from './host.ts'
import type { PlanInput, ShareKey } from './input.ts'
import { isSiteMate, localOf } from './local.ts'
import type { Local } from './local.ts'
import { mtuOf, pathsTo } from './path.ts'
import { shareKeys } from './share.ts'
import { choiceOf, sharedSets } from './shared.ts'
import { attachedNetworks } from './vxlan.ts'

/** Keys whose share may differ, in the order of shareKeys; keys that are gone are among them. */
export function affected(before: PlanInput | undefined, after: PlanInput): readonly ShareKey[] {
  if (before === undefined) return shareKeys(after)
  if (before.snapshot === after.snapshot && before.own === after.own && before.facts === after.facts) {
    const touched = new Set<ShareKey>()
    addPaths(touched, before, after)
    if (before.paths !== after.paths) addSwitched(touched, before, after)
    return inOrder(touched)
  }
  const left = localOf(before)
  const right = localOf(after)
  if (left === undefined || right === undefined) return everything(before, after)
  if (before.snapshot.fabric !== after.snapshot.fabric) return everything(before, after)
  const touched = new Set<ShareKey>()
  if (differsForAll(left, right)) return everything(before, after)
  if (before.own !== after.own || before.facts !== after.facts || !sameSite(left, right)) {
    touched.add('host')
    for (const local of [left, right])
      for (const name of attachedNetworks(local)) touched.add(`network ${name}`)
  }
  addGateways(touched, left, right)
  addPaths(touched, before, after)
  addSwitched(touched, before, after)
  return inOrder(touched)
}

function everything(before: PlanInput, after: PlanInput): readonly ShareKey[] {
  return [...new Set([...shareKeys(after), ...shareKeys(before)])]
}

/** As shareKeys would list them, without listing the thousands that nothing happened to. */
function inOrder(touched: ReadonlySet<ShareKey>): readonly ShareKey[] {
  return [...touched].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

function rank(key: ShareKey): number {
  return ['host', 'groups', 'site', 'gateway', 'network'].indexOf(key.split(' ', 1)[0] ?? '')
}

/** What sites and gateways see of Local. Its parts are compared only where something they come from changed. */
function differsForAll(left: Local, right: Local): boolean {
  const sameParts =
    left.input.own === right.input.own && left.input.facts === right.input.facts && sameSite(left, right)
  return !sameParts && outlook(left) !== outlook(right)
}

function sameSite(left: Local, right: Local): boolean {
  return left.site.length === right.site.length && left.site.every((gateway, i) => gateway === right.site[i])
}

function outlook({ self, site, families, sides, source, input }: Local): string {
  const { own, facts } = input
  return JSON.stringify([
    self,
    site.map(({ prefixes }) => prefixes),
    families,
    sides,
    source,
    own.exclude,
    own.registryAddresses,
    facts.links.map(({ name, addresses }) => [name, addresses]),
  ])
}

function addGateways(touched: Set<ShareKey>, left: Local, right: Local): void {
  const before = left.input.snapshot
  const after = right.input.snapshot
  const changes: (readonly [Gateway | undefined, Gateway | undefined])[] = []
  for (const [name, gateway] of after.gateways) {
    const incumbent = before.gateways.get(name)
    if (incumbent !== gateway) changes.push([incumbent, gateway])
  }
  for (const [name, gateway] of before.gateways) {
    if (!after.gateways.has(name)) changes.push([gateway, undefined])
  }
  const networks = new Set([...attachedNetworks(left), ...attachedNetworks(right)])
  for (const pair of changes) addGateway(touched, pair, networks)
  if (!touched.has('host') && lengthsChanged(changes, left, right)) touched.add('host')
}

function addGateway(
  touched: Set<ShareKey>,
  [before, after]: readonly [Gateway | undefined, Gateway | undefined],
  networks: ReadonlySet<string>,
): void {
  for (const gateway of [before, after]) {
    if (gateway === undefined) continue
    touched.add(`gateway ${gateway.name}`)
    touched.add(`site ${gateway.site.name}`)
    touched.add(`groups ${gateway.site.name}`)
  }
  if (before !== undefined && after !== undefined && rest(before) === rest(after)) return
  touched.add('host')
  for (const gateway of [before, after]) {
    for (const { name } of gateway?.networks ?? []) if (networks.has(name)) touched.add(`network ${name}`)
  }
}

/** All but what only its site's groups and routes come from. */
function rest(gateway: Gateway): string {
  return JSON.stringify({ ...gateway, prefixes: undefined, certified: undefined, weight: undefined })
}

/** The firewall has one set for each prefix length in use. Lengths are remembered by gateway, so asking is quick. */
function lengthsChanged(
  changes: readonly (readonly [Gateway | undefined, Gateway | undefined])[],
  left: Local,
  right: Local,
): boolean {
  const of = (gateway: Gateway | undefined): bigint =>
    gateway === undefined ? 0n : lengthsOfGateway(gateway)
  if (changes.every(([before, after]) => of(before) === of(after))) return false
  const before = lengthsInUse(firewallInput(left))
  const after = lengthsInUse(firewallInput(right))
  return before.remote !== after.remote || before.local !== after.local || before.own !== after.own
}

/**
 * Groups of sites with a path that stands otherwise; gateways, whose idle lanes have no keepalive, where another is in use; and
 * all routes that lead to a gateway, where the least MTU of its paths is another.
 */
function addPaths(touched: Set<ShareKey>, before: PlanInput, after: PlanInput): void {
  if (before.paths === after.paths) return
  const local = localOf(after)
  if (local === undefined) return
  for (const gateway of after.snapshot.gateways.values()) {
    const { name, site } = gateway
    const lanes = lanesBetween(local.self, gateway)
    const isOther = local.sides.some((side) =>
      lanes.some((lane) => differs(before.paths, after.paths, name, side.name, lane)),
    )
    if (isOther || before.paths.weightOf(name) !== after.paths.weightOf(name)) {
      touched.add(`groups ${site.name}`)
      if (lanes.length > 1) touched.add(`gateway ${name}`)
    }
    const isFound = local.sides.some((side) =>
      lanes.some(
        (lane) => before.paths.mtuOf(name, side.name, lane) !== after.paths.mtuOf(name, side.name, lane),
      ),
    )
    if (isFound && leastMtu(local, gateway, before.paths) !== leastMtu(local, gateway, after.paths)) {
      touched.add(`gateway ${name}`)
      if (!isSiteMate(local, gateway)) touched.add(`site ${site.name}`)
    }
  }
}

/**
 * All who share with a gateway that is different, and those whose prefixes are used at another site now. Where a prefix has
 * come to be shared by others, one of these is different.
 */
function addSwitched(touched: Set<ShareKey>, before: PlanInput, after: PlanInput): void {
  const left = localOf(before)
  const right = localOf(after)
  if (left === undefined || right === undefined) return
  const changed = (name: Name): boolean =>
    before.snapshot.gateways.get(name) !== after.snapshot.gateways.get(name)
  for (const snapshot of new Set([before.snapshot, after.snapshot])) {
    for (const set of sharedSets(snapshot)) {
      const isSame =
        !set.gateways.some(({ name }) => changed(name)) &&
        choiceOf(left, set).reason === choiceOf(right, set).reason
      for (const { name, site } of isSame ? [] : set.gateways) {
        touched.add(`site ${site.name}`)
        touched.add(`gateway ${name}`)
      }
    }
  }
}

function leastMtu(local: Local, gateway: Gateway, state: PathState): number {
  return Math.min(...pathsTo(local, gateway).paths.map((path) => mtuOf(path, gateway.name, state)))
}

function differs(before: PathState, after: PathState, gateway: Name, underlay: Name, lane: number): boolean {
  return (
    before.standingOf(gateway, underlay, lane) !== after.standingOf(gateway, underlay, lane) ||
    before.provenKeyOf(gateway, underlay, lane) !== after.provenKeyOf(gateway, underlay, lane) ||
    before.rankOf(gateway, underlay) !== after.rankOf(gateway, underlay)
  )
}
