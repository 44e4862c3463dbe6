/**
 * Two gateways whose keys rotate, in any order of news, with a crash at any op: at every moment what one sends, the other
 * takes. Plan, diff and the kernel's state are the real ones (fake-kernel.ts); the registry, probes and handshakes are modelled:
 * a lane is heard where both kernels hold its two ends, and falls silent where neither keeps it alive.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { formatOp } from '../../agent/model/op-text.ts'
import { deviceName, devices } from '../../agent/model/device.ts'
import type { Gateway } from '../../agent/model/gateway.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { longestMs, nextStep } from '../../agent/daemon/rotation-step.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { PlanInput } from '../../agent/plan/input.ts'
import { generationsOf } from '../../agent/model/gateway.ts'
import { currentPaths, idlePaths } from '../../agent/plan/lane.ts'
import { localOf } from '../../agent/plan/local.ts'
import { pathsTo } from '../../agent/plan/path.ts'
import type { Path } from '../../agent/plan/path.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { desiredOf, diffWith } from '../support/pass.ts'
import { Paths } from '../support/path-state.ts'
import { gatewayWith, inputWith } from '../support/plan-input.ts'

const basePort = 51820
const names = ['a-a', 'b-a'] as const
type Name = (typeof names)[number]
const otherOf = (name: Name): Name => (name === 'a-a' ? 'b-a' : 'a-a')
const prefixesOf = { 'a-a': '10.1.0.0/16', 'b-a': '10.2.0.0/16' } as const
const host = {
  'a-a': ['eth0 192.0.2.1/24', 'lan0 10.1.0.1/24'],
  'b-a': ['eth0 192.0.2.2/24', 'lan0 10.2.0.1/24'],
}

/** Keys that were ever derived, by device and generation: none may come twice. */
function keyOf(name: Name, generation: number, device: number): PublicKey {
  return `${name}/g${generation}/${device}` as PublicKey
}

class End {
  readonly name: Name
  newest = 0
  older: { readonly number: number; readonly isOffered: boolean } | undefined
  /** What it has heard of itself and of the other. */
  readonly heard = new Map<Name, Gateway>()
  /** What it was last made to agree with; lost by a crash. */
  planned: PlanInput | undefined
  /** By device; survives a crash, in the run directory. */
  readonly proven = new Map<number, PublicKey>()
  readonly ids = new GroupIds()
  readonly kernel: FakeKernel

  constructor(name: Name) {
    this.name = name
    this.kernel = new FakeKernel(this.inputOf([gatewayWith(1, name)]).facts)
  }

  inputOf(gateways: readonly Gateway[]): PlanInput {
    return { ...inputWith({ gateways, links: host[this.name] }), ids: this.ids }
  }

  /** As its record says. */
  record(): Gateway {
    const tunnelKeys: Record<string, PublicKey> = {}
    const offered = [this.newest, ...(this.older?.isOffered === true ? [this.older.number] : [])]
    for (let i = 0; i < devices; i++) {
      const generation = offered.find((number) => (number & 1) === i >> 5)
      if (generation !== undefined) tunnelKeys[String(i)] = keyOf(this.name, generation, i)
    }
    const number = this.name === 'a-a' ? 1 : 2
    const prefixes = [prefixesOf[this.name]]
    return gatewayWith(number, this.name, { prefixes, generation: this.newest, tunnelKeys })
  }

  input(): PlanInput | undefined {
    const [self, peer] = [this.heard.get(this.name), this.heard.get(otherOf(this.name))]
    if (self === undefined || peer === undefined) return undefined
    const words = [...this.proven].map(([device, key]) => {
      const lane = 2 * ((device >> 5) & 1) + ((device >> 2) & 1)
      return `${otherOf(this.name)} internet${lane === 0 ? '' : `.${lane}`} proven=${key}`
    })
    return { ...this.inputOf([self, peer]), paths: new Paths(words) }
  }

  paths(input = this.planned): { readonly all: readonly Path[]; readonly idle: ReadonlySet<Path> } {
    const local = input === undefined ? undefined : localOf(input)
    const peer = input?.snapshot.gateways.get(otherOf(this.name))
    if (local === undefined || peer === undefined || input === undefined) return { all: [], idle: new Set() }
    const { paths } = pathsTo(local, peer)
    return { all: paths, idle: idlePaths(paths, peer.name, input.paths) }
  }

  find<K extends KernelObject['kind']>(kind: K): readonly Extract<KernelObject, { kind: K }>[] {
    return this.kernel.state.objects.filter((one) => one.kind === kind) as Extract<
      KernelObject,
      { kind: K }
    >[]
  }

  device(index: number) {
    return this.find('device').find(({ name }) => name === deviceName(index))
  }

