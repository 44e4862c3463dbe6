/** Looks that share one timer. */
import { mock } from 'node:test'
import t from 'tap'
import { onceASecond } from '../../../agent/daemon/once-a-second.ts'

void t.test('all are taken together, and no longer than they are wanted', (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  const taken: string[] = []
  const look = (name: string) => () => {
    taken.push(name)
  }
  const endOne = onceASecond(look('one'))
  mock.timers.tick(400)
  const other = look('other')
  const endOther = onceASecond(other)
  const endAgain = onceASecond(other)
  mock.timers.tick(600)
  t.same(taken, ['one', 'other', 'other'], 'in one moment')
  endOther()
  endOther()
  mock.timers.tick(1000)
  t.same(taken.slice(3), ['one', 'other'], 'each ends by itself')
  endOne()
  endAgain()
  mock.timers.tick(10_000)
  t.equal(taken.length, 5)
  const endLast = onceASecond(look('last'))
  mock.timers.tick(1000)
  t.same(taken.slice(5), ['last'], 'and they begin anew')
  endLast()
  t.end()
})
