/**
 * Ops as people read them: `ip`, `bridge`, `wg`, `nft` and `sysctl` lines. They are for eyes, logs and a careful hand; the
 * driver speaks netlink and never runs them. Most can be pasted as they are: what cannot is said behind a `#`. No line
 * can hold a secret, because no object does.
 */
import { groupBuckets, groupTimers, nexthopProtocol, routeProtocol } from './kernel-number.ts'
import type {
  KernelObject,
  Link,
  Nexthop,
  NexthopGroup,
  Peer,
  Route,
  Rule,
  Ruleset,
} from './kernel-object.ts'
import type { Op } from './op.ts'
import { familyOf } from './prefix.ts'

/** The op as one line; a new link, which takes two commands, joins them with `&&`. */
export function formatOp(op: Op): string {
  const { verb, object } = op
  switch (object.kind) {
    case 'link':
      return formatLinkOp(verb, object, op.verb === 'replace' ? op.before : undefined)
    case 'device':
      if (verb === 'remove') return `# keys of ${object.name} go with the link`
      return `wg set ${object.name} listen-port ${object.listenPort} fwmark ${hex(object.fwmark)} # public key ${object.publicKey}`
    case 'peer':
      return formatPeerOp(verb, object)
    case 'allowed-ip': {
      const sign = verb === 'remove' ? '-' : '+'
      const text = `wg set ${object.device} peer ${object.publicKey} allowed-ips ${sign}${object.prefix}`
      return op.verb === 'replace' && op.before.kind === 'allowed-ip'
        ? `${text} # from peer ${op.before.publicKey}`
        : text
    }
    case 'address':
      return `ip address ${verb === 'remove' ? 'delete' : verb} ${object.address} dev ${object.link}`
    case 'port':
      return verb === 'remove'
        ? `ip link set dev ${object.link} nomaster # was in ${object.master}`
        : `ip link set dev ${object.link} master ${object.master}`
    case 'fdb':
      return `bridge fdb ${verb === 'remove' ? 'delete' : 'append'} ${object.mac} dev ${object.link} dst ${object.dst}`
    case 'nexthop':
      return formatNexthopOp(verb, object)
    case 'group':
      return formatGroupOp(verb, object)
    case 'route':
      return formatRouteOp(verb, object)
    case 'rule':
      return formatRuleOp(verb, object)
    case 'sysctl':
      return `sysctl -w ${object.name}=${verb === 'remove' ? (object.previous ?? object.value) : object.value}`
    case 'ruleset':
      return verb === 'remove'
        ? `nft delete table inet ${object.table}`
        : `nft -f - # ${verb} table inet ${object.table}: ${countsOf(object)}`
    case 'element':
      return `nft ${verb === 'remove' ? 'delete' : 'add'} element inet linkspan ${object.set} { ${object.key} }`
  }
}

/** The object in a few words, as messages name it. */
export function formatObject(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.name}`
    case 'port':
      return `port ${object.link} of ${object.master}`
    case 'device':
      return `WireGuard device ${object.name}`
    case 'peer':
      return `peer ${object.gateway ?? object.publicKey} on ${object.device}`
    case 'allowed-ip':
      return `allowed IP ${object.prefix} on ${object.device}`
    case 'address':
      return `address ${object.address} on ${object.link}`
    case 'fdb':
      return `fdb entry ${object.mac} to ${object.dst} on ${object.link}`
    case 'nexthop':
      return `nexthop ${hex(object.id)}${object.device === undefined ? '' : ` on ${object.device}`}`
    case 'group':
      return `nexthop group ${hex(object.id)}${object.of === undefined ? '' : ` (${object.of})`}`
    case 'route':
      return `route ${object.type === 'unicast' ? '' : `${object.type} `}${object.prefix} in table ${object.table}`
    case 'rule':
      return `IPv${object.family} rule ${object.priority}: ${selectorOf(object)}`
    case 'sysctl':
      return `sysctl ${object.name}`
    case 'ruleset':
      return `nft table inet ${object.table}`
    case 'element':
      return `element ${object.key} of nft set ${object.set}`
  }
}

type Verb = Op['verb']

function formatLinkOp(verb: Verb, link: Link, before?: KernelObject): string {
  if (verb === 'remove') {
    return link.type === 'tun'
      ? `ip link delete dev ${link.name} # ends its wireguard-go`
      : `ip link delete dev ${link.name}`
  }
  const was = before?.kind === 'link' ? before : undefined
  const settings = [
    ...(was !== undefined && was.mtu !== link.mtu ? [`mtu ${link.mtu}`] : []),
    ...(was !== undefined && was.group !== link.group ? [`group ${link.group}`] : []),
    ...(was !== undefined && link.mac !== undefined && was.mac !== link.mac ? [`address ${link.mac}`] : []),
    ...(link.master === was?.master
      ? []
      : [link.master === undefined ? 'nomaster' : `master ${link.master}`]),
    ...(link.alias === undefined || link.alias === was?.alias ? [] : [`alias ${quoted(link.alias)}`]),
    ...(link.up === (was?.up ?? false) ? [] : [link.up ? 'up' : 'down']),
  ]
  const set = settings.length === 0 ? [] : [`ip link set dev ${link.name} ${settings.join(' ')}`]
  if (was !== undefined) return set.join('')
  if (link.type === 'tun') {
    const rest = [`mtu ${link.mtu}`, `group ${link.group}`, ...settings].join(' ')
    return `wireguard-go ${link.name} && ip link set dev ${link.name} ${rest}`
  }
  const mac = link.mac === undefined ? '' : ` address ${link.mac}`
  const kind = link.vxlan === undefined ? link.type : `vxlan ${formatVxlan(link.vxlan)}`
  const add = `ip link add name ${link.name} mtu ${link.mtu} group ${link.group}${mac} type ${kind}`
  return [add, ...set].join(' && ')
}

