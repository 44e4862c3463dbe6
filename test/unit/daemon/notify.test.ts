import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { exitCode } from '../../../agent/cli/exit-code.ts'
import { notifier } from '../../../agent/daemon/notify.ts'
import { repository } from '../../support/repository.ts'

void t.test('says ready once, status when it changes, and feeds the watchdog once a second', (t) => {
  const sent: string[] = []
  let now = 0
  const send = (socket: string, state: string): number => {
    t.equal(socket, '/run/systemd/notify')
    sent.push(state)
    return 0
  }
  const notify = notifier('/run/systemd/notify', send, () => now)
  notify.ready()
  notify.ready()
  notify.status('3/3 tunnels up')
  notify.status('3/3 tunnels up')
  notify.alive()
  now = 999
  for (let i = 0; i < 1000; i++) notify.progress()
  now = 1000
  for (let i = 0; i < 1000; i++) notify.progress()
  notify.alive()
  notify.stopping()
  t.same(sent, ['READY=1', 'STATUS=3/3 tunnels up', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1', 'STOPPING=1'])
  t.end()
})

void t.test('a start that gets on asks for more time, until it is ready', (t) => {
  const sent: string[] = []
  let now = 0
  const send = (_socket: string, state: string): number => sent.push(state)
  const notify = notifier('/run/systemd/notify', send, () => now)
  notify.progress()
  notify.progress()
  t.same(sent, ['WATCHDOG=1', 'EXTEND_TIMEOUT_USEC=90000000'], 'once a second')
  now = 1000
  notify.progress()
  t.equal(sent.length, 4)
  notify.ready()
  now = 2000
  notify.progress()
  t.same(sent.slice(4), ['READY=1', 'WATCHDOG=1'])
  t.end()
})

void t.test('without systemd nothing is sent', (t) => {
  notifier(undefined, () => {
    t.fail('sent')
    return 0
  }).ready()
  t.end()
})

void t.test('what the unit promises fits what the agent does', (t) => {
  const unit = readFileSync(path.join(repository, 'packaging/linkspan.service'), 'utf8')
  const sent: string[] = []
  notifier('/run/systemd/notify', (_socket, state) => sent.push(state)).progress()
  const settings = new Map(
    unit.split('\n').flatMap((line) => {
      const [, name = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? []
      return name === '' ? [] : [[name, value] as const]
    }),
  )
  const startUs = Number(settings.get('TimeoutStartSec')) * 1e6
  t.equal(sent.at(-1), `EXTEND_TIMEOUT_USEC=${startUs}`, 'a start that hangs ends')
  t.equal(settings.get('RestartPreventExitStatus'), String(exitCode.usage))
  t.equal(settings.get('ProtectHome'), 'read-only', 'a registry below /home can be read')
  t.equal(settings.get('ProtectSystem'), 'full')
  t.end()
})
