/**
 * The Linux driver: the kernel port over rtnetlink, `wg`, wireguard-go and nftables.
 *
 * It knows how to see and how to do, never what should be: ops come in the order diff gave them, and a run of ops of one
 * kind becomes one batch. One socket carries all requests, so that events caused by us are known by its port id.
 */
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Kind, KernelObject, Link } from '../model/kernel-object.ts'
import { linkGroup, linkPattern, overlayTable, underlayTable } from '../model/kernel-number.ts'
import { maxUnderlays } from '../model/fabric.ts'
import type { Op, OpResult } from '../model/op.ts'
import { formatObject } from '../model/op-text.ts'
import { decodeAddress, encodeAddressDump } from './address.ts'
import { addon as loadAddon } from './addon.ts'
import { applyBatch, isBatched } from './apply.ts'
import { changeQueue } from './change-queue.ts'
import { exec } from './exec.ts'
import { gatherFacts, isOwn } from './facts.ts'
import { decodeFdb, encodeFdbDump } from './fdb.ts'
import type { ObservedLink } from './link.ts'
import { LinkOps } from './link-op.ts'
import { Links } from './links.ts'
import { flag, MessageWriter } from './message.ts'
import { decodeNexthop, encodeNexthopDump } from './nexthop.ts'
import { openNft } from './nft.ts'
import type { Kernel, ObserveOptions } from './port.ts'
import { encodeRouteDump, RouteDecoder } from './route.ts'
import { RouteSocket } from './route-socket.ts'
import { decodeRule, encodeRuleDump } from './rule.ts'
import { message } from './rtnetlink.ts'
import { subscribeToKernel } from './events.ts'
import { openSysctls } from './sysctl.ts'
import { openWireGuard } from './wg.ts'

export interface LinuxOptions {
  readonly stateDirectory: string
  /** Base64 private key of `ls-wg<index>`; goes to `wg`'s stdin and nowhere else. */
  readonly privateKey: (deviceIndex: number) => string
  /** Default: whatever the kernel has. */
  readonly wireguard?: 'kernel' | 'wireguard-go'
}

const protocol = { route: 0, generic: 16 } as const
const { ENOENT } = { ENOENT: 2 }
const tables = [overlayTable, ...Array.from({ length: maxUnderlays }, (_, u) => underlayTable(u))]

