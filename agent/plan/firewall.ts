/**
 * Table inet linkspan: the guards, as one Ruleset.
 *
 * A packet's way: `input` (to this gateway), `clamp`, `forward` and `egress` (through it), `output` and `postrouting`
 * (from it). `input` and `forward` restrict what comes out of tunnels; `egress`, `output` and `postrouting` are the
 * fail-closed guard: what is addressed to a remote prefix leaves by a tunnel or not at all, whatever happened to rules,
 * routes and links. Forwarding is judged without state, because a reply may return by the site's other gateway.
 *
 * Prefixes are elements of hash sets, one set per family and length in use, so that a prefix comes and goes as one
 * element in O(1) and nested prefixes need no interval arithmetic: the longest match is the order of the rules. A changed
 * record changes the ruleset only where it brings a length nobody used before.
 */
import { createHash } from 'node:crypto'
import { networkByName } from '../model/gateway.ts'
import type { Snapshot } from '../model/gateway.ts'
import type { HostFacts } from '../model/host.ts'
import {
  carriedCounter,
  nftTable,
  underlayMark,
  underlayMarkMask,
  vxlanPort,
} from '../model/kernel-number.ts'
import type { NftChain, NftRule, NftSet, Ruleset } from '../model/kernel-object.ts'
import type { Own } from '../model/own.ts'
import { familyOf, prefix, prefixOf } from '../model/prefix.ts'
import type { Family } from '../model/prefix.ts'
import { guardSet, hasLength, lengthsOf, lengthsOfGateway, prefixSet } from './firewall-element.ts'
import type { Lengths, PrefixBase } from './firewall-element.ts'
import * as nft from './firewall-rule.ts'

const { rule } = nft

/** What the ruleset depends on; every PlanInput is one. */
export interface FirewallInput {
  readonly snapshot: Snapshot
  readonly own: Own
  readonly facts: Pick<HostFacts, 'links'>
}

export type LengthsInUse = Readonly<Record<PrefixBase, Lengths>>

const families: readonly Family[] = [4, 6]
const tunnel = 'ls-wg*'

/**
 * The lengths that need a set. `remote`: prefixes of the other sites and the overlay ranges. `local`: this site's
 * prefixes, connected networks, `exclude:`. `own`: this site's certified prefixes.
 */
export function lengthsInUse({ snapshot, own, facts }: FirewallInput): LengthsInUse {
  let remote = 0n
  let site = 0n
  for (const gateway of snapshot.gateways.values()) {
    if (gateway.site.name === own.site) site |= lengthsOfGateway(gateway)
    else remote |= lengthsOfGateway(gateway)
  }
  const { ipv4, ipv6 } = snapshot.fabric.overlay
  if (ipv4 !== undefined) remote |= lengthsOf([ipv4])
  if (ipv6 !== undefined) remote |= lengthsOf([ipv6])
  let local = site | lengthsOf(own.exclude)
  for (const link of facts.links) {
    for (const { address, length } of link.addresses) local |= lengthsOf([prefixOf(address, length)])
  }
  return { remote, local, own: site }
}

/** The table; its elements are prefixElement and guardElement objects of the shares they belong to. */
export function ruleset(input: FirewallInput, lengths: LengthsInUse = lengthsInUse(input)): Ruleset {
  const vnis = joined(input)
  const sets: NftSet[] = []
  for (const family of families) {
    const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr'
    for (const base of ['remote', 'local', 'own'] as const) {
      for (const length of descending(lengths[base], family)) {
        sets.push({ name: prefixSet(base, family, length), type })
      }
    }
    for (const vni of vnis) sets.push({ name: guardSet(family, vni), type })
  }
  const chains: NftChain[] = [
    { name: 'input', hook: 'input', priority: -300, policy: 'accept', rules: inputRules(input, vnis) },
    { name: 'clamp', hook: 'forward', priority: -150, policy: 'accept', rules: clampRules },
    { name: 'forward', hook: 'forward', priority: 0, policy: 'accept', rules: forwardRules(lengths, vnis) },
    { name: 'egress', hook: 'forward', priority: 0, policy: 'accept', rules: egressRules(lengths, vnis) },
    { name: 'output', hook: 'output', priority: 0, policy: 'accept', rules: outputRules(input, lengths) },
    {
      name: 'postrouting',
      hook: 'postrouting',
      priority: 0,
      policy: 'accept',
      rules: postroutingRules(input, lengths, vnis),
    },
  ]
  const counters = [carriedCounter]
  const digest = createHash('sha256').update(JSON.stringify({ sets, chains, counters })).digest('hex')
  return { kind: 'ruleset', table: nftTable, sets, chains, counters, digest }
}

/** VNIs whose frames may reach this gateway, in order. */
function joined({ snapshot, own }: FirewallInput): readonly number[] {
  const names = [...own.networks, ...(snapshot.gateways.get(own.gateway)?.networks ?? [])]
  const vnis = names.map(({ name }) => networkByName(snapshot.fabric, name)?.vni)
  return [...new Set(vnis.filter((vni) => vni !== undefined))].sort((a, b) => a - b)
}

/**
 * To this gateway. Here packets are addressed to the gateway itself and already whole (fragments are put together before
 * this hook), so a tenant's own VXLAN in transit is not met. Linux takes VXLAN frames on any link and from any source,
 * whatever `local` and `dev` of the link say: hence the guard, by VNI, so that other VXLAN on this host is left alone.
 */
