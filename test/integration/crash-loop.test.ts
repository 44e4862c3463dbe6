/**
 * An agent that crashes again and again: the next start waits, then it only looks; the data plane stays, and a stop by hand
 * ends it. Deaths without a word before the first audit count, and errors at any time; being killed at work does not.
 */
import t from 'tap'
import { dump, dumpDiff } from '../support/dump.ts'
import {
  guest,
  paperGateway,
  publish,
  startSettled,
  startWith,
  untilDead,
  untilLine,
} from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

/** Few, because wireguard-go drops what it has no turn for while bursts and starts want the machine. */
const perSecond = 200
const patience = guest ? 240 : 30
/** Loaded before the agent: SIGUSR2 is an error that nobody catches. */
const mistake = "data:text/javascript,process.on('SIGUSR2',()=>{throw%20new%20Error('a%20mistake')})"

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, leftHost, rightHost } = await makePair(directory)
  let serial = 1
  const news = async (): Promise<'a' | 'b'> => {
    const state = ++serial % 2 === 0 ? 'a' : 'b'
    await publish(lab.registry, paperGateway(state, serial))
    return state
  }
  const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })

  await t.test('being killed at work is no crash', async (t) => {
    for (let i = 0; i < 7; i++) {
      await left.stop('SIGKILL')
      await startSettled(left)
      t.notMatch(left.log, /crash-loop/, `start ${i + 1}`)
    }
    await left.stop()
  })

  await t.test('errors at work count: the fourth start waits', async (t) => {
    const before = dump(left.machine)
    for (let i = 0; i < 3; i++) {
      await startSettled(left, { NODE_OPTIONS: `--import=${mistake}` })
      t.notMatch(left.log, /crash-loop/, `start ${i + 1} does not wait`)
      left.signal('SIGUSR2')
      await untilDead(left)
      t.match(left.log, /a mistake/, 'and ends by an error')
      t.equal(await left.stop(), 1, 'exit code')
    }
    await startSettled(left)
    t.match(left.log, /crash-loop crashes=3 waitMs=1000 hold=false/)
    t.strictSame(dumpDiff(before, dump(left.machine)), [], 'the kernel is as it was')
    t.equal(await left.stop(), 0, 'a stop by hand')
  })

  await t.test('six deaths before the first audit: the seventh start writes nothing', async (t) => {
    for (let crashes = 0; crashes < 6; crashes++) {
      await news()
      left.log = ''
      startWith(left, { FAILPOINT_KILL: '1' })
      await untilDead(left, patience)
      t.notMatch(left.log, /first-audit/, 'it died before')
      const waits = /crash-loop crashes=(\d) waitMs=(\d+) hold=(\w+)/.exec(left.log)?.slice(1)
      t.strictSame(
        waits,
        crashes < 3 ? undefined : [String(crashes), String(1000 * 2 ** (crashes - 3)), 'false'],
        `start after ${crashes}`,
      )
    }
    const before = dump(left.machine)
    await news()
    left.log = ''
    left.start()
    await left.untilLogged('crash-loop crashes=6 waitMs=8000 hold=true', patience)
    await left.untilLogged('first-audit', patience)
    t.match(left.log, /first-audit .* failures=[1-9]/, 'there would be something to write')
    await news()
    await left.untilLogged('pass shares', patience)
    t.strictSame(dumpDiff(before, dump(left.machine)), [], 'nothing was written')
    const status = await left.status()
    t.equal(status?.health, 'degraded')
    t.match(
      JSON.stringify(status?.failures),
      /held back: the agent crashed 6 times in a row/,
      'status says so',
    )
    const { stdout } = left.cli('status')
    t.match(stdout, /held back: the agent crashed 6 times in a row/, 'to people, too')
    t.match(stdout, /systemctl restart linkspan/, 'and what to do')
  })

  await t.test('killed while it is held back, it is held again', async (t) => {
    const before = dump(left.machine)
    await left.stop('SIGKILL')
    left.log = ''
    left.start()
    await left.untilLogged('hold=true', patience)
    t.strictSame(dumpDiff(before, dump(left.machine)), [])
  })

  await t.test('a stop by hand and a new start: it works again', async (t) => {
    t.equal(await left.stop(), 0)
    const state = await news()
    await startSettled(left)
    t.notMatch(left.log, /crash-loop/)
    const through = { a: /^route4.*10\.51\.0\.0\/16/, b: /^route4.*10\.52\.0\.0\/16/ }
    await untilLine(left.machine, through[state])
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent} since the first death, longest gap ${gapMs} ms`)
  })

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})
