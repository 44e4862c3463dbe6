/**
 * What this gateway is and has: the part of an input that every share looks at. Worked out once an input, from our own
 * site, configuration and host alone, so that it costs the same in a fabric of ten gateways and of a thousand.
 */
import type { Fabric, Name } from '../model/fabric.ts'
import { overlayAddress } from '../model/gateway.ts'
import type { Gateway } from '../model/gateway.ts'
import { comparePrefixes, contains, familyOf, isDefaultRoute, prefix, prefixOf } from '../model/prefix.ts'
import type { Address, Family, Prefix } from '../model/prefix.ts'
import type { Note, PlanInput } from './input.ts'
import { Ranges } from './range.ts'
import { sidesOf } from './underlay.ts'
import type { Side } from './underlay.ts'

/** A range whose packets leave the overlay's table for main. */
export interface Throw {
  readonly prefix: Prefix
  /** The firewall's exception too; not for the registry's addresses, which the ruleset names itself. */
  readonly guarded: boolean
}

export interface Local {
  readonly input: PlanInput
  /**
   * The same object while we ourselves, the fabric document, our configuration and our host are the same: what follows from
   * these and one other gateway is remembered by this, so that a changed record costs what that gateway costs.
   */
  readonly ground: object
  readonly fabric: Fabric
  readonly self: Gateway
  /** The gateways of our site that are not withdrawn, ourselves included. */
  readonly site: readonly Gateway[]
  readonly families: readonly Family[]
  /** Our underlays, the preferred first. */
  readonly sides: readonly Side[]
  /** The fabric's overlay ranges of our families. */
  readonly overlay: readonly Prefix[]
  readonly throws: readonly Throw[]
  /** An own address inside an own prefix: the source of what we ourselves send to remote prefixes. */
  readonly source: Readonly<Partial<Record<Family, Address>>>
  /** Site-side links. */
  readonly siteLinks: readonly string[]
  readonly notes: readonly Note[]
  /** Why a remote prefix is not installed here. */
  refusal(prefix: Prefix): string | undefined
}

const known = new WeakMap<PlanInput, Local>()
let last: Local | undefined

/** Undefined while the snapshot does not hold this gateway. */
export function localOf(input: PlanInput): Local | undefined {
  const before = known.get(input)
  if (before !== undefined) return before
  const self = input.snapshot.gateways.get(input.own.gateway)
  if (self === undefined) return undefined
  const local =
    last !== undefined && isOnlyPaths(last.input, input) ? { ...last, input } : build(input, self, last)
  last = local
  known.set(input, local)
  return local
}

/** True where nothing of what Local is made from is different. */
function isOnlyPaths(before: PlanInput, { snapshot, own, facts }: PlanInput): boolean {
  return before.snapshot === snapshot && before.own === own && before.facts === facts
}

/** True where what we are is the same, whatever other gateways are. */
function isSameGround(before: Local, { snapshot, own, facts }: PlanInput, self: Gateway): boolean {
  return (
    before.self === self &&
    before.fabric === snapshot.fabric &&
    before.input.own === own &&
    before.input.facts === facts
  )
}

/** True where the gateway is of our own site. */
export function isSiteMate({ self }: Local, gateway: Gateway): boolean {
  return gateway.site.name === self.site.name
}

/** The overlay addresses of a gateway in our families. */
export function overlayAddresses({ fabric, families }: Local, gateway: Gateway): readonly Address[] {
  return families.flatMap((family) => overlayAddress(fabric, gateway.number, family) ?? [])
}

