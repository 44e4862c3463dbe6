/**
 * A process of its own that takes in a fabric it never saw: every document read from a file registry, its signature and
 * form checked, judged with all the others, and everything planned. As the agent does it, but for the kernel, which is a
 * fake. Arguments: the registry's directory, the gateway that it is. Answers one line of JSON on stdout.
 */
import { inTurns } from '../../agent/daemon/breath.ts'
import { Events } from '../../agent/daemon/event.ts'
import { Inputs } from '../../agent/daemon/inputs.ts'
import { Schedule } from '../../agent/daemon/schedule.ts'
import { Tally } from '../../agent/daemon/tally.ts'
import { address } from '../../agent/model/prefix.ts'
import { GroupIds } from '../../agent/plan/group-id.ts'
import type { PlanInput } from '../../agent/plan/input.ts'
import { plan, preparation } from '../../agent/plan/share.ts'
import { FileRegistry } from '../../agent/registry/file.ts'
import { authority } from '../support/documents.ts'
import { FakeKernel } from '../support/fake-kernel.ts'
import { fleetFabric } from '../support/fleet.ts'
import { linkWith, ownWith } from '../support/plan-input.ts'
import { cpuMs, longestStalls } from './stall.ts'

export interface Cold {
  readonly gateways: number
  readonly refusals: number
  readonly objects: number
  /** All in ms. */
  readonly readMs: number
  readonly verifyMs: number
  readonly planMs: number
  readonly stallMs: number
  readonly busyStallMs: number
  /** Of all threads: to read, to verify, to plan. */
  readonly cpuMs: readonly number[]
  /** The most there ever was, in units of 1,000,000 bytes. */
  readonly rssMB: number
}

async function run(directory: string, gateway: string): Promise<Cold> {
  const { signal } = new AbortController()
  const facts = {
    links: [linkWith('eth0 192.0.2.1/24 default')],
    routes: [],
    ipv6: true,
    features: { wireguard: true },
  }
  const own = ownWith(gateway, 'own', {
    endpoints: [{ underlay: 'internet', address: address('192.0.2.1'), port: 51820 }],
  })
  const inputs = new Inputs({
    kernel: new FakeKernel(facts),
    gateway,
    ground: { fabric: fleetFabric, authority, self: gateway },
    ownOf: () => own,
    events: new Events(),
    tally: new Tally(),
    schedule: new Schedule(Math.random),
    now: Date.now,
  })
  let read = 0
  let verified = 0
  let planned = 0
  let objects = 0
  const marks = [cpuMs()]
  const began = performance.now()
  const stall = await longestStalls(async () => {
    for await (const bag of new FileRegistry(directory).watch(signal)) {
      await inputs.deliver(bag)
      break
    }
    read = performance.now()
    marks.push(cpuMs())
    await inputs.take(signal)
    verified = performance.now()
    marks.push(cpuMs())
    const input = inputs.planInput(new GroupIds())
    if (input !== undefined) objects = await inTurns(counted(input), signal)
    planned = performance.now()
    marks.push(cpuMs())
  })
  return {
    gateways: inputs.admission.snapshot?.gateways.size ?? 0,
    refusals: inputs.admission.refusals.length,
    objects,
    readMs: read - began,
    verifyMs: verified - read,
    planMs: planned - verified,
    stallMs: stall.ms,
    busyStallMs: stall.busyMs,
    cpuMs: marks.slice(1).map((mark, i) => mark - (marks[i] ?? 0)),
    rssMB: (process.resourceUsage().maxRSS * 1024) / 1e6,
  }
}

/** Keeps the shares, as the agent does. */
function* counted(input: PlanInput): Generator<void, number> {
  const shares = []
  yield* preparation(input)
  for (const share of plan(input)) {
    shares.push(share)
    yield
  }
  return shares.reduce((sum, share) => sum + share.objects.length, 0)
}

const [directory = '', gateway = ''] = process.argv.slice(2)
console.log(JSON.stringify(await run(directory, gateway)))
