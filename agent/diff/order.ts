/**
 * The order of ops: every prefix of the list is a valid state of the kernel, and what replaces is there before the replaced
 * goes (make before break).
 *
 * One table of kinds, the model's. Additions and replacements run forward through it, so that everything stands on
 * something that exists; removals run backward after them. The few exceptions stand in front: what must be made anew under
 * its name or id, VXLAN links that go while the ruleset changes, since the new one may guard them no more, and the sysctl
 * that a WireGuard link changes by going up.
 */
import { kinds } from '../model/kernel-object.ts'
import type { Device, KernelObject, Kind, Link } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'

/** Ops between two yields. */
const step = 10_000

interface Bucket {
  readonly adds: Op[]
  readonly replaces: Replace[]
  readonly removes: Op[]
}

type Replace = Extract<Op, { verb: 'replace' }>

/**
 * The ops in the order in which they are to be applied, with a yield every few thousand. Ops of one kind and verb keep their
 * order where it is free.
 */
export function* inOrderSteps(ops: Iterable<Op>): Generator<void, Op[]> {
  let count = 0
  const buckets = new Map<Kind, Bucket>(kinds.map((kind) => [kind, { adds: [], replaces: [], removes: [] }]))
  const bucketOf = (kind: Kind): Bucket => buckets.get(kind) as Bucket
  for (const op of ops) {
    const bucket = bucketOf(op.object.kind)
    if (op.verb === 'add') bucket.adds.push(op)
    else if (op.verb === 'replace') bucket.replaces.push(op)
    else bucket.removes.push(op)
    if (++count % step === 0) yield
  }
  const first = inFront(bucketOf)
  const ordered: Op[] = [...first]
  const isFirst = new Set(first)
  for (const kind of kinds) {
    const ops = forward(kind, bucketOf(kind))
    yield* append(ordered, kind === 'sysctl' ? ops.filter((op) => !isFirst.has(op)) : ops)
  }
  for (const kind of [...kinds].reverse()) {
    const { removes } = bucketOf(kind)
    const rest = isFirst.size === 0 ? removes : removes.filter((op) => !isFirst.has(op))
    yield* append(ordered, backward(kind, rest))
  }
  return ordered
}

/** What cannot wait. */
function inFront(bucketOf: (kind: Kind) => Bucket): Op[] {
  const sysctl = bucketOf('sysctl')
  const links = new Set(bucketOf('link').adds.map((op) => identity(op.object)))
  const ids = new Set(
    [...bucketOf('nexthop').adds, ...bucketOf('group').adds].map((op) => identity(op.object)),
  )
  const { adds, replaces } = bucketOf('ruleset')
  const rulesetChanges = adds.length + replaces.length > 0
  return [
    // A WireGuard link that goes up changes it: what it was must be known by then.
    ...[...sysctl.adds, ...sysctl.replaces].filter(({ object }) => isRedirects(object)),
    // Nexthops and groups share one space of ids, and neither can become the other in place.
    ...bucketOf('group').removes.filter((op) => ids.has(identity(op.object))),
    ...bucketOf('nexthop').removes.filter((op) => ids.has(identity(op.object))),
    ...backward(
      'link',
      bucketOf('link').removes.filter(
        ({ object }) => links.has(identity(object)) || (rulesetChanges && (object as Link).type === 'vxlan'),
      ),
    ),
  ]
}

function isRedirects(object: KernelObject): boolean {
  return object.kind === 'sysctl' && object.name.endsWith('/send_redirects')
}

function identity(object: KernelObject): string | number | undefined {
  if (object.kind === 'link') return object.name
  return object.kind === 'nexthop' || object.kind === 'group' ? object.id : undefined
}

/** Additions before replacements: AllowedIPs and the like are added first, then moved. */
function forward(kind: Kind, { adds, replaces }: Bucket): Op[] {
  if (kind === 'device') return [...adds, ...freeingPorts(replaces)]
  return ranked(kind, adds.length === 0 ? replaces : replaces.length === 0 ? adds : [...adds, ...replaces])
}

function backward(kind: Kind, removes: Op[]): Op[] {
  const ordered = ranked(kind, removes)
  // Within a rank the order is free, so ranks are what is reversed; a plain reversal does it.
  return rankOf[kind] === undefined ? ordered : ordered.reverse()
}

/** Stable sort by rank within the kind, where the kind has ranks. */
function ranked(kind: Kind, ops: Op[]): Op[] {
  const rank = rankOf[kind]
  if (rank === undefined || ops.length < 2) return ops
  const byRank = new Map<number, Op[]>()
  for (const op of ops) {
    const value = rank(op.object)
    const same = byRank.get(value)
    if (same === undefined) byRank.set(value, [op])
    else same.push(op)
  }
  if (byRank.size === 1) return ops
  return [...byRank.keys()].sort((a, b) => a - b).flatMap((value) => byRank.get(value) ?? [])
}

const rankOf: { readonly [K in Kind]?: (object: KernelObject) => number } = {
  // A bridge before its ports.
  link: (object) => (object.kind === 'link' && object.master !== undefined ? 1 : 0),
  // accept_ra 2 before all.forwarding, or the default route learned by router advertisement goes at once.
  sysctl: (object) => {
    if (object.kind !== 'sysctl') return 0
    if (object.name.endsWith('/accept_ra')) return 0
    return object.name.endsWith('/all/forwarding') ? 2 : 1
  },
  // What keeps packets out of tunnels before what sends them in.
  route: (object) => (object.kind === 'route' && object.type === 'unicast' ? 1 : 0),
  // WireGuard's own packets are exempt before anybody's enter the overlay: else they could loop.
  rule: (object) => (object.kind === 'rule' ? object.priority : 0),
}

/** A device takes a port only after the one that had it moved off. */
function freeingPorts(replaces: readonly Replace[]): Op[] {
  const holderOf = new Map<number, Replace>()
  for (const op of replaces) holderOf.set((op.before as Device).listenPort, op)
  const ordered = new Set<Op>()
  const visited = new Set<Op>()
  const place = (op: Replace): void => {
    if (visited.has(op)) return
    visited.add(op)
    const holder = holderOf.get((op.object as Device).listenPort)
    if (holder !== undefined) place(holder)
    ordered.add(op)
  }
  for (const op of replaces) place(op)
  return [...ordered]
}

function* append(to: Op[], ops: readonly Op[]): Generator<void, void> {
  // Not push(...ops): 100,000 arguments are more than a stack frame takes.
  for (const op of ops) if (to.push(op) % step === 0) yield
}
