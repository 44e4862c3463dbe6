import t from 'tap'
import { notifier } from '../../../agent/daemon/notify.ts'

void t.test('says ready once, and status when it changes', (t) => {
  const sent: string[] = []
  const notify = notifier('/run/systemd/notify', (socket, state) => {
    t.equal(socket, '/run/systemd/notify')
    sent.push(state)
    return 0
  })
  notify.ready()
  notify.ready()
  notify.status('3/3 tunnels up')
  notify.status('3/3 tunnels up')
  notify.alive()
  notify.alive()
  notify.stopping()
  t.same(sent, ['READY=1', 'STATUS=3/3 tunnels up', 'WATCHDOG=1', 'WATCHDOG=1', 'STOPPING=1'])
  t.end()
})

void t.test('without systemd nothing is sent', (t) => {
  notifier(undefined, () => {
    t.fail('sent')
    return 0
  }).ready()
  t.end()
})