function inputRules({ snapshot, own }: FirewallInput, vnis: readonly number[]): readonly NftRule[] {
  const frame = nft.port('udp', vxlanPort)
  return [
    ...vnis.flatMap((vni) => [
      rule(nft.notLink('iifname', tunnel), frame, nft.vni(vni), nft.drop),
      ...families.map((family) =>
        rule(frame, nft.vni(vni), nft.inSet(family, 'saddr', guardSet(family, vni)), nft.accept),
      ),
    ]),
    rule(nft.link('iifname', 'ls-br*'), nft.drop),
    rule(nft.link('iifname', 'ls-vx*'), nft.drop),
    rule(nft.notLink('iifname', tunnel), nft.accept),
    // Tunnels know no routers and no neighbours: redirects and advertisements (RFC 792, RFC 4861) are forged.
    rule(nft.icmpType('icmp', [5, 9]), nft.drop),
    rule(nft.icmpType('icmpv6', [133, 134, 135, 136, 137]), nft.drop),
    rule(nft.icmp, nft.accept),
    rule(nft.port('udp', snapshot.fabric.probe.port), nft.accept),
    // Before connection tracking's word: a frame that failed the guard above is no reply.
    rule(frame, nft.drop),
    ...own.services.map((service) => rule(nft.port(service.protocol, service.port), nft.accept)),
    rule(nft.reply, nft.accept),
    rule(nft.drop),
  ]
}

const clampRules: readonly NftRule[] = [
  rule(nft.link('iifname', tunnel), nft.count(carriedCounter)),
  rule(nft.link('oifname', tunnel), nft.count(carriedCounter)),
  rule(nft.link('oifname', tunnel), nft.syn, nft.clampToRoute),
]

/** Out of tunnels: to this site's certified prefixes and nowhere else. Owned bridges and VXLAN links are not routed. */
function forwardRules(lengths: LengthsInUse, vnis: readonly number[]): readonly NftRule[] {
  return [
    ...vnis.map(bridged),
    ...['ls-br*', 'ls-vx*'].flatMap((name) => [
      rule(nft.link('iifname', name), nft.drop),
      rule(nft.link('oifname', name), nft.drop),
    ]),
    rule(nft.notLink('iifname', tunnel), nft.accept),
    rule(nft.link('oifname', tunnel), nft.drop),
    rule(nft.inside(4, 'daddr', prefix('169.254.0.0/16')), nft.drop),
    rule(nft.inside(6, 'daddr', prefix('fe80::/10')), nft.drop),
    // The IPv6 metadata services of AWS and Google Cloud are unique local addresses.
    rule(nft.oneOf(6, 'daddr', ['fd00:ec2::254', 'fd20:ce::254']), nft.drop),
    ...families.flatMap((family) =>
      descending(lengths.own, family).map((length) =>
        rule(nft.networkInSet(family, 'daddr', length, prefixSet('own', family, length)), nft.accept),
      ),
    ),
    rule(nft.drop),
  ]
}

/** Through this gateway: never in clear to a remote prefix. */
function egressRules(lengths: LengthsInUse, vnis: readonly number[]): readonly NftRule[] {
  return [rule(nft.link('oifname', tunnel), nft.accept), ...vnis.map(bridged), ...guard(lengths, nft.reject)]
}

/**
 * From this gateway. Where NAT rewrote the destination, `oifname` here is still that of the old one
 * (net/netfilter/nf_nat_core.c), so those packets are left to postrouting.
 */
function outputRules(input: FirewallInput, lengths: LengthsInUse): readonly NftRule[] {
  return [...exempt(input), rule(nft.translated, nft.accept), ...guard(lengths, nft.reject)]
}

/** The last word on what this gateway itself sends: the true output link is known. No reject in this hook. */
function postroutingRules(
  input: FirewallInput,
  lengths: LengthsInUse,
  vnis: readonly number[],
): readonly NftRule[] {
  return [
    rule(nft.forwarded, nft.accept),
    ...exempt(input),
    // Frames of our bridge come by here without an input link where br_netfilter is on.
    ...vnis.map((vni) => rule(nft.link('oifname', `ls-br${vni}`), nft.accept)),
    ...guard(lengths, nft.drop),
  ]
}

/** What may leave in clear though addressed to a remote prefix: WireGuard's own packets, and the way to the registry. */
function exempt({ own }: FirewallInput): readonly NftRule[] {
  return [
    rule(nft.link('oifname', tunnel), nft.accept),
    rule(nft.link('oifname', 'lo'), nft.accept),
    rule(nft.mark(underlayMark(0), underlayMarkMask), nft.accept),
    ...families.flatMap((family) => {
      const addresses = own.registryAddresses.filter((address) => familyOf(address) === family)
      return addresses.length === 0 ? [] : [rule(nft.oneOf(family, 'daddr', addresses), nft.accept)]
    }),
  ]
}

/** With br_netfilter, bridged frames pass these hooks with the bridge as both links. */
function bridged(vni: number): NftRule {
  return rule(nft.link('iifname', `ls-br${vni}`), nft.link('oifname', `ls-br${vni}`), nft.accept)
}

/** Longest match: of one length, an exception goes first. */
function guard(lengths: LengthsInUse, verdict: nft.Term): readonly NftRule[] {
  return families.flatMap((family) =>
    descending(lengths.remote | lengths.local, family).flatMap((length) =>
      (['local', 'remote'] as const)
        .filter((base) => hasLength(lengths[base], family, length))
        .map((base) =>
          rule(
            nft.networkInSet(family, 'daddr', length, prefixSet(base, family, length)),
            base === 'local' ? nft.accept : verdict,
          ),
        ),
    ),
  )
}

function descending(lengths: Lengths, family: Family): readonly number[] {
  const found: number[] = []
  for (let length = family === 4 ? 32 : 128; length >= 0; length--) {
    if (hasLength(lengths, family, length)) found.push(length)
  }
  return found
}
