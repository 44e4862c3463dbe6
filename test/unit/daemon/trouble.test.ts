/** What `status` lists of ops that failed. */
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { Tally } from '../../../agent/daemon/tally.ts'
import { tellFailures } from '../../../agent/daemon/telling.ts'
import { Troubles } from '../../../agent/daemon/trouble.ts'
import type { Reason } from '../../../agent/errors.ts'
import { overlayTable } from '../../../agent/model/kernel-number.ts'
import type { OpResult } from '../../../agent/model/op.ts'
import { prefix } from '../../../agent/model/prefix.ts'

function result(n: number, error?: Reason): OpResult {
  const to = prefix(`10.${n >> 8}.${n & 255}.0/24`)
  const object = { kind: 'route', table: overlayTable, prefix: to, type: 'throw' } as const
  return error === undefined ? { op: { verb: 'add', object } } : { op: { verb: 'add', object }, error }
}

const hung: Reason = { code: 'exec', object: 'wg ls-wg0', reason: 'did not answer', next: 'look at it' }
const other: Reason = { code: 'netlink', object: 'rule 5', reason: 'EPERM' }
const all = Array.from({ length: 3000 }, (_, n) => result(n, hung))

void t.test('many ops with one reason are one failure, and leave room for others', (t) => {
  const troubles = new Troubles()
  for (let round = 1; round <= 2; round++) {
    t.equal(troubles.take([...all, result(5000, other)], round).length, 3001)
    troubles.settle([...all, result(5000, other)], [])
    t.strictSame(troubles.failures, [
      { ...hung, sinceMs: 1, times: round },
      { ...other, sinceMs: 1, times: round },
    ])
  }
  troubles.take([result(5000)], 3)
  t.strictSame(
    troubles.failures.map(({ object }) => object),
    ['wg ls-wg0'],
  )
  t.notOk(troubles.isNone)
  troubles.settle([], [])
  t.ok(troubles.isNone)
  t.strictSame(troubles.failures, [])
  t.end()
})

void t.test('and one line of the log', (t) => {
  const events = new Events()
  const tally = new Tally()
  tellFailures(events, tally, [...all, result(5000, other)])
  t.match(events.since(0), [
    { event: 'op-failed', fields: { object: 'wg ls-wg0', reason: 'did not answer', ops: 3000 } },
    { event: 'op-failed', fields: { object: 'rule 5', reason: 'EPERM' } },
  ])
  t.equal(events.since(0).length, 2)
  t.end()
})
