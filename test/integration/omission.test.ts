/**
 * Restarts while the registry is incomplete: a record half written, a certificate or record gone, both gone. Omission is not
 * deletion: what was set up stays and carries traffic, and `status` says whose documents are missing. That is so for an
 * agent that knows from an earlier run what was in force, and for one that lost that, too. Who was removed goes.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { documentPath } from '../../agent/registry/file.ts'
import { signed } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, paperGateway, publish, untilDump, untilLine } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { wanFabric } from '../support/lab.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

await isolated(import.meta.url, async (directory) => {
  const { lab, left, leftHost, rightHost } = await makePair(directory)
  await leftHost.reaches('10.2.0.10')
  const whole = dump(left.machine)
  const certificate = path.join(lab.registry, 'certificates', 'gw-2.jws')
  const record = path.join(lab.registry, 'records', 'gw-2.jws')
  const bytes = new Map([certificate, record].map((file) => [file, readFileSync(file)]))
  const put = (file: string, content: Buffer): void => {
    writeFileSync(`${file}.tmp`, content)
    renameSync(`${file}.tmp`, file)
  }

  for (const [what, damage] of [
    [
      'half a record',
      () => {
        writeFileSync(record, bytes.get(record)?.subarray(0, 200) ?? '')
      },
    ],
    [
      'no record',
      () => {
        rmSync(record)
      },
    ],
    [
      'no certificate',
      () => {
        rmSync(certificate)
      },
    ],
    [
      'neither',
      () => {
        rmSync(record)
        rmSync(certificate)
      },
    ],
  ] as const) {
    for (const forgets of [false, true]) {
      const who = forgets ? 'an agent that forgot all' : 'an agent'
      await t.test(`${who} that finds ${what} of a peer at its start loses no packet`, async (t) => {
        const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: 200 })
        await left.stop('SIGKILL')
        damage()
        if (forgets) left.machine.run('rm', '-r', '/var/lib/linkspan/known')
        left.log = ''
        left.start()
        await left.untilLogged('first-audit', guest ? 120 : 30)
        await pause(2500) // half-written files are read again for 1.3 s, and then are refused
        const { sent, lost } = await meter.stop()
        t.equal(lost, 0, `lost of ${sent}`)
        t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
        const { status, stdout } = left.cli('status')
        // What is in force and no longer there is news; what nobody knows, or cannot be read, is a fault.
        t.equal(status, forgets || what === 'half a record' ? 3 : 0)
        const said =
          what === 'half a record' ? /gw-2\.jws: refused: / : /gw-2.*: gone from the registry since /
        t.match(stdout, forgets ? /gateway gw-2: / : said, 'it says whose')
        left.log = ''
        for (const [file, content] of bytes) put(file, content)
        await left.untilUp(1)
        for (let i = 0; i < 900 && (await left.status())?.health !== 'ok'; i++) await pause(50)
        t.equal((await left.status())?.health, 'ok', `all well when it is back: ${left.cli('status').stdout}`)
        t.notMatch(left.log, /op-failed/, 'it is found as it was left')
        t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'and nothing was written')
      })
    }
  }

  await t.test('a gateway that was removed goes, though another one is missing', async (t) => {
    const paper = paperGateway('a', 1)
    await publish(lab.registry, paper)
    await untilLine(left.machine, /^wg\tpeer .*100\.127\.0\.50\/32/)
    await pause(1000) // the guards and the list of groups come after
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: 200 })
    await left.stop('SIGKILL')
    rmSync(record)
    for (const document of paper) rmSync(documentPath(lab.registry, signed(document)))
    left.machine.run('rm', '-r', '/var/lib/linkspan/known') // else none is missing
    await lab.writeFabric([...wanFabric, 'removed: [ g50 ]'])
    left.log = ''
    left.start()
    await left.untilLogged('first-audit', guest ? 120 : 30)
    const peers = left.machine.run('wg', 'show', 'all', 'allowed-ips')
    t.notMatch(peers, '100.127.0.50/32', 'it has no peer')
    t.match(peers, '10.2.0.0/16', 'the missing one has')
    const { sent, lost } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}`)
    for (const [file, content] of bytes) put(file, content)
    t.strictSame(
      await untilDump(left.machine, whole, guest ? 60_000 : 20_000),
      [],
      'and in the end nothing of it is left',
    )
  })
})
