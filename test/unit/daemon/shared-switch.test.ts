/** Shared prefixes that come to be used at another site: one event for all that go together. */
import t from 'tap'
import { Desired } from '../../../agent/daemon/desired.ts'
import { Events } from '../../../agent/daemon/event.ts'
import { tellSwitches } from '../../../agent/daemon/shared-switch.ts'
import type { PlanInput, Share } from '../../../agent/plan/input.ts'
import { plan } from '../../../agent/plan/share.ts'
import { Paths } from '../../support/path-state.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'

const many = ['10.9.0.0/24', '10.9.1.0/24', '10.9.2.0/24', '10.9.3.0/24', '10.9.4.0/24', '10.9.5.0/24']
const home = gatewayWith(9, 'home-a', { prefixes: ['10.1.0.0/16'] })
const first = gatewayWith(1, 's1-a', { prefixes: [...many, '10.10.0.0/16'] })
const second = gatewayWith(2, 's2-a', { prefixes: many })
const input = inputWith({ gateways: [home, first, second] })

function told(before: PlanInput | undefined, after: PlanInput): readonly object[] {
  const events = new Events()
  const desired = new Desired()
  const shares: readonly Share[] = before === undefined ? [] : [...plan(before)]
  for (const share of shares) desired.set(share)
  tellSwitches(events, desired, [...plan(after)])
  return events.since(0).map(({ event, fields }) => ({ event, ...fields }))
}

void t.test('one event for all that move for one reason', (t) => {
  const after = { ...input, paths: new Paths(['s1-a internet']) }
  t.match(told(input, after), [
    {
      event: 'site-switched',
      from: 's1',
      to: 's2',
      prefixes: '10.9.0.0/24, 10.9.1.0/24, 10.9.2.0/24, 10.9.3.0/24 and 2 more',
      reason: 'shared with s1: s1-a is down',
    },
  ])
  t.match(told(after, input), [{ from: 's2', to: 's1' }])
  t.end()
})

void t.test('who has it no more gives it up', (t) => {
  const alone = gatewayWith(1, 's1-a', { prefixes: ['10.10.0.0/16'] })
  t.match(told(input, inputWith({ gateways: [home, alone, second] })), [
    { from: 's1', to: 's2', reason: 's1 has it no more' },
  ])
  t.match(
    told(inputWith({ gateways: [home, second] }), input),
    [{ from: 's2', to: 's1' }],
    'and who comes to share it',
  )
  t.end()
})

void t.test('no event at a start, nor where nothing moves', (t) => {
  t.same(told(undefined, input), [])
  t.same(told(input, { ...input, paths: new Paths(['s2-a internet']) }), [])
  t.same(told(inputWith({ gateways: [home, first] }), input), [], 'shared from now on, and used where it was')
  t.end()
})