  /** Some group has the device for a member; traffic shakes hands, too. */
  sendsBy(index: number): boolean {
    const nexthop = this.find('nexthop').find(({ device }) => device === deviceName(index))
    return this.find('group').some(({ members }) => members.some(({ id }) => id === nexthop?.id))
  }

  peerOn(index: number) {
    return this.find('peer').find(({ device }) => device === deviceName(index))
  }
}

/** The far end's device, if what `from` sends by a device of its own is understood there; else why not. */
function arrival(from: End, to: End, index: number, what: string): number | string {
  const allowed = from
    .find('allowed-ip')
    .find((one) => one.device === deviceName(index) && one.prefix === prefix(what))
  const own = from.device(index)
  const peer = from
    .find('peer')
    .find((one) => one.publicKey === allowed?.publicKey && one.device === allowed.device)
  if (own === undefined || peer?.endpoint === undefined)
    return `${from.name} has no peer for it on device ${index}`
  const at = Number(peer.endpoint.slice(peer.endpoint.lastIndexOf(':') + 1)) - basePort
  const far = to.device(at)
  if (far?.publicKey !== peer.publicKey)
    return `${to.name} has ${far?.publicKey ?? 'nothing'} on device ${at}, not ${peer.publicKey}`
  const back = to.find('peer').find((one) => one.device === deviceName(at) && one.publicKey === own.publicKey)
  return back === undefined ? `${to.name} knows nobody of key ${own.publicKey} on device ${at}` : at
}

class Pair {
  readonly ends = new Map<Name, End>(names.map((name) => [name, new End(name)]))
  readonly registry = new Map<Name, Gateway>()
  readonly log: string[] = []
  /** Secrets deleted, and rotations done. */
  done = 0
  crashes = 0
  #isUp = false

  constructor() {
    for (const name of names) this.registry.set(name, this.end(name).record())
    for (const name of names) for (const who of names) this.hear(name, who)
    for (const name of names) this.reconcile(name)
    this.log.length = 0
    this.#isUp = true
  }

  end(name: Name): End {
    const end = this.ends.get(name)
    if (end === undefined) throw new Error(name)
    return end
  }

  hear(name: Name, who: Name): void {
    const said = this.registry.get(who)
    if (said !== undefined) this.end(name).heard.set(who, said)
  }

  /** Ops up to `most`; fewer than there are is a crash there. */
  reconcile(name: Name, most = Infinity): void {
    const end = this.end(name)
    const input = end.input()
    if (input === undefined) return
    const { ops } = diffWith(end.kernel, desiredOf(input))
    end.kernel.afterOp = (op, error) => {
      this.log.push(`  ${name}: ${formatOp(op)}`)
      assert.equal(error?.message, undefined, this.text())
      if (this.#isUp) this.check()
    }
    end.kernel.applyNow(ops.slice(0, most))
    end.planned = most < ops.length ? undefined : input
    if (most < ops.length) this.crashes++
    else this.#name(end)
  }

  /** Probes and handshakes, over what each end keeps alive. Hearing of it is news for the next reconcile. */
  probe(name: Name): void {
    const end = this.end(name)
    if (end.planned === undefined) return // nobody is there to probe
    const { all, idle } = end.paths()
    const current = currentPaths(all, otherOf(name), end.planned.paths)
    for (const path of all) {
      const isHeard =
        typeof arrival(end, this.end(otherOf(name)), path.device, prefixesOf[otherOf(name)]) === 'number'
      if (isHeard && !idle.has(path)) end.proven.set(path.device, path.publicKey)
      // Lanes that rest are not probed, and what was known of them is forgotten.
      else if (idle.has(path) || !current.includes(path)) end.proven.delete(path.device)
    }
    this.#name(end)
  }

  /** After each turn: what was known of lanes that are no more is forgotten. */
  #name(end: End): void {
    const { all } = end.paths()
    for (const device of end.proven.keys()) {
      if (!all.some((path) => path.device === device)) end.proven.delete(device)
    }
  }

  /** Who still shakes hands by the older keys of an end: some end keeps the lane alive, and it is whole. */
  users(name: Name): readonly Name[] {
    const end = this.end(name)
    const far = this.end(otherOf(name))
    const isUsed = end.find('device').some(({ name: device }) => {
      const index = Number(device.slice('ls-wg'.length))
      if (((index >> 5) & 1) !== ((end.older?.number ?? 0) & 1)) return false
      const at = arrival(end, far, index, prefixesOf[far.name])
      if (typeof at !== 'number') return false
      const isAlive = end.peerOn(index)?.keepalive !== 0 || far.peerOn(at)?.keepalive !== 0
      return isAlive || end.sendsBy(index) || far.sendsBy(at)
    })
    return isUsed ? [far.name] : []
  }

