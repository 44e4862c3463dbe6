/**
 * 256 flows over the two gateways of a site: how evenly, what moves when one goes, and when it has its share again. Of three,
 * test/integration/ecmp.test.ts: the kernel lets the third wait (agent/model/kernel-number.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { countFlows, movedOthers, shareOf, takeFlows } from '../support/flow-spread.ts'
import type { Spread } from '../support/flow-spread.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'
import { untilMembers } from '../support/twin.ts'
import type { Twin } from '../support/twin.ts'
import { figure } from './figure.ts'
import type { Figure } from './figure.ts'

const flows = 256
const evenly = { atMost: 65, atLeast: 35 } as const

/** Both gateways in service. */
export async function spreadFigures(twin: Twin): Promise<Figure[]> {
  const { one, b, oneHost, twoHost } = twin
  await untilFit(one, 'site-2', 4)
  await untilMembers(twin, 'ls-wg0/ls-wg1')
  countFlows(one.machine, 9000)
  const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { flows })
  const spread = async (): Promise<Spread> => {
    takeFlows(one.machine)
    await pause(1000)
    return takeFlows(one.machine)
  }
  const percent = (now: Spread): number => 100 * shareOf(now, 'ls-wg0')
  let both = await spread()
  // Whoever was away before may still wait for its share.
  for (let i = 0; i < 60 && percent(both) > evenly.atMost; i++) both = await spread()
  b.cli('drain', '--timeout', '0')
  await untilMembers(twin, 'ls-wg0')
  const alone = await spread()
  b.cli('drain', '--undo')
  await untilMembers(twin, 'ls-wg0/ls-wg1')
  const backAt = performance.now()
  let again = await spread()
  while (percent(again) > evenly.atMost && performance.now() - backAt < 120_000) again = await spread()
  const backS = (performance.now() - backAt) / 1000
  const { lost, sent } = await meter.stop()
  return [
    figure('failover', {
      figure: `${flows} flows, by one of two gateways`,
      value: percent(both),
      unit: '%',
      ...evenly,
      baseline: `${both.size} seen; ${lost} of ${sent} packets lost`,
    }),
    figure('failover', {
      figure: 'flows of one that move when the other drains',
      value: movedOthers(both, alone, 'ls-wg1').length,
      unit: 'flows',
      atMost: 0,
      baseline: `${alone.size} seen, ${(100 - percent(alone)).toFixed()} % by who drains`,
    }),
    figure('failover', {
      figure: 'until who comes back has its share of busy flows',
      value: backS,
      unit: 's',
      atMost: 60,
      baseline: `${percent(again).toFixed()} % by the other`,
    }),
  ]
}
