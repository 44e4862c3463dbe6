/**
 * Cloud-init: a gateway boots with config.yml and the key of a voucher, and is a peer with nobody at hand. What it has holds
 * over a restart without a registry; who has the same key and comes later gets nothing; the operator can end it.
 */
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan, wanFabric } from '../support/lab.ts'

const seconds = guest ? 120 : 40

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const join = (name: string, n: number, at: number): Promise<Gateway> => {
    const underlays = { eth0: { underlay: 'wan', addresses: [`192.0.2.${at}/24`] } }
    return lab.gateway(name, {
      ...sitePlan(n),
      underlays,
      config: [`endpoints: [ { underlay: wan, address: 192.0.2.${at} } ]`],
    })
  }
  const first = await join('gw-1', 1, 1)
  await lab.writeFabric(wanFabric)
  await lab.enrol()
  const until = async (of: Gateway, what: string, holds: (status: Status) => boolean): Promise<Status> => {
    let status: Status | undefined
    for (let i = 0; i < seconds * 10; i++) {
      status = await of.status().catch(() => undefined)
      if (status !== undefined && holds(status)) return status
      await pause(100)
    }
    throw new Error(`not within ${seconds} s: ${what}\n${JSON.stringify(status, undefined, 1)}\n${of.log}`)
  }
  const hosts = [await lab.siteHost(1), await lab.siteHost(2)] as const
  const flows = async (): Promise<boolean> => {
    for (let i = 0; i < seconds * 10; i++) {
      if (hosts[0].pings('10.2.0.10') && hosts[1].pings('10.1.0.10')) return true
      await pause(100)
    }
    return false
  }
  const secret = path.join(directory, 'gw-2.voucher')
  const second = await join('gw-2', 2, 2)
  const give = (gateway: Gateway): void => {
    const file = gateway.machine.path('/etc/linkspan/voucher')
    copyFileSync(secret, file)
  }

  await t.test('a gateway that comes with a voucher needs nobody', async (t) => {
    const told = await lab.ca(
      'voucher',
      'gw-2',
      ...['--site', 'site-2', '--prefix', '10.2.0.0/16', '--prefix', 'fd00:2::/48', '--out', secret],
    )
    t.match(told, /gateway gw-2, number 2, site site-2, plane 0/)
    t.equal(statSync(secret).mode & 0o777, 0o600)
    const key = readFileSync(secret, 'latin1').split('\n')[1] ?? ''
    t.ok(key.length > 40)
    t.notOk(told.includes(key), 'the key goes into its file and nowhere else')
    give(second)
    second.start()
    t.ok(await flows(), 'traffic flows')
    t.notOk(existsSync(path.join(lab.registry, 'certificates', 'gw-2.jws')), 'and nobody certified it')
    t.same(readdirSync(path.join(lab.registry, 'claims')), ['gw-2.jws'])
    const status = await until(second, 'one peer', ({ peers }) => peers.length === 1)
    t.same(status.refusals, [])
    await second.untilLogged('voucher-used')
    t.notOk(second.log.includes(key))
    t.ok(
      existsSync(second.machine.path('/etc/linkspan/voucher')),
      'what the operator put there he takes away',
    )
  })

  await t.test('it holds over a restart of both with no registry', async (t) => {
    for (const gateway of [first, second]) await gateway.stop()
    renameSync(lab.registry, `${lab.registry}.away`)
    for (const gateway of [first, second]) gateway.start()
    for (const gateway of [first, second]) await until(gateway, 'its peer', ({ peers }) => peers.length === 1)
    t.ok(await flows())
    renameSync(`${lab.registry}.away`, lab.registry)
    await until(first, 'the registry', ({ registry }) => registry.unreadable.length === 0)
  })

  await t.test('who comes later with the same key gets nothing, and takes nobody out', async (t) => {
    const good = readFileSync(path.join(lab.registry, 'claims', 'gw-2.jws'))
    const copy = await join('gw-copy', 3, 3)
    const config = readFileSync(copy.machine.path('/etc/linkspan/config.yml'), 'utf8')
    copy.configure([config.replace('gateway: gw-copy', 'gateway: gw-2')])
    give(copy)
    copy.start()
    await copy.untilLogged('identity-mismatch')
    t.same(readFileSync(path.join(lab.registry, 'claims', 'gw-2.jws')), good, 'it does not even try')
    await copy.stop()

    // One that comes to a registry that hides the first claim tries; it is known all the same.
    const claim = path.join(lab.registry, 'claims', 'gw-2.jws')
    const away = path.join(directory, 'claim')
    const record = path.join(lab.registry, 'records', 'gw-2.jws')
    const goodRecord = readFileSync(record)
    renameSync(claim, away)
    const state = copy.machine.path('/var/lib/linkspan')
    renameSync(`${state}/known`, `${state}/known.before`)
    copy.start()
    for (let i = 0; i < seconds * 10 && !existsSync(claim); i++) await pause(100)
    await until(first, 'the refusal', ({ refusals }) =>
      refusals.some(({ rule }) => rule === 'claim-conflict'),
    )
    await copy.stop()
    t.match(first.log, /document-refused.*claim-conflict/)
    t.ok(await flows(), 'the first one goes on')
    // It believes itself certified, and may have put its own record there.
    writeFileSync(record, goodRecord)
    writeFileSync(claim, good)
    await until(first, 'all is well', ({ refusals }) => refusals.length === 0)
  })

  await t.test('the operator confirms it, and ends it', async (t) => {
    // The one that came later asked, too, in the same name: which of them is meant has to be said.
    const { identity } = JSON.parse(second.cli('keys', 'show', '--json').stdout) as { identity: string }
    const told = await lab.ca('issue', 'gw-2', '--identity', identity)
    t.match(told, /gateway gw-2, number 2, site site-2, plane 0, prefixes 10\.2\.0\.0\/16, fd00:2::\/48/)
    await until(second, 'its certificate', ({ refusals }) => refusals.length === 0)
    t.ok(await flows())
    await lab.ca('revoke', 'gw-2')
    await until(first, 'no peer', ({ peers }) => peers.length === 0)
    t.notOk(hosts[0].pings('10.2.0.10'))
  })
  await lab.end()
})
