/**
 * The Linux driver: the kernel port over rtnetlink, `wg`, wireguard-go and nftables.
 *
 * It knows how to see and how to do, never what should be: ops come in the order diff gave them, and a run of ops of one
 * kind becomes one batch. One socket carries all requests, so that events caused by us are known by its port id.
 */
import { reasonOf } from '../errors.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import { resultOf } from '../model/op.ts'
import type { Op, OpResult } from '../model/op.ts'
import { formatObject } from '../model/op-text.ts'
import { addon as loadAddon } from './addon.ts'
import { applyBatch, isBatched } from './apply.ts'
import { changeQueue } from './change-queue.ts'
import type { Hint } from './change-queue.ts'
import { subscribeToKernel } from './events.ts'
import { exec } from './exec.ts'
import { gatherFacts } from './facts.ts'
import { Gate, heldBack } from './gate.ts'
import { LinkOps } from './link-op.ts'
import { Links } from './links.ts'
import { flag, MessageWriter } from './message.ts'
import { openNft } from './nft.ts'
import { observe } from './observe.ts'
import type { Change, Kernel } from './port.ts'
import { RouteSocket } from './route-socket.ts'
import { openSysctls } from './sysctl.ts'
import { openWireGuard } from './wg.ts'
import type { Log } from './wireguard-go.ts'

export interface LinuxOptions {
  readonly stateDirectory: string
  /** Base64 private key of `ls-wg<index>`; goes to `wg`'s stdin and nowhere else. */
  readonly privateKey: (deviceIndex: number) => string
  /** Default: whatever the kernel has. */
  readonly wireguard?: 'kernel' | 'wireguard-go'
  readonly log?: Log
}

const protocol = { route: 0, generic: 16 } as const
const nothing = (): void => undefined

export async function openLinux(options: LinuxOptions): Promise<Kernel> {
  const { stateDirectory } = options
  const addon = loadAddon()
  const socket = new RouteSocket(addon.openSocket(protocol.route))
  const links = new Links(socket)
  await links.refresh()
  const sysctls = await openSysctls(stateDirectory)
  /** Tells the one who follows the changes. */
  let tell: (change: Change) => void = nothing
  const wg = await openWireGuard({
    ...options,
    addon,
    exec,
    typeOf: (name) => links.get(name)?.type,
    onAnswer: () => {
      tell('objects')
    },
  })
  const nft = await openNft({ addon, exec, stateDirectory })
  const linkOps = new LinkOps(socket, links, wg.go)
  const gate = new Gate()
  /** Settled when no firewall op is under way. */
  let firewallIdle: Promise<void> = Promise.resolve()
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

  async function applyRun(run: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    const first = run[0]?.object
    if (first === undefined) return []
    if (isBatched(first)) return applyBatch(socket, links, run, signal)
    switch (first.kind) {
      case 'link':
        return linkOps.apply(run, signal)
      case 'ruleset':
      case 'element': {
        const applied = nft.apply(run, signal)
        firewallIdle = applied.then(nothing, nothing) // the caller has the error
        return applied
      }
      case 'sysctl':
        return applySysctls(run)
      default:
        return wg.apply(run, signal)
    }
  }

  async function applySysctls(run: readonly Op[]): Promise<readonly OpResult[]> {
    const results: OpResult[] = []
    for (const op of run) {
      const { verb, object } = op
      if (object.kind !== 'sysctl') throw new TypeError(`${object.kind} is no sysctl`)
      results.push(resultOf(op, await sysctls.apply(verb === 'remove' ? 'restore' : 'set', object)))
    }
    return results
  }

  async function apply(ops: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    const results: (readonly OpResult[])[] = []
    if (gate.mayReopen(ops) && (await nft.stands())) gate.reopen()
    for (const run of runsOf(ops)) {
      signal.throwIfAborted()
      const done = await applyGuarded(run, signal)
      if (gate.minds(run)) for (const { op, error } of done) gate.take(op, error !== undefined)
      results.push(done)
    }
    return results.flat()
  }

  /** Of ops that the gate holds back, the others. */
  async function applyGuarded(run: readonly Op[], signal: AbortSignal): Promise<readonly OpResult[]> {
    const held = new Set(gate.isShut ? run.filter((op) => gate.holdsBack(op)) : [])
    const allowed = held.size === 0 ? run : run.filter((op) => !held.has(op))
    let results: readonly OpResult[]
    try {
      results = await applyRun(allowed, signal)
    } catch (error) {
      if (signal.aborted) throw error
      results = allowed.map((op) => ({ op, error: reasonOf(error, formatObject(op.object)) }))
    }
    if (held.size === 0) return results
    const left = new Map(results.map((result) => [result.op, result]))
    return run.map((op) => left.get(op) ?? { op, error: heldBack(op) })
  }

  /** Whether a hint that our own doing may have caused is one after all. */
  async function drifted(hint: Hint, ownLinks: Set<string>): Promise<boolean> {
    switch (hint) {
      case 'firewall':
        await firewallIdle
        return !(await nft.unchanged())
      case 'sysctl':
        return !(await sysctls.unchanged())
      case 'links': {
        await linkOps.idle()
        const names = [...ownLinks]
        ownLinks.clear()
        for (const name of names) {
          const link = await links.look(name)
          if (link === undefined || !links.told.knows(link)) return true
        }
        return false
      }
      default:
        return true
    }
  }

  async function* changes(signal: AbortSignal): AsyncGenerator<Change, void> {
    const queue = changeQueue(signal)
    tell = (change) => {
      queue.push(change)
    }
    const ownLinks = new Set<string>()
    const subscription = subscribeToKernel({
      addon,
      links,
      portId: socket.raw.portId,
      onChange: (change) => {
        queue.push(change)
      },
      onOwnLinks: (names) => {
        for (const name of names) ownLinks.add(name)
        queue.push('links')
      },
      onFirewall: () => {
        queue.push('firewall')
      },
      onSysctl: () => {
        queue.push('sysctl')
      },
    })
    try {
      for await (const hint of queue) {
        if (!(await drifted(hint, ownLinks))) continue
        yield hint === 'firewall' || hint === 'links' || hint === 'sysctl' ? 'objects' : hint
      }
    } finally {
      tell = nothing
      subscription.close()
    }
  }

  return {
    facts: (routesOf, signal) => gatherFacts(socket, links, kernelWireGuard, routesOf, signal),
    observe(wanted, signal) {
      if (wanted.kinds?.has('ruleset') !== false) gate.look()
      return observe({ socket, links, sysctls, wg, nft }, wanted, signal)
    },
    apply,
    carried: (signal) => nft.carried(signal),
    firewallUnchanged: () => nft.unchanged(),
    changes,
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
