/** What systemd is told of the status, and how often it is looked for. */
import { mock } from 'node:test'
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import type { Status } from '../../../agent/daemon/status.ts'
import { StatusTelling } from '../../../agent/daemon/status-telling.ts'

const tick = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

void t.test('soon after anything happened, else once a minute', async (t) => {
  let now = 0
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  t.intercept(performance, 'now', { value: () => now })
  const events = new Events()
  const said: string[] = []
  let summary = '1/1 tunnels up'
  let looks = 0
  const view = {
    status: (): Promise<Status> => {
      looks++
      return summary === '' ? Promise.reject(new Error('no peers')) : Promise.resolve({ summary } as Status)
    },
  }
  const end = new StatusTelling(view, { status: (text) => said.push(text) }, events).start()
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i += 10) {
      now += 10_000
      mock.timers.tick(10_000)
      await tick()
    }
  }
  await pass(10)
  t.same(said, ['1/1 tunnels up'])
  await pass(50)
  t.equal(looks, 1, 'nothing happens, nothing is asked')
  await pass(10)
  t.equal(looks, 2, 'after a minute')
  events.emit('debug', 'audit')
  await pass(10)
  t.equal(looks, 2, 'an audit that found nothing is no news')
  events.emit('error', 'path-down')
  events.emit('debug', 'audit')
  summary = '0/1 tunnels up'
  await pass(10)
  t.equal(said.at(-1), '0/1 tunnels up')
  events.emit('notice', 'path-up')
  summary = ''
  await pass(10)
  t.equal(looks, 4)
  summary = '1/1 tunnels up'
  await pass(60)
  t.equal(said.at(-1), '1/1 tunnels up', 'a failure is not the end')
  end()
  events.emit('error', 'path-down')
  const before = looks
  await pass(120)
  t.equal(looks, before)
})
