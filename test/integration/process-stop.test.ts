/**
 * The agent's process stands still: stopped by a signal, blocked in JavaScript, waiting for a kernel that does not answer;
 * or it cannot even begin. Forwarding goes on, systemd's watchdog is fed by work alone, and what was missed is made up for.
 */
import { readdirSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, paperGateway, publish, startSettled, untilLine } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { NotifySocket } from '../support/notified.ts'
import { makePair } from '../support/pair.ts'

const perSecond = guest ? 200 : 1000
const stoppedMs = 5000
const stillMs = 3000

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, leftHost, rightHost } = await makePair(directory)
  let serial = 1
  const news = (prefixes: readonly string[]): Promise<void> =>
    publish(lab.registry, paperGateway('a', ++serial, { prefixes }))

  await t.test('stopped for 5 s: forwarding goes on, and only the last news counts', async (t) => {
    await news(['10.50.0.0/16'])
    await untilLine(left.machine, /10\.50\.0\.0\/16/)
    const before = dump(left.machine)
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    await news(['10.51.0.0/16'])
    left.signal('SIGSTOP')
    const frozen = dump(left.machine)
    await pause(stoppedMs / 2)
    await news(['10.52.0.0/16'])
    await pause(stoppedMs / 2)
    t.strictSame(dumpDiff(frozen, dump(left.machine)), [], 'nothing was written meanwhile')
    const resumedAt = performance.now()
    left.signal('SIGCONT')
    await untilLine(left.machine, /^route4\t.*10\.52\.0\.0\/16/)
    const ms = performance.now() - resumedAt
    t.ok(guest || ms < 2000, `the new state was there ${Math.round(ms)} ms later`)
    const after = dump(left.machine)
    t.notMatch(
      after.join('\n'),
      /10\.(50|51)\.0\.0\/16.* proto 76|remote4_16 "10\.5[01]/,
      'the old state is gone',
    )
    const changed = dumpDiff(before, after).filter((line) => !/10\.5[0-2]\./.test(line))
    t.strictSame(changed, [], 'nothing else changed')
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    t.equal((await left.status())?.gateway, 'gw-1', 'it answers')
  })

  await t.test('the watchdog is fed by turns, and by nothing else', async (t) => {
    const socket = await NotifySocket.open(right.machine)
    const fed = (since: number, until?: number): number =>
      socket.said(since, until).filter(({ text }) => text === 'WATCHDOG=1').length
    const restart = async (failpoint: Readonly<Record<string, string>>): Promise<void> => {
      await right.stop()
      await startSettled(right, { NOTIFY_SOCKET: socket.path, ...failpoint })
      t.ok(await socket.until('READY=1', Date.now() - 60_000, 10), 'ready')
    }
    /** News every 100 ms, each of which would make a turn. */
    const bustle = async (ms: number): Promise<void> => {
      for (let i = 0; i < ms / 100; i++) {
        await news([`10.${50 + (serial % 2)}.0.0/16`])
        await pause(100)
      }
    }

    await restart({ FAILPOINT_BLOCK: String(stillMs) })
    const began = Date.now()
    t.ok(await socket.until('STATUS=', began - 60_000, guest ? 60 : 15), 'its state in words')
    t.ok(await socket.until('WATCHDOG=1', began, guest ? 60 : 15), 'fed although nothing happens')
    let since = Date.now()
    await bustle(1000)
    t.ok(fed(since) > 0, 'fed while there is work')

    await pause(300)
    since = Date.now()
    right.signal('SIGUSR2')
    await bustle(stillMs)
    t.equal(fed(since + 200, since + stillMs - 200), 0, 'not fed while the event loop stands still')
    t.ok(await socket.until('WATCHDOG=1', since + stillMs - 200, guest ? 30 : 5), 'fed again')

    await restart({ FAILPOINT_HANG: String(stillMs) })
    since = Date.now()
    right.signal('SIGUSR2')
    await bustle(stillMs)
    t.equal(fed(since + 200, since + stillMs - 200), 0, 'not fed while the kernel gives no answer')
    t.ok(await socket.until('WATCHDOG=1', since + stillMs - 200, guest ? 30 : 5), 'fed again')

    since = Date.now()
    t.equal(await right.stop(), 0)
    t.ok(await socket.until('STOPPING=1', since, 5), 'says that it stops')
    socket.close()
  })

  await t.test('an agent that cannot read its configuration ends each time and writes nothing', async (t) => {
    await left.stop()
    const before = dump(left.machine)
    const state = (): readonly string[] =>
      readdirSync(left.machine.path('/var/lib/linkspan'), { recursive: true }).map(String).sort()
    const files = state()
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    left.configure([
      'fabric: lab',
      `authority: ${lab.authority}`,
      'site: site-1',
      `registry: file://${lab.registry}`,
      'prefixes: [ 10.1.0.0/33 ]',
    ])
    for (let i = 0; i < 3; i++) {
      const { status, stderr } = left.cli('agent')
      t.equal(status, 2, 'exit code')
      t.match(stderr, /config\.yml:5:13/, 'the place')
    }
    t.strictSame(dumpDiff(before, dump(left.machine)), [], 'kernel')
    t.strictSame(state(), files, 'state directory')
    const { sent, lost } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}`)
  })
})
