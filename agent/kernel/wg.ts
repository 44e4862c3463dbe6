/**
 * The WireGuard driver: devices, peers and AllowedIPs on links that linkspan owns.
 *
 * `wg` keys, sets up and shows devices. Peers and AllowedIPs change through a channel that only adds: generic netlink for
 * the kernel's WireGuard, the configuration socket for wireguard-go. Private keys pass through here on their way into
 * `wg`'s stdin and come back in the first column of a dump, where they are cut off unread.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { carrierOf } from '../diff/ownership.ts'
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Device, KernelObject } from '../model/kernel-object.ts'
import { resultOf } from '../model/op.ts'
import type { Op, OpResult } from '../model/op.ts'
import type { Addon } from './addon.ts'
import { stdinFile } from './exec.ts'
import type { Exec } from './exec.ts'
import { peerChanges, survey } from './peer-change.ts'
import type { PeerChange, PeerChannel } from './peer-change.ts'
import type { ObserveOptions } from './port.ts'
import { readDump } from './wg-dump.ts'
import { NetlinkChannel } from './wg-netlink.ts'
import { Silence } from './wg-silence.ts'
import { socketChannel } from './wg-socket.ts'
import { openWireGuardGo } from './wireguard-go.ts'
import type { Log, WireGuardGo } from './wireguard-go.ts'

export interface WireGuard {
  /** Processes that stand in for the kernel. */
  readonly go: WireGuardGo
  /**
   * Device, Peer and AllowedIP objects of these links, in portions. A link that is gone has none; one whose process does
   * not answer has what `inPlaceOf` gives.
   */
  observe(
    links: ReadonlySet<string>,
    signal: AbortSignal,
    inPlaceOf?: ObserveOptions['inPlaceOf'],
  ): AsyncIterable<readonly KernelObject[]>
  /** Ops on devices, peers and AllowedIPs. Removing a device is done with its link. */
  apply(ops: readonly Op[], signal: AbortSignal): Promise<OpResult[]>
  close(): void
}

export interface WireGuardOptions {
  readonly addon: Addon
  readonly exec: Exec
  /** Base64; the index is that of `ls-wg<index>`. */
  readonly privateKey: (deviceIndex: number) => string
  readonly stateDirectory: string
  /**
   * IFLA_INFO_KIND of a link. That says which channel a device has: a name may be listed as wireguard-go's still when the
   * kernel has learned WireGuard since. Where it is not known, the list decides.
   */
  readonly typeOf?: (link: string) => string | undefined
  /** A process that was silent answers again, or has ended. */
  readonly onAnswer?: () => void
  readonly log?: Log
}

/** `wg` of a link that is gone, or is no WireGuard link (its process died, or the kernel never knew WireGuard). */
const noWireGuard = /No such device|Protocol not supported|Operation not supported/

/** Ops that are made ready at once, between two turns of the event loop. */
const runLength = 4000

