/**
 * Kernel state in memory, with Linux's own rules: what an object needs to exist, what it takes with it when it goes, and
 * the error for everything else. Checked against the real kernel (6.18): a link that goes down or away takes its nexthops,
 * a nexthop leaves its groups, a group without members goes with its routes; a route keeps its prefsrc when the address
 * goes (only table main loses such routes), but cannot be added without it; two rules of one priority and content may
 * differ by protocol; a throw and a unicast route of one prefix are one entry.
 *
 * Stricter than Linux on purpose: adding what exists and removing what does not are errors, since diff never needs it.
 */
import { carrierOf } from '../../agent/diff/ownership.ts'
import { isOurs } from '../../agent/diff/ownership.ts'
import { routeProtocol } from '../../agent/model/kernel-number.ts'
import { keyOf } from '../../agent/model/kernel-object.ts'
import type {
  Device,
  KernelObject,
  Kind,
  Link,
  Nexthop,
  NexthopGroup,
  Route,
  SetElement,
  Sysctl,
} from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { familyOf } from '../../agent/model/prefix.ts'

/** A refusal of the fake kernel. */
export class Errno extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.code = code
  }
}

type Of<K extends Kind> = Extract<KernelObject, { readonly kind: K }>

export class FakeState {
  readonly #objects = new Map<string, KernelObject>()
  /** Source addresses on links that are none of ours. */
  readonly hostAddresses = new Set<string>()
  /** Links that are none of ours. */
  readonly hostLinks = new Set<string>()

  get objects(): readonly KernelObject[] {
    return [...this.#objects.values()]
  }

  *of<K extends Kind>(kind: K): Generator<Of<K>> {
    for (const object of this.#objects.values()) if (object.kind === kind) yield object as Of<K>
  }

  get<K extends Kind>(object: Of<K>): Of<K> | undefined {
    return this.#objects.get(identity(object)) as Of<K> | undefined
  }

  /** By identity. */
  has(key: string): boolean {
    return this.#objects.has(key)
  }

  link(name: string): Link | undefined {
    return this.#objects.get(`link ${name}`) as Link | undefined
  }

  byId(id: number): Nexthop | NexthopGroup | undefined {
    return this.#objects.get(`id ${id}`) as Nexthop | NexthopGroup | undefined
  }

  /** Without any check: how foreign objects and damage get in. */
  put(object: KernelObject): void {
    this.#objects.set(identity(object), object)
  }

  /** Without any check: how foreign objects go. */
  drop(object: KernelObject): void {
    this.#objects.delete(identity(object))
  }

  /** Carries out one op; throws Errno. */
  apply(op: Op): void {
    if (op.verb === 'remove') {
      this.remove(op.object)
      return
    }
    const before = this.#objects.get(identity(op.object))
    if (op.object.kind === 'sysctl') {
      this.#write(op.object)
      return
    }
    if (op.verb === 'add' && before !== undefined) throw new Errno('EEXIST', identity(op.object))
    if (op.verb === 'replace' && before === undefined) throw new Errno('ENOENT', identity(op.object))
    if (before !== undefined && !isOurs(before)) throw new Errno('EPERM', `foreign ${identity(before)}`)
    this.#require(op.object, before)
    this.put(strip(op.object, before))
    if (op.object.kind === 'ruleset') this.#keepElementsOf(op.object.sets.map(({ name }) => name))
    if (op.object.kind === 'link' && !op.object.up) this.#flushNexthops(op.object.name)
  }

  /** Removes an object and all that goes with it. Throws ENOENT where there is none. */
  remove(object: KernelObject): void {
    const before = this.#objects.get(identity(object))
    if (before === undefined) {
      // A link takes its sysctls along; what they were before is then only to be forgotten.
      if (object.kind === 'sysctl') return
      throw new Errno('ENOENT', identity(object))
    }
    if (before.kind === 'sysctl') {
      this.#restore(before)
      return
    }
    if (!isOurs(before)) throw new Errno('EPERM', `foreign ${identity(before)}`)
    this.#objects.delete(identity(before))
    if (before.kind === 'link') this.#linkGone(before.name)
    else if (before.kind === 'nexthop') this.#idGone(before.id)
    else if (before.kind === 'group') this.#idGone(before.id)
    else if (before.kind === 'peer') {
      this.#sweep((o) => {
        return o.kind === 'allowed-ip' && o.device === before.device && o.publicKey === before.publicKey
      })
    } else if (before.kind === 'ruleset') this.#keepElementsOf([])
  }