  step(name: Name): void {
    const end = this.end(name)
    const self = end.planned?.snapshot.gateways.get(name)
    const { older, newest } = end
    const { step } = nextStep({
      gateway: name,
      nowMs: 0,
      newest: { number: newest, madeAtMs: 0 },
      older: older === undefined ? undefined : { ...older, madeAtMs: 0 },
      ...(self === undefined
        ? {}
        : {
            listed: { generation: self.generation, older: generationsOf(self).length > 1 },
            listedMs: longestMs,
          }),
      users: this.users(name),
      days: 0,
    })
    if (step === 'retire' && older !== undefined) end.older = { ...older, isOffered: false }
    else if (step === 'forget' && older !== undefined) {
      const parity = older.number & 1
      const needed = desiredOf(end.planned ?? assert.fail()).flatMap((one) =>
        one.kind === 'device' ? [one.name] : [],
      )
      for (const device of needed) {
        assert.notEqual(
          (Number(device.slice('ls-wg'.length)) >> 5) & 1,
          parity,
          `${device} needs it\n${this.text()}`,
        )
      }
      end.older = undefined
      this.done++
    }
    if (step !== 'none') this.log.push(`${name} ${step}`)
  }

  begin(name: Name): void {
    const end = this.end(name)
    if (end.older !== undefined) return
    end.older = { number: end.newest, isOffered: true }
    end.newest++
  }

  /** What each sends arrives. */
  check(): void {
    for (const name of names) {
      const from = this.end(name)
      const to = this.end(otherOf(name))
      const what = prefixesOf[to.name]
      const route = from.find('route').find((one) => one.prefix === prefix(what))
      const group = from.find('group').find(({ id }) => id === route?.nexthop)
      assert.ok(group !== undefined, `${name} has no group\n${this.text()}`)
      for (const { id } of group.members) {
        const device = from.find('nexthop').find((nexthop) => nexthop.id === id)?.device
        assert.ok(device !== undefined, `${name} sends nowhere\n${this.text()}`)
        const at = arrival(from, to, Number(device.slice('ls-wg'.length)), what)
        assert.equal(typeof at, 'number', `what ${name} sends is lost: ${at}\n${this.text()}`)
      }
    }
  }

  text(): string {
    return this.log.slice(-60).join('\n')
  }
}

type Action =
  | { readonly kind: 'begin' | 'publish' | 'probe' | 'step' | 'reconcile'; readonly end: Name }
  | { readonly kind: 'hear'; readonly end: Name; readonly who: Name }
  | { readonly kind: 'crash'; readonly end: Name; readonly after: number }

const end = fc.constantFrom(...names)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('begin' as const), end }) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constantFrom('publish' as const, 'probe' as const, 'step' as const, 'reconcile' as const),
      end,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('hear' as const), end, who: end }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), end, after: fc.nat(12) }) },
)

function act(pair: Pair, one: Action): void {
  pair.log.push(JSON.stringify(one))
  switch (one.kind) {
    case 'publish':
      pair.registry.set(one.end, pair.end(one.end).record())
      break
    case 'hear':
      pair.hear(one.end, one.who)
      break
    case 'crash':
      pair.reconcile(one.end, one.after)
      break
    default:
      pair[one.kind](one.end)
  }
  pair.check()
}

void t.test('in any order of news, and with a crash at any op, what one end sends the other takes', (t) => {
  let done = 0
  let crashes = 0
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120, size: 'max' }), (actions) => {
      const pair = new Pair()
      for (const one of actions) act(pair, one)
      // Once all is heard it comes to an end.
      for (let round = 0; round < 12; round++) {
        for (const name of names) {
          act(pair, { kind: 'publish', end: name })
          for (const who of names) act(pair, { kind: 'hear', end: name, who })
          for (const kind of ['reconcile', 'probe', 'step'] as const) act(pair, { kind, end: name })
        }
      }
      for (const name of names) {
        const { older, newest } = pair.end(name)
        assert.equal(older, undefined, `${name} still has its older keys\n${pair.text()}`)
        const held = pair
          .end(name)
          .find('device')
          .map((device) => device.publicKey)
        assert.deepEqual(held.length, 1)
        assert.ok(held[0]?.startsWith(`${name}/g${newest}/`), `${name} goes by ${String(held[0])}`)
      }
      done += pair.done
      crashes += pair.crashes
    }),
    { numRuns: 25, seed: Number(process.env['LINKSPAN_SEED'] ?? 1763700000), includeErrorInReport: true },
  )
  t.ok(done > 25, `${done} rotations came to their end`)
  t.ok(crashes > 10, `${crashes} crashes in the middle`)
  t.end()
})