export async function openLinux(options: LinuxOptions): Promise<Kernel> {
  const { stateDirectory, privateKey } = options
  const addon = loadAddon()
  const socket = new RouteSocket(addon.openSocket(protocol.route))
  const links = new Links(socket)
  await links.refresh()
  const sysctls = await openSysctls(stateDirectory)
  const wg = await openWireGuard({ addon, exec, privateKey, stateDirectory })
  const nft = await openNft({ addon, exec, stateDirectory })
  const linkOps = new LinkOps(socket, links, wg.go)
  const kernelWireGuard =
    options.wireguard === undefined ? await hasWireGuard() : options.wireguard === 'kernel'

  async function hasWireGuard(): Promise<boolean> {
    // Asking for the family loads the module where there is one (net/netlink/genetlink.c ctrl_getfamily).
    const generic = addon.openSocket(protocol.generic)
    const writer = new MessageWriter(64)
    writer.begin(16, flag.request)
    writer.u8(3)
    writer.u8(1)
    writer.u16(0)
    writer.attrString(2, 'wireguard')
    writer.end()
    const answer = await generic.query(writer.take())
    generic.close()
    return !('errno' in answer)
  }

  function dumpOf(encode: (writer: MessageWriter) => void): Uint8Array {
    const writer = new MessageWriter(256)
    encode(writer)
    return writer.take()
  }

  async function* observe({ kinds, sysctls: names }: ObserveOptions, signal: AbortSignal) {
    const wants = (kind: Kind): boolean => kinds?.has(kind) !== false
    const found = await links.refresh()
    const ours = found.filter(isOwn)
    const ownIfindexes = new Set(ours.map(({ ifindex }) => ifindex))
    const linkObjects = ours.flatMap((link) => (linkPattern.test(link.name) ? [linkObject(link)] : []))
    if (wants('link')) yield linkObjects
    if (wants('port')) yield portsOf(found, ours)
    signal.throwIfAborted()
    if (wants('address')) yield await addresses(ownIfindexes)
    if (wants('nexthop') || wants('group')) yield await nexthops()
    for (const version of wants('rule') ? ([4, 6] as const) : []) {
      yield await socket.collect(
        dumpOf((writer) => {
          encodeRuleDump(writer, version)
        }),
        'rules',
        (bytes, type, start, end) => (type === message.newRule ? decodeRule(bytes, start, end) : undefined),
      )
    }
    for (const link of wants('fdb') ? ours.filter(({ type }) => type === 'vxlan') : []) {
      yield await socket.collect(
        dumpOf((writer) => {
          encodeFdbDump(writer, link.ifindex)
        }),
        `FDB of ${link.name}`,
        (bytes, type, start, end) =>
          type === message.newNeighbour ? decodeFdb(bytes, start, end, links.nameOf) : undefined,
      )
    }
    if (wants('sysctl')) yield await sysctls.observe(names)
    for (const table of wants('route') ? tables : []) {
      for (const version of [4, 6] as const) {
        signal.throwIfAborted()
        const decoder = new RouteDecoder(links.nameOf)
        // ENOENT: a table that never had a route does not exist (net/ipv4/fib_frontend.c inet_dump_fib).
        yield* await socket.chunks(
          dumpOf((writer) => {
            encodeRouteDump(writer, version, table)
          }),
          `routes of table ${table}`,
          (bytes, type, start, end) =>
            type === message.newRoute ? decoder.decode(bytes, start, end) : undefined,
          [ENOENT],
        )
      }
    }
    if (wants('device') || wants('peer') || wants('allowed-ip')) {
      const devices = linkObjects.filter(
        ({ name, type }) => name.startsWith('ls-wg') && (type === 'wireguard' || type === 'tun'),
      )
      const held = devices.filter((link) => link.group === linkGroup || link.ours === true)
      yield* wg.observe(new Set(held.map(({ name }) => name)), signal)
    }
    if (wants('ruleset') || wants('element')) yield* nft.observe(signal)
  }

  function linkObject(link: ObservedLink): Link {
    const listed = wg.go.names.has(link.name)
    const master = link.master === undefined ? undefined : links.nameOf(link.master)
    return {
      kind: 'link',
      name: link.name,
      type: typeOf(link),
      mtu: link.mtu,
      up: link.up,
      group: link.group,
      ...(link.alias === undefined ? {} : { alias: link.alias }),
      ...(link.vxlan === undefined ? {} : { vxlan: link.vxlan }),
      ...(link.mac === undefined ? {} : { mac: link.mac }),
      ...(master === undefined ? {} : { master }),
      ...(listed && link.group !== linkGroup ? { ours: true } : {}),
    }
  }

  function typeOf({ name, type }: ObservedLink): Link['type'] {
    switch (type) {
      case 'wireguard':
      case 'vxlan':
      case 'bridge':
        return type
      case 'tun':
        return wg.go.names.has(name) ? 'tun' : 'other'
      default:
        return 'other'
    }
  }

  function portsOf(found: readonly ObservedLink[], ours: readonly ObservedLink[]): KernelObject[] {
    const bridges = new Map(
      ours.flatMap((link) => (link.type === 'bridge' ? [[link.ifindex, link.name] as const] : [])),
    )
    return found.flatMap((link): KernelObject[] => {
      const master = link.master === undefined ? undefined : bridges.get(link.master)
      return master === undefined || isOwn(link) ? [] : [{ kind: 'port', link: link.name, master }]
    })
  }

  async function addresses(ifindexes: ReadonlySet<number>): Promise<readonly KernelObject[]> {
    return socket.collect(dumpOf(encodeAddressDump), 'addresses', (bytes, type, start, end) => {
      const decoded = type === message.newAddress ? decodeAddress(bytes, start, end) : undefined
      const link = decoded === undefined ? undefined : links.nameOf(decoded.ifindex)
      if (decoded === undefined || link === undefined || !ifindexes.has(decoded.ifindex)) return undefined
      return { kind: 'address', link, address: `${decoded.address}/${decoded.length}` }
    })
  }

  async function nexthops(): Promise<readonly KernelObject[]> {
    return socket.collect(dumpOf(encodeNexthopDump), 'nexthops', (bytes, type, start, end) =>
      type === message.newNexthop ? decodeNexthop(bytes, start, end, links.nameOf) : undefined,
    )
  }

  async function applyRun(run: readonly Op[], signal: AbortSignal): Promise<readonly (Reason | undefined)[]> {
    const first = run[0]?.object
    if (first === undefined) return []
    if (isBatched(first)) return applyBatch(socket, links, run, signal)
    switch (first.kind) {
      case 'link':
        return linkOps.apply(run, signal)
      case 'ruleset':
      case 'element':
        return (await nft.apply(run, signal)).map(({ error }) => error)
      case 'sysctl': {
        const results: (Reason | undefined)[] = []
        for (const op of run) {
          const { object } = op
          results.push(object.kind === 'sysctl' ? await sysctls.apply({ ...op, object } as Op & { object: typeof object }) : undefined)
        }
        return results
      }
      default:
        return (await wg.apply(run, signal)).map(({ error }) => error)
    }
  }

  return {
    facts: (routesOf) => gatherFacts(socket, links, kernelWireGuard, routesOf),
    observe,
    async apply(ops, signal) {
      const results: OpResult[] = []
      for (const run of runsOf(ops)) {
        signal.throwIfAborted()
        let errors: readonly (Reason | undefined)[]
        try {
          errors = await applyRun(run, signal)
        } catch (error) {
          if (signal.aborted) throw error
          errors = run.map(({ object }) => reasonOf(error, formatObject(object)))
        }
        for (const [i, op] of run.entries()) {
          const error = errors[i]
          results.push(error === undefined ? { op } : { op, error })
        }
      }
      return results
    },
    firewallUnchanged: () => nft.unchanged(),
    async *changes(signal) {
      const queue = changeQueue(signal)
      const subscription = subscribeToKernel({
        addon,
        links,
        portId: socket.raw.portId,
        onChange: queue.push,
        onFirewall: () => {
          queue.push('firewall')
        },
      })
      try {
        for await (const change of queue) {
          if (change !== 'firewall') yield change
          else if (!(await nft.unchanged())) yield 'objects'
        }
      } finally {
        subscription.close()
      }
    },
    close() {
      socket.raw.close()
      wg.close()
      nft.close()
      return Promise.resolve()
    },
  }
}

/** Which ops make one batch: kinds that the same driver carries out in one go. */
function classOf({ kind }: KernelObject): string {
  if (kind === 'device' || kind === 'peer' || kind === 'allowed-ip') return 'wg'
  if (kind === 'ruleset' || kind === 'element') return 'nft'
  return kind
}

function* runsOf(ops: readonly Op[]): Generator<readonly Op[]> {
  let from = 0
  for (let i = 1; i <= ops.length; i++) {
    const first = ops[from]
    const next = ops[i]
    if (first !== undefined && next !== undefined && classOf(first.object) === classOf(next.object)) continue
    yield from === 0 && i === ops.length ? ops : ops.slice(from, i)
    from = i
  }
}

