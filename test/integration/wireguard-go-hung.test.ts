/**
 * wireguard-go does not answer: stopped by a signal, as a process that hangs would be. That device fails and is left as it is;
 * all else is watched over and repaired, and status answers.
 */
import { readlinkSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import { isolated } from '../support/isolate.ts'
import { makePair } from '../support/pair.ts'

await isolated(import.meta.url, async (directory) => {
  const { lab, left, leftHost } = await makePair(directory)
  const { machine } = left
  const route = '10.2.0.0/16'
  const remote = machine.run('wg', 'show', 'ls-wg0', 'peers').trim()
  const received = (): number => Number(machine.run('wg', 'show', 'ls-wg0', 'transfer').split('\t')[1])
  t.ok(leftHost.pings('10.2.0.10'))
  const before = received()
  await pause(1100) // what was seen is used again for a second
  t.ok(before > 0 && (await left.status())?.health === 'ok')
  // The machines share their process numbers; the network namespace tells whose it is.
  const spaceOf = (of: number): string => readlinkSync(`/proc/${of}/ns/net`)
  const all = machine.run('pgrep', '-f', '^wireguard-go ls-wg0$').trim().split('\n').map(Number)
  const pid = all.find((one) => spaceOf(one) === spaceOf(left.pid)) ?? 0
  t.ok(pid > 0)

  process.kill(pid, 'SIGSTOP')
  try {
    await t.test('everything else is repaired', async (t) => {
      for (let i = 0; i < 3; i++) {
        machine.ip(`route del ${route} table 19539`)
        const began = performance.now()
        while (!machine.ip('route show table 19539').includes(route) && performance.now() - began < 20_000) {
          await pause(50)
        }
        t.ok(performance.now() - began < 6000, `${Math.round(performance.now() - began)} ms`)
      }
    })
    await t.test('status answers, and says so', async (t) => {
      // Whoever asks first finds out, and waits for it: what is repaired above asks nothing of tunnels.
      await pause(1100)
      let status = await left.status()
      for (let i = 0; i < 3; i++) {
        await pause(1100)
        const began = performance.now()
        status = await left.status()
        t.ok(performance.now() - began < 200, `${Math.round(performance.now() - began)} ms`)
      }
      t.equal(status?.health, 'degraded')
      t.match(status?.failures, [{ object: 'wg ls-wg0', reason: /wireguard-go did not answer/ }])
      t.equal(status?.failures.length, 1, 'the device, and none of its peers and prefixes')
      t.match(status?.peers, [
        { state: 'stale', publicKey: remote, reason: /ls-wg0: wireguard-go did not answer/ },
      ])
      t.ok((status?.peers[0]?.receivedBytes ?? 0) >= before, 'as last seen')
    })
    await t.test('an agent that starts meanwhile says it once, too', async (t) => {
      await left.stop('SIGKILL')
      left.log = ''
      left.start()
      await left.untilLogged('first-audit')
      const status = await left.status()
      t.match(status?.failures, [{ object: 'wg ls-wg0', reason: /wireguard-go did not answer/ }])
      t.equal(status?.failures.length, 1, JSON.stringify(status?.failures))
      t.equal(left.log.match(/op-failed/g)?.length, 1)
      t.equal(status?.health, 'degraded')
    })
  } finally {
    process.kill(pid, 'SIGCONT')
  }

  await t.test('it goes on: all is well, and it is the same peer', async (t) => {
    let status: Status | undefined
    for (let i = 0; i < 50 && status?.health !== 'ok'; i++) {
      await pause(200)
      status = await left.status()
    }
    t.match(status, { health: 'ok', failures: [] })
    t.ok(leftHost.pings('10.2.0.10'))
    t.equal(machine.run('wg', 'show', 'ls-wg0', 'peers').trim(), remote)
    t.ok(received() >= before, 'a peer made anew would count from nought')
    t.notMatch(left.log, /drift-repaired.*peer/)
  })
  for (const each of lab.gateways) await each.stop()
})
