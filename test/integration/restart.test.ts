/**
 * Restarts under traffic: the data plane does not notice, and the restarted agent finds nothing to do. test/bench/restart.ts
 * does the same twenty times each.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
/** An emulated guest cannot send a thousand packets a second besides starting Node. */
const perSecond = guest ? 200 : 1000

await isolated(import.meta.url, async (directory) => {
  const { left, right, leftHost, rightHost } = await makePair(directory)
  await leftHost.reaches('10.2.0.10')

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    await t.test(`${signal} and a new start lose no packet and write nothing`, async (t) => {
      const before = dump(left.machine)
      const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
      const code = await left.stop(signal)
      t.equal(code, signal === 'SIGTERM' ? 0 : null, 'how it ended')
      await pause(500)
      t.equal(await opsOfStart(left), 0, 'ops of the second start')
      await pause(500)
      const { sent, lost, gapMs } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
      t.ok(sent > perSecond, `${sent} packets were sent`)
      t.strictSame(dumpDiff(before, dump(left.machine)), [], 'the kernel state is the same')
    })
  }

  await t.test('control: the meter sees one packet in a hundred missing', async (t) => {
    rightHost.run(
      'nft',
      'add table ip control; add chain ip control in { type filter hook input priority 0; }; add rule ip control in udp dport 9000 numgen inc mod 100 0 drop',
    )
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    await pause(2000)
    const { sent, lost } = await meter.stop()
    t.ok(lost >= Math.floor(sent / 100) && lost <= Math.ceil(sent / 100) + 1, `${lost} of ${sent} missing`)
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})

/** Ops of all turns up to a second after the first audit; what an agent writes late counts, too. */
async function opsOfStart(gateway: Gateway): Promise<number> {
  gateway.log = ''
  gateway.start()
  await gateway.untilLogged('first-audit', guest ? 120 : 30)
  await pause(1000)
  const turns = [...gateway.log.matchAll(/(?:audit|pass) .*?ops=([0-9]+)/g)]
  return turns.reduce((sum, match) => sum + Number(match[1]), 0)
}
