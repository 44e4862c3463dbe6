import t from 'tap'
import { LinkspanError } from '../../../agent/errors.ts'
import { isServiceUp, stopService } from '../../../agent/cli/service.ts'
import { exec } from '../../../agent/kernel/exec.ts'
import type { Exec } from '../../../agent/kernel/exec.ts'

/** `systemctl` says this, or fails with it. */
function systemctl(answer: string | LinkspanError): { readonly fake: Exec; readonly ran: string[] } {
  const ran: string[] = []
  const fake: Exec = {
    ...exec,
    run(file, args) {
      ran.push([file, ...args].join(' '))
      return typeof answer === 'string' ? Promise.resolve(answer) : Promise.reject(answer)
    },
  }
  return { fake, ran }
}

const failure = (reason: string): LinkspanError =>
  new LinkspanError({ code: 'exec', object: 'systemctl', reason })

void t.test('up is all that runs, or will', async (t) => {
  for (const [state, isUp] of [
    ['active', true],
    ['reloading', true],
    ['activating', true], // also SubState=auto-restart
    ['deactivating', true],
    ['inactive', false], // also a unit that is not installed
    ['failed', false],
  ] as const) {
    t.equal(await isServiceUp(systemctl(`ActiveState=${state}\n`).fake, true), isUp, state)
  }
})

void t.test('without systemd nothing is asked; one that does not answer is none', async (t) => {
  const { fake, ran } = systemctl('ActiveState=active\n')
  t.equal(await isServiceUp(fake, false), false)
  t.same(ran, [])
  for (const reason of [
    'systemctl: exit code 1: Failed to connect to bus: Host is down',
    "systemctl: exit code 1: System has not been booted with systemd as init system (PID 1). Can't operate.",
    'systemctl: spawn systemctl ENOENT',
  ]) {
    t.equal(await isServiceUp(systemctl(failure(reason)).fake, true), false, reason)
  }
  await t.rejects(isServiceUp(systemctl(failure('systemctl: no end after 10000 ms')).fake, true), {
    code: 'exec',
  })
})

void t.test('stops by name, and says why it could not', async (t) => {
  const { fake, ran } = systemctl('')
  await stopService(fake)
  t.same(ran, ['systemctl stop linkspan.service'])
  await t.rejects(stopService(systemctl(failure('systemctl: exit code 4: Access denied')).fake), {
    code: 'permission',
  })
  await t.rejects(stopService(systemctl(failure('systemctl: no end after 30000 ms')).fake), {
    code: 'exec',
  })
})
