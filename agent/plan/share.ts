/**
 * Shares: the desired state in pieces that change apart. The union of all shares is the desired state; their objects have
 * different keys, so each can be diffed by itself. A changed record re-plans what affected.ts names and nothing else.
 */
import { lengthsOfGateway } from './firewall-element.ts'
import { gatewayShare } from './gateway.ts'
import { groupsShare } from './group.ts'
import { hostShare } from './host.ts'
import type { PlanInput, Share, ShareKey } from './input.ts'
import { localOf } from './local.ts'
import type { Local } from './local.ts'
import { pathsTo } from './path.ts'
import { siteShare } from './site.ts'
import { attachedNetworks, networkShare } from './vxlan.ts'

/** All keys, in a fixed order: host, groups, sites, gateways, networks, each by name. */
export function shareKeys(input: PlanInput): readonly ShareKey[] {
  const local = localOf(input)
  if (local === undefined) return ['host']
  const { snapshot } = input
  const every = [...snapshot.sites.keys()].sort()
  const sites = every.filter((name) => name !== local.self.site.name)
  const gateways = [...snapshot.gateways.keys()].filter((name) => name !== local.self.name).sort()
  return [
    'host',
    ...every.map((name): ShareKey => `groups ${name}`),
    ...sites.map((name): ShareKey => `site ${name}`),
    ...gateways.map((name): ShareKey => `gateway ${name}`),
    ...attachedNetworks(local).map((name): ShareKey => `network ${name}`),
  ]
}

/** One share; empty for a key that is gone, and for every key while the snapshot does not hold this gateway. */
export function share(input: PlanInput, key: ShareKey): Share {
  const local = localOf(input)
  if (local === undefined) {
    const reason = 'the registry has no certificate and record of this gateway yet'
    const object = `gateway ${input.own.gateway}`
    return { key, objects: [], notes: key === 'host' ? [{ kind: 'own-unknown', object, reason }] : [] }
  }
  return { key, ...contentOf(local, key) }
}

/** The full plan, share by share, so that the caller can breathe in between. */
export function* plan(input: PlanInput): Generator<Share> {
  for (const key of shareKeys(input)) yield share(input, key)
}

/**
 * What the host's share asks of every gateway, a few at a time: with 10,000 of them it is too much for one go. Run it
 * before that share is made; it changes nothing but how long that takes.
 */
export function* preparation(input: PlanInput): Generator<void> {
  const local = localOf(input)
  if (local === undefined) return
  let count = 0
  for (const gateway of input.snapshot.gateways.values()) {
    pathsTo(local, gateway)
    lengthsOfGateway(gateway)
    if (++count % 64 === 0) yield
  }
}

const nothing = { objects: [], notes: [] }

function contentOf(local: Local, key: ShareKey): Omit<Share, 'key'> {
  if (key === 'host') return hostShare(local)
  const space = key.indexOf(' ')
  const name = key.slice(space + 1)
  switch (key.slice(0, space)) {
    case 'site':
      return siteShare(local, name)
    case 'groups':
      return groupsShare(local, name)
    case 'gateway': {
      const gateway = local.input.snapshot.gateways.get(name)
      return gateway === undefined ? nothing : gatewayShare(local, gateway)
    }
    default:
      return attachedNetworks(local).includes(name) ? networkShare(local, name) : nothing
  }
}