  #require(object: KernelObject, before: KernelObject | undefined): void {
    switch (object.kind) {
      case 'link': {
        this.#requireLink(object, before as Link | undefined)
        return
      }
      case 'device':
        this.#needLink(object.name)
        {
          this.#requirePort(object)
          return
        }
      case 'peer': {
        this.#needLink(object.device)
        return
      }
      case 'allowed-ip':
        this.#needLink(object.device)
        if (this.get({ kind: 'peer', device: object.device, publicKey: object.publicKey, keepalive: 0 }))
          return
        throw new Errno('ENOENT', `peer ${object.publicKey} on ${object.device}`)
      case 'address':
      case 'fdb': {
        this.#needLink(object.link)
        return
      }
      case 'port':
        if (!this.hostLinks.has(object.link)) throw new Errno('ENODEV', object.link)
        {
          this.#needLink(object.master)
          return
        }
      case 'nexthop': {
        this.#requireNexthop(object, before)
        return
      }
      case 'group': {
        this.#requireGroup(object, before)
        return
      }
      case 'route': {
        this.#requireRoute(object)
        return
      }
      case 'element': {
        this.#requireSet(object)
        return
      }
      default:
        return
    }
  }

  #requireLink(link: Link, before: Link | undefined): void {
    if (before !== undefined && (before.type !== link.type || !sameText(before.vxlan, link.vxlan))) {
      throw new Errno('EOPNOTSUPP', `${link.name} cannot change its type`)
    }
    if (link.master !== undefined) this.#needLink(link.master)
  }

  #needLink(name: string): void {
    const link = this.link(name)
    if (link === undefined) throw new Errno('ENODEV', name)
    if (!isOurs(link)) throw new Errno('EPERM', `foreign link ${name}`)
  }

  #requirePort(device: Device): void {
    for (const other of this.of('device')) {
      if (other.name !== device.name && other.listenPort === device.listenPort) {
        throw new Errno('EADDRINUSE', `${device.name}: port ${device.listenPort} is ${other.name}'s`)
      }
    }
  }

  #requireNexthop(nexthop: Nexthop, before: KernelObject | undefined): void {
    if (before?.kind === 'group') throw new Errno('EINVAL', 'Can not replace a nexthop group with a nexthop')
    if (nexthop.device === undefined) return
    this.#needLink(nexthop.device)
    if (this.link(nexthop.device)?.up !== true) throw new Errno('ENETDOWN', 'Nexthop device is not up')
  }

  #requireGroup(group: NexthopGroup, before: KernelObject | undefined): void {
    if (before?.kind === 'nexthop')
      throw new Errno('EINVAL', 'Can not replace a nexthop with a nexthop group')
    if (group.members.length === 0) throw new Errno('EINVAL', 'Group without members')
    for (const { id } of group.members) {
      const member = this.byId(id)
      if (member === undefined) throw new Errno('EINVAL', `Invalid nexthop id ${id}`)
      if (member.kind === 'group') throw new Errno('EINVAL', 'Nexthop groups can not hold groups')
      if (member.blackhole === true && group.members.length > 1) {
        throw new Errno('EINVAL', 'Blackhole nexthop can not be used in a group with more than one path')
      }
    }
  }

  #requireRoute(route: Route): void {
    if (route.nexthop !== undefined) {
      const via = this.byId(route.nexthop)
      if (via === undefined) throw new Errno('EINVAL', `Nexthop id ${route.nexthop} does not exist`)
      if (familyOf(route.prefix) === 6 && this.#familyOf(via) === 4) {
        throw new Errno('EINVAL', 'IPv6 routes can not use an IPv4 nexthop')
      }
    }
    if (route.link !== undefined && !this.hostLinks.has(route.link)) throw new Errno('ENODEV', route.link)
    if (route.src !== undefined && !this.hasAddress(route.src)) {
      throw new Errno('EINVAL', `Invalid prefsrc address ${route.src}`)
    }
  }

  hasAddress(address: string): boolean {
    if (this.hostAddresses.has(address)) return true
    for (const held of this.of('address')) if (held.address.split('/')[0] === address) return true
    return false
  }

  #familyOf(via: Nexthop | NexthopGroup): 4 | 6 {
    if (via.kind === 'nexthop') return via.family
    const member = this.byId(via.members[0]?.id ?? 0)
    return member?.kind === 'nexthop' ? member.family : 6
  }

  #requireSet(element: SetElement): void {
    for (const ruleset of this.of('ruleset')) {
      if (ruleset.sets.some(({ name }) => name === element.set)) return
    }
    throw new Errno('ENOENT', `set ${element.set}`)
  }

  #keepElementsOf(sets: readonly string[]): void {
    const kept = new Set(sets)
    this.#sweep((object) => object.kind === 'element' && !kept.has(object.set))
  }

  #linkGone(name: string): void {
    this.#flushNexthops(name)
    this.#sweep((object) => object.kind !== 'nexthop' && carrierOf(object) === name)
    for (const link of [...this.of('link')]) {
      const { master, ...alone } = link
      if (master === name) this.put(alone)
    }
  }

  #flushNexthops(device: string): void {
    for (const nexthop of [...this.of('nexthop')]) {
      if (nexthop.device !== device) continue
      this.#objects.delete(identity(nexthop))
      this.#idGone(nexthop.id)
    }
  }

  /** Routes and group members of an id; a group without members goes as well. */
  #idGone(id: number): void {
    this.#sweep((object) => object.kind === 'route' && object.nexthop === id)
    for (const group of [...this.of('group')]) {
      const members = group.members.filter((member) => member.id !== id)
      if (members.length === group.members.length) continue
      if (members.length > 0) this.put({ ...group, members })
      else {
        this.#objects.delete(identity(group))
        this.#idGone(group.id)
      }
    }
  }

  #sweep(gone: (object: KernelObject) => boolean): void {
    for (const [key, object] of this.#objects) if (gone(object)) this.#objects.delete(key)
  }

  #write(sysctl: Sysctl): void {
    const link = carrierOf(sysctl)
    const exists = link === undefined || link === 'all' || link === 'default' || this.hostLinks.has(link)
    if (!exists && this.link(link) === undefined) throw new Errno('ENOENT', sysctl.name)
    const before = this.get(sysctl)
    // No value that anybody desires: going back to it must be seen.
    const previous = before?.previous ?? before?.value ?? '-1'
    this.put({ kind: 'sysctl', name: sysctl.name, value: sysctl.value, previous })
  }

  #restore({ name, value, previous }: Sysctl): void {
    this.put({ kind: 'sysctl', name, value: previous ?? value })
  }
}

/** Key over all kinds. Nexthops and groups share their ids; rules of several protocols stand side by side. */
export function identity(object: KernelObject): string {
  switch (object.kind) {
    case 'nexthop':
    case 'group':
      return `id ${object.id}`
    case 'rule':
      return `rule ${keyOf(object)} protocol ${object.protocol ?? routeProtocol}`
    default:
      return `${object.kind} ${keyOf(object)}`
  }
}

/** What is only for printing does not come back from a kernel; a peer comes back with its handshake. */
function strip(object: KernelObject, before: KernelObject | undefined): KernelObject {
  if (object.kind === 'group') return { kind: 'group', id: object.id, members: object.members }
  if (object.kind !== 'peer') return object
  const { kind, device, publicKey, keepalive } = object
  const was = before?.kind === 'peer' ? before : undefined
  const endpoint = object.endpoint ?? was?.endpoint
  const latestHandshake = was?.latestHandshake ?? 0
  const peer = { kind, device, publicKey, keepalive, latestHandshake }
  return endpoint === undefined ? peer : { ...peer, endpoint }
}

function sameText(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
