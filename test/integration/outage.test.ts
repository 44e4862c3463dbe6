/**
 * A day without a registry, on a clock that runs ahead: the real drivers against servers that are not there, the real
 * reconciler over a fake kernel. Nothing is withdrawn, and next to nothing is done.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Registry } from '../../agent/registry/port.ts'
import { nowMs } from '../support/documents.ts'
import { documents, Rig } from '../support/rig.ts'
import { VirtualTime } from '../support/virtual-time.ts'

const dayMs = 86_400_000

t.setTimeout(0)
const time = new VirtualTime(nowMs)
const { EtcdRegistry } = await import('../../agent/registry/etcd.ts')
const { HttpsRegistry } = await import('../../agent/registry/https.ts')

/** A port where nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const cases: Readonly<Record<string, (port: number) => Registry>> = {
  etcd: (port) => new EtcdRegistry({ endpoints: [`http://127.0.0.1:${port}`], prefix: '/linkspan/prod' }),
  https: (port) => new HttpsRegistry([`https://127.0.0.1:${port}/bundle`]),
}

for (const [name, open] of Object.entries(cases)) {
  void t.test(`${name} gone for a day`, async (t) => {
    const rig = new Rig(undefined, { now: Date.now })
    rig.deliver(documents(20))
    const running = rig.reconciler.run(rig.signal)
    await time.pass(60_000)
    t.ok(rig.reconciler.settled)
    const before = JSON.stringify(rig.kernel.owned)
    const { applied } = rig.kernel
    const { tally } = rig.reconciler
    const registry = open(await deadPort())
    const following = (async () => {
      for await (const bag of registry.watch(rig.signal)) void rig.reconciler.deliver(bag)
    })()
    const ticking = setInterval(() => {
      rig.reconciler.inputs.tick()
    }, 60_000)
    const { fired } = time
    const cpu = process.cpuUsage()
    await time.pass(dayMs)
    const { user, system } = process.cpuUsage(cpu)
    const share = (user + system) / 1000 / dayMs
    t.comment(`${(100 * share).toFixed(3)} % of a core, ${time.fired - fired} timers`)
    t.ok(share < 0.01, `${(100 * share).toFixed(3)} % of a core`)
    const audits = tally.durations.get('audit')?.count ?? 0
    t.ok(audits < dayMs / 25_000, `${audits} audits`)
    t.equal(rig.kernel.applied, applied, 'not one op')
    t.equal(JSON.stringify(rig.kernel.owned), before)
    t.equal(rig.reconciler.inputs.admission.snapshot?.gateways.size, 20)
    t.equal(rig.reconciler.inputs.admission.vanished.length, 0)
    t.not(rig.reconciler.inputs.unreadable.length, 0, 'and it is said')
    const told = tally.errors.get('registry') ?? 0
    t.ok(told > 0 && told < 10, `${told} times`)
    clearInterval(ticking)
    rig.stop()
    await time.pass(1000)
    await Promise.all([running, following])
  })
}