export async function openWireGuard(options: WireGuardOptions): Promise<WireGuard> {
  const { addon, exec, privateKey, typeOf } = options
  const go = await openWireGuardGo(options)
  const silence = new Silence(options.onAnswer)
  let netlink: NetlinkChannel | undefined

  function isProcess(device: string): boolean {
    const type = typeOf?.(device)
    return type === undefined ? go.names.has(device) : type === 'tun'
  }

  /** Why nothing is asked of the device; undefined where it may be. */
  async function silenceOf(device: string): Promise<Reason | undefined> {
    return isProcess(device) ? silence.of(device) : undefined
  }

  function channelOf(device: string): PeerChannel {
    if (isProcess(device)) return socketChannel
    netlink ??= new NetlinkChannel(addon)
    return netlink
  }

  async function* observe(
    links: ReadonlySet<string>,
    signal: AbortSignal,
    inPlaceOf: ObserveOptions['inPlaceOf'] = () => [],
  ): AsyncGenerator<readonly KernelObject[], void> {
    // Side by side: several that hang are waited for once.
    const asked = [...links].map(async (link) => [link, await silenceOf(link)] as const)
    for (const [link, silent] of await Promise.all(asked)) {
      signal.throwIfAborted()
      if (silent !== undefined) {
        yield* inPortions(inPlaceOf(link, silent))
        continue
      }
      const object = `wg ${link}`
      // A process that hangs only now must not outlast systemd's watchdog.
      const timeoutMs = isProcess(link) ? 20_000 : 60_000
      // stderr never holds a key here, but the dump does: no text of this run goes into an error.
      const dump = exec.stream('wg', ['show', link, 'dump'], { signal, object, timeoutMs })
      try {
        yield* readDump(link, dump)
      } catch (error) {
        if (!(error instanceof LinkspanError && noWireGuard.test(error.reason))) throw error
      }
    }
  }

  async function apply(ops: readonly Op[], signal: AbortSignal): Promise<OpResult[]> {
    const errors: (Reason | undefined)[] = new Array<undefined>(ops.length)
    const byDevice = new Map<string, number[]>()
    for (const [at, op] of ops.entries()) {
      const name = deviceOf(op)
      const list = name === undefined ? undefined : byDevice.get(name)
      if (list !== undefined) list.push(at)
      else if (name !== undefined) byDevice.set(name, [at])
      else errors[at] = { code: 'internal', object: op.object.kind, reason: 'is no business of WireGuard' }
    }
    const found = survey(ops)
    for (const [name, list] of byDevice) {
      const missing = new Map<string, Reason>()
      for (const run of runs(ops, list)) {
        const [at = -1] = run
        const device = ops[at]?.object
        if (device?.kind !== 'device') {
          await applyPeers(name, peerChanges(ops, run, found), missing, errors, signal)
        } else if (ops[at]?.verb !== 'remove') errors[at] = await setDevice(device, signal)
      }
    }
    return ops.map((op, at) => resultOf(op, errors[at]))
  }

  async function applyPeers(
    name: string,
    changes: readonly PeerChange[],
    missing: Map<string, Reason>,
    errors: (Reason | undefined)[],
    signal: AbortSignal,
  ): Promise<void> {
    let answers: readonly (Reason | undefined)[]
    try {
      const silent = await silenceOf(name)
      answers =
        silent === undefined ? await channelOf(name).send(name, changes, signal) : changes.map(() => silent)
    } catch (error) {
      signal.throwIfAborted()
      const reason = reasonOf(error, `wg ${name}`)
      answers = changes.map(() => reason)
    }
    for (const [i, change] of changes.entries()) {
      const error = answers[i] ?? dependsOn(missing, change)
      if (error === undefined) continue
      if (change.verb === 'set') missing.set(change.publicKey, error)
      for (const at of change.ops) errors[at] = error
    }
  }

  async function setDevice(device: Device, signal: AbortSignal): Promise<Reason | undefined> {
    const { name, listenPort, fwmark } = device
    const object = `wg ${name}`
    try {
      const silent = await silenceOf(name)
      if (silent !== undefined) return silent
      const key = privateKey(indexOf(name))
      const settings = ['private-key', stdinFile, 'listen-port', String(listenPort), 'fwmark', String(fwmark)]
      await exec.run('wg', ['set', name, ...settings], { input: `${key}\n`, quiet: true, object, signal })
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      return reasonOf(error, object)
    }
  }

  return {
    go,
    observe,
    apply,
    close: () => {
      netlink?.close()
    },
  }
}

/** With a turn of the event loop after each. */
async function* inPortions(objects: Iterable<KernelObject>): AsyncGenerator<readonly KernelObject[], void> {
  let portion: KernelObject[] = []
  for (const object of objects) {
    portion.push(object)
    if (portion.length < runLength) continue
    yield portion
    portion = []
    await turn()
  }
  if (portion.length > 0) yield portion
}

/** Positions in portions: a device op on its own, peer and AllowedIP ops together, all in order. */
function* runs(ops: readonly Op[], list: readonly number[]): Generator<readonly number[], void> {
  let run: number[] = []
  for (const at of list) {
    const alone = ops[at]?.object.kind === 'device'
    if (run.length > 0 && (alone || run.length >= runLength)) {
      yield run
      run = []
    }
    if (alone) yield [at]
    else run.push(at)
  }
  if (run.length > 0) yield run
}

/** AllowedIPs of a peer that could not be made went nowhere: they are given to existing peers only. */
function dependsOn(missing: ReadonlyMap<string, Reason>, change: PeerChange): Reason | undefined {
  return change.verb === 'allow' ? missing.get(change.publicKey) : undefined
}

function deviceOf({ object }: Op): string | undefined {
  switch (object.kind) {
    case 'device':
    case 'peer':
    case 'allowed-ip':
      return carrierOf(object)
    default:
      return undefined
  }
}

function indexOf(name: string): number {
  return Number(name.replace(/^ls-wg/, ''))
}
