/** Hosts without IPv6: probes go to overlay addresses, and only the device that they are bound to tells paths apart. */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { pathRows } from '../support/path-row.ts'
import { makeTwin, untilMembers } from '../support/twin.ts'

await isolated(import.meta.url, async (directory) => {
  const twin = await makeTwin(directory, [], ({ machine }) => {
    for (const each of ['all', 'default'])
      machine.run('sysctl', '-qw', `net.ipv6.conf.${each}.disable_ipv6=1`)
  })
  const { one, a, b, oneHost } = twin
  const members = (wanted: string): Promise<string> => untilMembers(twin, wanted)
  const conditions = async (wanted: string): Promise<string> => {
    let found = ''
    for (let i = 0; i < 300 && found !== wanted; i++) {
      await pause(100)
      found = pathRows(one, 'site-2')
        .map(({ condition }) => condition)
        .join(' ')
    }
    return found
  }

  t.equal(await conditions('up up up up'), 'up up up up')
  t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')
  t.equal(await oneHost.reaches('10.2.0.10'), true)

  b.machine.ip('link set dev dx0 down')
  t.equal(await members('ls-wg0/ls-wg9'), 'ls-wg0/ls-wg9', 'one path is told from the other')
  b.machine.ip('link set dev dx0 up')
  t.equal(await members('ls-wg0/ls-wg1'), 'ls-wg0/ls-wg1')

  // The kernel there answers an echo request by the path that it takes itself, which proves that one alone.
  for (const gateway of [a, b]) await gateway.stop('SIGKILL')
  t.equal(await conditions('silent down silent down'), 'silent down silent down')
  t.equal(await oneHost.reaches('10.2.0.10'), true, 'and forwards')
  await one.stop()
})