function formatVxlan({ vni, local, port, learning }: NonNullable<Link['vxlan']>): string {
  return `id ${vni} local ${local} dstport ${port} ${learning ? 'learning' : 'nolearning'}`
}

function formatPeerOp(verb: Verb, peer: Peer): string {
  const who = peer.gateway === undefined ? '' : ` # ${peer.gateway}`
  const start = `wg set ${peer.device} peer ${peer.publicKey}`
  if (verb === 'remove') return `${start} remove${who}`
  const endpoint = peer.endpoint === undefined ? '' : ` endpoint ${peer.endpoint}`
  return `${start}${endpoint} persistent-keepalive ${peer.keepalive}${who}`
}

function formatNexthopOp(verb: Verb, { id, family, device, blackhole }: Nexthop): string {
  if (verb === 'remove') return `ip nexthop delete id ${hex(id)}`
  const via = blackhole === true ? 'blackhole' : `dev ${device ?? '?'}`
  return `ip${family === 6 ? ' -6' : ''} nexthop ${verb} id ${hex(id)} ${via} protocol ${nexthopProtocol}`
}

function formatGroupOp(verb: Verb, group: NexthopGroup): string {
  const of = group.of === undefined ? '' : ` # ${group.of}`
  if (verb === 'remove') return `ip nexthop delete id ${hex(group.id)}${of}`
  const members = group.members.map(({ id, weight }) => (weight === 1 ? hex(id) : `${hex(id)},${weight}`))
  const type = `type resilient buckets ${groupBuckets} idle_timer ${groupTimers.idle} unbalanced_timer ${groupTimers.unbalanced}`
  return `ip nexthop ${verb} id ${hex(group.id)} group ${members.join('/')} ${type} protocol ${nexthopProtocol}${of}`
}

function formatRouteOp(verb: Verb, route: Route): string {
  const ip = familyOf(route.prefix) === 6 ? 'ip -6' : 'ip'
  const type = route.type === 'unicast' ? '' : `${route.type} `
  const metric = route.metric === undefined ? '' : ` metric ${route.metric}`
  const target = `${type}${route.prefix} table ${route.table}`
  if (verb === 'remove') return `${ip} route delete ${target}${metric} protocol ${routeProtocol}`
  const parts = [
    route.nexthop === undefined ? '' : ` nhid ${hex(route.nexthop)}`,
    route.via === undefined ? '' : ` via ${route.via}`,
    route.link === undefined ? '' : ` dev ${route.link}`,
    ` protocol ${routeProtocol}`,
    route.src === undefined ? '' : ` src ${route.src}`,
    route.mtu === undefined ? '' : ` mtu ${route.mtu}`,
    metric,
  ]
  return `${ip} route ${verb} ${target}${parts.join('')}`
}

function formatRuleOp(verb: Verb, rule: Rule): string {
  const action = verb === 'remove' ? 'delete' : 'add'
  return `ip${rule.family === 6 ? ' -6' : ''} rule ${action} priority ${rule.priority} ${selectorOf(rule)} protocol ${routeProtocol}`
}

function selectorOf({ fwmark, fwmask, action, table }: Rule): string {
  const mask = fwmask === undefined ? '' : `/${hex(fwmask)}`
  const mark = fwmark === undefined ? '' : `fwmark ${hex(fwmark)}${mask} `
  return `${mark}${action === 'blackhole' ? 'blackhole' : `lookup ${table === 254 ? 'main' : (table ?? 0)}`}`
}

function countsOf({ sets, chains, digest }: Ruleset): string {
  const rules = chains.reduce((sum, chain) => sum + chain.rules.length, 0)
  return `${sets.length} sets, ${chains.length} chains, ${rules} rules, digest ${digest.slice(0, 8)}`
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