function build(input: PlanInput, self: Gateway, before: Local | undefined): Local {
  const { snapshot, own, facts } = input
  const { fabric } = snapshot
  const families: readonly Family[] = facts.ipv6 ? [4, 6] : [4]
  const site = (snapshot.sites.get(self.site.name) ?? [self]).filter(
    (gateway) => gateway.name === self.name || gateway.state !== 'withdrawn',
  )
  const overlay = Object.values(fabric.overlay)
  const ownPrefixes = new Set(site.flatMap((gateway) => gateway.prefixes))
  const connected = facts.links.flatMap((link) =>
    link.addresses.map(({ address, length }) => ({ prefix: prefixOf(address, length), link: link.name })),
  )

  const held = new Ranges()
  for (const range of overlay) held.add(range, `lies in the overlay's own range ${range}`)
  // Peers hold fe80::<number>/128 for probes; a prefix there would take it from them.
  held.add(prefix('fe80::/10'), 'is link-local')
  for (const { prefix, link } of connected)
    held.add(prefix, `lies in ${prefix}, which ${link} is connected to`)
  for (const range of own.exclude)
    held.add(range, `lies in ${range}, which \`exclude:\` keeps out of the overlay`)
  const registry = new Set(own.registryAddresses.map((address) => prefixOf(address)))

  const notes: Note[] = own.endpoints
    .filter(({ underlay }) => !fabric.underlays.some(({ name }) => name === underlay))
    .map(({ underlay }) => ({
      kind: 'underlay',
      object: `underlay ${underlay}`,
      reason: 'the fabric document has no underlay of this name, so our endpoint on it serves for nothing',
    }))
  const throws: Throw[] = []
  const guarded = new Set([...ownPrefixes, ...connected.map(({ prefix }) => prefix), ...own.exclude])
  for (const range of [...new Set([...guarded, ...registry])].sort()) {
    if (!families.includes(familyOf(range))) continue
    const inside = overlay.find((outer) => contains(outer, range))
    if (inside === undefined) throws.push({ prefix: range, guarded: guarded.has(range) })
    else notes.push(throwNote(range, inside))
  }

  const sources = sourcesOf(input, site)
  const kept = before !== undefined && isSameGround(before, input, self) ? before : undefined
  return {
    input,
    ground: kept?.ground ?? {},
    fabric,
    self,
    site,
    families,
    sides: kept?.sides ?? sidesOf(own, fabric, facts),
    overlay: overlay.filter((range) => families.includes(familyOf(range))),
    throws,
    source: sources.source,
    siteLinks: own.interfaces ?? sources.links,
    notes,
    refusal(prefix) {
      if (ownPrefixes.has(prefix)) return 'our own site originates it'
      if (registry.has(prefix))
        return 'is an address of the registry or of a name server, which stays on the underlay'
      if (isDefaultRoute(prefix)) return 'a default route is used only by gateways that opt in'
      return held.holding(prefix)
    },
  }
}

function throwNote(range: Prefix, inside: Prefix): Note {
  return {
    kind: 'throw-not-installed',
    object: `prefix ${range}`,
    reason: `lies in the overlay's own range ${inside}, which goes before`,
    prefix: range,
  }
}

/**
 * Links with an address inside a prefix of ours, and one such address a family: the lowest on a link that is up, on one
 * of the configured `interfaces` where there are any. On a link that is down the kernel refuses it as a source.
 */
function sourcesOf(
  { own, facts }: PlanInput,
  site: readonly Gateway[],
): { readonly source: Local['source']; readonly links: readonly Name[] } {
  const prefixes = new Ranges()
  for (const prefix of new Set(site.flatMap((gateway) => gateway.prefixes))) prefixes.add(prefix, prefix)
  const candidates = facts.links.flatMap((link) =>
    link.addresses
      .filter(({ address }) => prefixes.holding(prefixOf(address)) !== undefined)
      .map(({ address }) => ({ address, link })),
  )
  const preferred = (link: string): number => (own.interfaces?.includes(link) === true ? 0 : 1)
  const usable = candidates
    .filter(({ link }) => link.up)
    .sort(
      (a, b) =>
        preferred(a.link.name) - preferred(b.link.name) ||
        comparePrefixes(prefixOf(a.address), prefixOf(b.address)),
    )
  const source: Partial<Record<Family, Address>> = {}
  for (const { address } of usable) source[familyOf(address)] ??= address
  return { source, links: [...new Set(candidates.map(({ link }) => link.name))] }
}
