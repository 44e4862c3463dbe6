/**
 * A hook of the service: the program for AWS, from /etc/linkspan/hooks, in the sandbox of the unit. It asks the metadata
 * service at its own address and EC2, keeps what it made in the state directory, may write nowhere else, and ends with the
 * service.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { metadataAddress } from '../../agent/cloud/metadata-http.ts'
import { ip, run } from '../support/command.ts'
import { FakeEc2, own, table } from '../support/fake-ec2.ts'
import { paperGateway, publish } from '../support/fault.ts'
import { serve } from '../support/hook-program.ts'
import {
  certify,
  inGuest,
  install,
  makeLinks,
  property,
  registry,
  status,
  until,
} from '../support/service.ts'

const program = '/etc/linkspan/hooks/site-active'
const real = '/usr/lib/linkspan-node /usr/lib/linkspan/dist/agent/hook/aws-route-table.js'
const led = `networkInterfaceId ${own} CreateRoute`

if (!inGuest) {
  t.pass('service-hook', { skip: 'runs in the guest with systemd: scripts/vm --systemd --suite vm' })
} else {
  t.setTimeout(0)
  install()
  makeLinks()
  ip(`address replace ${metadataAddress}/32 dev lo`)
  const cloud = new FakeEc2()
  const answer = (asked: Parameters<FakeEc2['answer']>[0]) => cloud.answer(asked)
  const ec2 = await serve(t, answer)
  const metadata = await serve(t, answer, { host: metadataAddress, port: 80 })
  for (const folder of ['hooks', 'hooks.d']) mkdirSync(`/etc/linkspan/${folder}`, { recursive: true })
  const hook = (lines: readonly string[]): void => {
    writeFileSync(program, `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 })
  }
  writeFileSync('/etc/linkspan/hooks.d/aws-route-table.yml', `tables: [${table}]\nendpoint: ${ec2.url}\n`)
  appendFileSync('/etc/linkspan/config.yml', `hooks: { site-active: ${program} }\n`)

  await t.test('it leads the routes of the VPC here', async (t) => {
    hook([
      'touch /etc/written /usr/lib/written /boot/written /root/written 2>/dev/null',
      'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status >/var/lib/linkspan/hook-status',
      `exec ${real}`,
    ])
    run('systemctl', 'start', 'linkspan')
    await certify('gw-1')
    await publish(registry, paperGateway('a', 2))
    await until('its routes', () => cloud.routes.get('fd00:50::/48') === led)
    t.equal(cloud.routes.get('10.50.0.0/15'), led, 'two neighbours in one')
    await until('what it said', async () => (await status())?.siteSide?.hook?.last?.outcome === 'ok')
    t.ok(metadata.asked.length > 0, 'by the metadata service at its own address')
    t.match((await status())?.siteSide?.hook?.last?.said, /^2 routes in 1 tables to eni-/)
    t.equal(statSync('/var/lib/linkspan/hooks/aws-route-table.json').mode & 0o777, 0o600, 'what it made')
    for (const written of ['/etc', '/usr/lib', '/boot', '/root']) {
      t.notOk(existsSync(`${written}/written`), `${written} is not its to write`)
    }
    t.equal(readFileSync('/var/lib/linkspan/hook-status', 'utf8'), 'NoNewPrivs:\t1\nSeccomp:\t2\n')
  })

  await t.test('what is wanted no more goes, by what was kept over a restart', async (t) => {
    run('systemctl', 'restart', 'linkspan')
    await publish(registry, paperGateway('a', 3, { prefixes: ['10.50.0.0/16'] }))
    await until(
      'the rest',
      () => cloud.routes.get('10.50.0.0/16') === led && !cloud.routes.has('10.50.0.0/15'),
    )
    await until('IPv6, too', () => !cloud.routes.has('fd00:50::/48'))
    t.same([...cloud.routes.keys()], ['10.1.0.0/16', '10.50.0.0/16'])
  })

  await t.test('one that never ends, ends with the service', async (t) => {
    hook(['echo $$ >/run/linkspan/hook-pid', 'exec sleep 100000'])
    run('systemctl', 'restart', 'linkspan')
    await until('it runs', () => existsSync('/run/linkspan/hook-pid'))
    await pause(500)
    const pid = readFileSync('/run/linkspan/hook-pid', 'utf8').trim()
    t.ok(existsSync(`/proc/${pid}`))
    run('systemctl', 'stop', 'linkspan')
    t.equal(property('Result'), 'success')
    await until('its end', () => !existsSync(`/proc/${pid}`), 30)
    t.notOk(existsSync(`/proc/${pid}`))
  })
}
