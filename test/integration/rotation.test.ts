/**
 * Keys rotate under traffic, over real agents: one end, both ends at once, and with the agent killed at each step. Nothing is
 * lost, by IPv4, IPv6 or a stretched network, in either direction. test/bench/rotation.ts does it many times, with figures.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { keyFiles, keysOf, recorded, RotatingPair, until } from '../support/rotating.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
/**
 * The bench does it with 1,000. Beside other tests a userspace tunnel gets no processor for longer than the 500 packets of its
 * device's queue last, which has nothing to do with keys.
 */
const perSecond = guest ? 100 : 200
const patienceSeconds = guest ? 300 : 60

await isolated(import.meta.url, async (directory) => {
  const rotating = await RotatingPair.make(directory)
  const { left, right } = rotating.pair

  const rotate = (gateway: Gateway): void => {
    const { status, stdout, stderr } = gateway.cli('keys', 'rotate')
    t.match(`${status} ${stdout}`, /^0 generation [0-9]+ begun/, stderr)
  }
  const moved = (gateway: Gateway): Promise<void> => gateway.untilLogged('keys-moved', patienceSeconds)
  const done = async (gateway: Gateway): Promise<void> => {
    rotating.passTime(gateway)
    await until(
      `the old keys of ${gateway.name} are gone\n${gateway.log}`,
      async () => (await keysOf(gateway))?.phase === 'settled',
      patienceSeconds,
    )
  }
  const nothingLost = async (t: Test): Promise<void> => {
    for (const { flow, sent, lost, gapMs } of await rotating.stopTraffic()) {
      t.ok(sent > 0)
      t.equal(lost, 0, `${flow}: lost of ${sent}, longest gap ${gapMs} ms`)
    }
  }

  await t.test('the meter by itself: nothing is lost', async (t) => {
    await rotating.startTraffic(perSecond)
    await pause(5000)
    await nothingLost(t)
  })

  await t.test('one end', async (t) => {
    t.strictSame(keyFiles(left), ['generation-0'])
    t.equal(recorded(rotating, left), '0, 8 keys')
    await rotating.startTraffic(perSecond)
    await pause(500)
    rotate(left)
    t.match(left.cli('keys', 'rotate'), { status: 1, stdout: /^under way: key generation 1/ })
    await moved(left)
    t.equal(recorded(rotating, left), '1, 16 keys')
    t.strictSame(keyFiles(left), ['generation-0', 'generation-1'])
    await until('the other end sends by the new keys, too', async () => {
      const { peers = [] } = (await right.status()) ?? {}
      return peers.map(({ device, state }) => `${device} ${state}`).join() === 'ls-wg0 retiring,ls-wg4 up'
    })
    t.equal((await left.status())?.health, 'ok', 'that is no trouble')
    t.match(left.cli('status').stdout, /^key generation 1, made .*; 0 is still in place: /m)
    await pause(1000)
    await done(left)
    t.equal(recorded(rotating, left), '1, 8 keys')
    t.strictSame(keyFiles(left), ['generation-1'])
    await until(
      'devices of the old keys are gone',
      () => !/ls-wg0\b/.test(left.machine.run('wg', 'show', 'interfaces')),
    )
    await until(
      'at the other end, too',
      () => right.machine.run('wg', 'show', 'interfaces').trim() === 'ls-wg4',
    )
    await pause(1000)
    await nothingLost(t)
  })

  await t.test('both ends at once', async (t) => {
    left.log = ''
    right.log = ''
    await rotating.startTraffic(perSecond)
    await pause(500)
    rotate(left)
    rotate(right)
    await Promise.all([moved(left), moved(right)])
    await pause(1000)
    await Promise.all([done(left), done(right)])
    for (const gateway of [left, right]) t.equal(keyFiles(gateway).length, 1)
    t.equal(recorded(rotating, left), '2, 8 keys')
    t.equal(recorded(rotating, right), '1, 8 keys')
    await pause(1000)
    await nothingLost(t)
  })

  await t.test('the other end hears of it much later', async (t) => {
    left.log = ''
    await rotating.startTraffic(perSecond)
    await pause(500)
    await right.stop('SIGKILL')
    rotate(left)
    await until('the record offers both', () => recorded(rotating, left) === '3, 16 keys', patienceSeconds)
    await pause(4000)
    t.notMatch(left.log, 'keys-moved', 'nobody is there to take them up')
    rotating.start(right)
    await moved(left)
    await pause(1000)
    await done(left)
    await pause(1000)
    await nothingLost(t)
  })

  await t.test('the agent is killed right after each step, and goes on from there', async (t) => {
    left.log = ''
    await rotating.startTraffic(perSecond)
    await pause(500)
    const kill = async (): Promise<void> => {
      await left.stop('SIGKILL')
      await pause(200)
      rotating.start(left)
    }
    rotate(left)
    await until('the new secret is on disk', () => keyFiles(left).includes('generation-4'))
    await kill()
    await until('the record offers both', () => recorded(rotating, left) === '4, 16 keys', patienceSeconds)
    await kill()
    await moved(left)
    await kill()
    await left.untilUp(1)
    rotating.passTime(left)
    await until(
      'the old secret is offered no more',
      () => keyFiles(left).includes('retiring-3'),
      patienceSeconds,
    )
    await kill()
    await until(
      'the record does not offer it',
      () => recorded(rotating, left) === '4, 8 keys',
      patienceSeconds,
    )
    await kill()
    await until('it is deleted', () => keyFiles(left).join() === 'generation-4', patienceSeconds)
    await kill()
    await left.untilUp(1)
    await pause(1000)
    await nothingLost(t)
  })

  for (const gateway of [left, right]) await gateway.stop()
})
