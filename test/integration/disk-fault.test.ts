/**
 * Fault 59 for a whole agent: the disk that holds its state answers EIO, or is full. It goes on carrying traffic and following
 * the registry, says what is wrong, keeps what it could not keep when the disk is there again, and takes nothing unreadable
 * for something that is not there.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { dump } from '../support/dump.ts'
import { guest, paperGateway, publish, startWith, untilDump, untilLine } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

const perSecond = guest ? 200 : 500
const patienceMs = guest ? 120_000 : 20_000
const state = '/var/lib/linkspan'
/** Made by scripts/build. */
const preload = fileURLToPath(new URL('../../../native/build/disk-preload', import.meta.url))
/** errno(3). */
const [EIO, ENOSPC] = [5, 28]

/** A route of ours in the dump. */
function through(prefix: string): RegExp {
  return new RegExp(`^route[46]\t1 ${prefix.replaceAll('.', '\\.')} .*table 19539`)
}

await isolated(import.meta.url, async (directory) => {
  const { lab, left, right, leftHost, rightHost } = await makePair(directory)
  const gateway = left.machine
  const fault = path.join(directory, 'disk')
  /** `w` to write, `s` to make durable, `r` to read; '': it works. In one piece, since it is read at any moment. */
  const disk = (kinds: string, errno = EIO): void => {
    writeFileSync(`${fault}.new`, kinds === '' ? '' : `${kinds} ${errno}`)
    renameSync(`${fault}.new`, fault)
  }
  const start = (): void => {
    left.log = ''
    startWith(left, { LD_PRELOAD: preload, LINKSPAN_TEST_DISK: fault, LINKSPAN_TEST_DISK_BELOW: `${state}/` })
  }
  let serial = 1
  const news = (third: number): Promise<void> =>
    publish(lab.registry, paperGateway('a', ++serial, { prefixes: [`10.${third}.0.0/16`] }))
  const until = async (isSo: () => boolean): Promise<boolean> => {
    for (const began = performance.now(); performance.now() - began < patienceMs;) {
      if (isSo()) return true
      await pause(100)
    }
    return isSo()
  }

  disk('')
  await left.stop()
  start()
  await left.untilUp(1)

  for (const [what, kinds, errno] of [
    ['writes answer EIO', 'w', EIO],
    ['nothing can be made durable', 's', EIO],
    ['it is full', 'w', ENOSPC],
    ['nothing can be written or read', 'wsr', EIO],
  ] as const) {
    await t.test(what, async (t) => {
      const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
      const from = left.log.length
      disk(kinds, errno)
      const third = serial % 2 === 0 ? 51 : 52
      await news(third)
      await untilLine(gateway, through(`10.${third}.0.0/16`))
      t.pass('news reach the kernel all the same')
      t.ok(
        await until(() => left.log.slice(from).includes('documents-not-kept')),
        `it says so: ${left.log.slice(from)}`,
      )
      gateway.ip('route del 100.127.0.50 table 19539')
      await untilLine(gateway, through('100.127.0.50'))
      t.pass('damage is repaired')
      t.match(
        left.cli('status').stdout,
        /last-known-good store: .*\n +next: .*see to its disk/,
        '`status` too',
      )
      disk('')
      t.ok(await until(() => left.log.slice(from).includes('documents-kept')), 'by itself, without any news')
      t.equal((await left.untilUp(1)).failures.length, 0)
      const { sent, lost } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}`)
    })
  }

  await t.test('what it could not keep at once is enough for a start without a registry', async (t) => {
    const whole = dump(gateway)
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
    await left.stop()
    renameSync(lab.registry, `${lab.registry}.gone`)
    start()
    await left.untilLogged('first-audit', guest ? 120 : 30)
    t.strictSame(await untilDump(gateway, whole, patienceMs), [])
    renameSync(`${lab.registry}.gone`, lab.registry)
    const { sent, lost } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}`)
  })

  await t.test(
    'it cannot be read at a start: no new keys, nothing is touched, and the next start is as ever',
    async (t) => {
      await left.untilUp(1)
      const whole = dump(gateway)
      const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond })
      const identity = (): string => readFileSync(gateway.path(`${state}/keys/identity.pem`), 'latin1')
      const before = identity()
      await left.stop()
      disk('r')
      start()
      t.ok(await until(() => !left.running), 'it ends, for the service manager to start it again')
      t.match(left.log, /identity\.pem: cannot be used: EIO/)
      t.ok(identity() === before, 'the identity is what it was')
      t.strictSame(await untilDump(gateway, whole, patienceMs), [], 'the kernel, too')
      disk('')
      start()
      await left.untilUp(1)
      t.strictSame(await untilDump(gateway, whole, patienceMs), [])
      const { sent, lost } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}`)
    },
  )

  for (const each of [left, right]) await each.stop()
})
