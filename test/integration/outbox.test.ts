/**
 * A gateway behind an `https:` registry, from its first start to traffic: it can write nothing there, so what it says lies in
 * its outbox, and the operator carries it to where the bundle is made.
 */
import { copyFileSync, existsSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { ip } from '../support/command.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { HttpsServer, say } from '../support/https-server.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, sitePlan, wanFabric } from '../support/lab.ts'

const seconds = guest ? 180 : 90

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  ip('address add 192.0.2.254/24 dev wan')
  const tls = await CertificateAuthority.create(directory, 'tls')
  const leaf = await tls.issue({ name: 'leaf', hosts: ['192.0.2.254'] })
  const server = await HttpsServer.start(leaf, { host: '192.0.2.254' })
  const join = (n: number): Promise<Gateway> =>
    lab.gateway(`gw-${n}`, {
      ...sitePlan(n),
      underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] } },
      config: [`endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`],
    })
  const first = await join(1)
  await lab.writeFabric(wanFabric)
  await lab.enrol()
  const url = server.url('/lab', '192.0.2.254')
  const registry = `registry: { url: "${url}", ca: ${tls.pair.certificateFile} }`
  const joinBehind = async (n: number): Promise<Gateway> => {
    const gateway = await join(n)
    const config = readFileSync(gateway.machine.path('/etc/linkspan/config.yml'), 'utf8')
    gateway.configure([config.replace(/^registry:.*$/m, registry)])
    return gateway
  }
  const second = await joinBehind(2)
  const hosts = [await lab.siteHost(1), await lab.siteHost(2)] as const

  const bundle = path.join(directory, 'bundle')
  const publish = (): void => {
    lab.must('registry', 'bundle', bundle, '--registry', lab.registry)
    server.conduct = say(200, readFileSync(bundle))
  }
  const until = async (
    what: string,
    holds: (status: Status) => boolean,
    of: Gateway = second,
  ): Promise<Status> => {
    let status: Status | undefined
    for (let i = 0; i < seconds * 5; i++) {
      status = await of.status().catch(() => undefined)
      if (status !== undefined && holds(status)) return status
      await pause(200)
    }
    throw new Error(`not within ${seconds} s: ${what}\n${JSON.stringify(status, undefined, 1)}\n${of.log}`)
  }
  const outbox = second.machine.path('/var/lib/linkspan/outbox')
  const request = path.join(outbox, 'requests', 'gw-2.jws')
  const record = path.join(outbox, 'records', 'gw-2.jws')

  await t.test('keys request prints what a gateway asks before it could ask', async (t) => {
    second.start()
    await second.untilLogged('started', seconds)
    const { status, stdout } = second.cli('keys', 'request')
    t.equal(status, 0)
    t.match(stdout, /^\S+\n$/, 'one line')
    t.notOk(existsSync(request), 'nothing is said before the registry was read')
    publish()
    await until('a request', ({ registry }) => registry.outbox?.document === 'request')
    t.equal(statSync(request).mode & 0o777, 0o644)
    t.equal(second.cli('keys', 'request').stdout, readFileSync(request, 'utf8'))
    t.match(second.log, /outbox.*linkspan ca issue \/var\/lib\/linkspan\/outbox\/requests\/gw-2\.jws/)
    const text = second.cli('status').stdout
    t.match(text, /^outbox \/var\/lib\/linkspan\/outbox\/requests\/gw-2\.jws: not in the registry yet$/m)
  })

  await t.test('certified by hand, it lays its record down', async (t) => {
    await lab.ca('issue', request)
    publish()
    await until('a record', ({ registry }) => registry.outbox?.document === 'record')
    const laid = readFileSync(record)
    await second.stop()
    second.start()
    await until('the record again', ({ registry }) => registry.outbox?.document === 'record')
    t.strictSame(readFileSync(record), laid, 'the same over a restart')
    lab.must('registry', 'put', record, '--registry', lab.registry)
    publish()
    const { refusals } = await until(
      'a tunnel',
      ({ registry, peers }) => registry.outbox === undefined && peers.some(({ state }) => state === 'up'),
    )
    t.same(refusals, [])
    await first.untilUp(1, seconds)
    t.ok(hosts[0].pings('10.2.0.10') && hosts[1].pings('10.1.0.10'), 'traffic flows')
    t.strictSame(readFileSync(record), laid, 'and nothing more is written')
    t.notMatch(second.cli('status').stdout, /outbox/)
  })

  await t.test('one with a voucher lays its claim down', async (t) => {
    const secret = path.join(directory, 'gw-3.voucher')
    await lab.ca('voucher', 'gw-3', '--site', 'site-3', '--prefix', '10.3.0.0/16', '--out', secret)
    publish()
    const third = await joinBehind(3)
    copyFileSync(secret, third.machine.path('/etc/linkspan/voucher'))
    third.start()
    await until('a claim', ({ registry }) => registry.outbox?.document === 'claim', third)
    const laid = third.machine.path('/var/lib/linkspan/outbox')
    lab.must('registry', 'put', path.join(laid, 'claims', 'gw-3.jws'), '--registry', lab.registry)
    publish()
    await until('its record', ({ registry }) => registry.outbox?.document === 'record', third)
    lab.must('registry', 'put', path.join(laid, 'records', 'gw-3.jws'), '--registry', lab.registry)
    publish()
    await until('all is said', ({ registry }) => registry.outbox === undefined, third)
    t.notOk(existsSync(path.join(laid, 'requests')), 'it never asked')
  })
  await server.close()
  await lab.end()
})
