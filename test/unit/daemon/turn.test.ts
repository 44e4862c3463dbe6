import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Stall } from '../../../agent/daemon/stall.ts'
import { Turns } from '../../../agent/daemon/turn.ts'

void t.test('turns are taken one after the other, whatever becomes of the one before', async (t) => {
  const turns = new Turns(new Stall())
  const seen: string[] = []
  const first = turns.take(async () => {
    seen.push('first begins')
    await pause(20)
    seen.push('first ends')
    throw new Error('broken')
  })
  const second = turns.take(() => {
    seen.push('second')
    return Promise.resolve(2)
  })
  await t.rejects(first, { message: 'broken' }, 'whoever asked has the error')
  t.equal(await second, 2)
  t.same(seen, ['first begins', 'first ends', 'second'])
})

void t.test('a turn that blocks the event loop is seen', async (t) => {
  const stall = new Stall()
  await new Turns(stall).take(() => {
    const until = performance.now() + 40
    while (performance.now() < until);
    return Promise.resolve()
  })
  t.ok(stall.maxSeconds >= 0.03)
})
