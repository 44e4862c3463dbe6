/**
 * The service under systemd, on the guest's own network: ready, in words, stopped without harm, begun anew by the watchdog,
 * taken down; and systemd-networkd beside it, which deletes what it did not make unless our drop-in tells it not to.
 *
 * Runs only in the guest (scripts/vm --systemd), whose disk forgets everything.
 */
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { ip, run } from '../support/command.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { paperGateway, publish } from '../support/fault.ts'
import {
  certify,
  cli,
  here,
  inGuest,
  install,
  makeLinks,
  packaging,
  property,
  registry,
  until,
} from '../support/service.ts'

const dropIn = '/usr/lib/systemd/networkd.conf.d/50-linkspan.conf'

if (!inGuest) {
  t.pass('service', { skip: 'runs in the guest with systemd: scripts/vm --systemd --suite vm' })
} else {
  t.setTimeout(0)
  install()
  makeLinks()
  const untouched = dump(here)
  let whole: readonly string[] = []

  await t.test('it is ready as soon as it works, and says in words what it waits for', async (t) => {
    run('systemctl', 'start', 'linkspan') // returns with READY=1
    t.equal(property('ActiveState'), 'active')
    await until('what it waits for', () => property('StatusText').includes('no certificate yet'))
    t.match(property('StatusText'), /linkspan ca issue gw-1/)
    await certify('gw-1')
    await publish(registry, paperGateway('a', 2))
    await until('its links', () => dump(here).some((line) => /^route4.*10\.51\.0\.0\/16/.test(line)))
    await until('how many tunnels there are', () => property('StatusText').includes('0/1 tunnels up'))
    await pause(1000)
    whole = dump(here)
    t.match(whole.join('\n'), /link\tls-wg0: .* wireguard /, 'kernel WireGuard')
    const { status, stdout } = cli('status', '--json')
    const { isService, dataPlane, failures } = JSON.parse(stdout) as Record<string, unknown>
    t.equal(status, 3, 'its peer does not answer')
    t.strictSame({ isService, dataPlane, failures }, { isService: true, dataPlane: 'kernel', failures: [] })
  })

  await t.test('stop and start change nothing', async (t) => {
    run('systemctl', 'stop', 'linkspan')
    t.equal(property('Result'), 'success')
    t.strictSame(dumpDiff(whole, dump(here)), [], 'stopped')
    run('systemctl', 'start', 'linkspan')
    await pause(3000)
    t.strictSame(dumpDiff(whole, dump(here)), [], 'started')
  })

  await t.test('an agent that hangs is begun anew by the watchdog', async (t) => {
    const pid = property('MainPID')
    process.kill(Number(pid), 'SIGSTOP')
    await until('a restart', () => property('NRestarts') === '1' && property('ActiveState') === 'active')
    t.not(property('MainPID'), pid)
    await pause(3000)
    t.strictSame(dumpDiff(whole, dump(here)), [], 'the kernel state is the same')
  })

  await t.test(
    'before the machine goes down it drains, and at a restart of the agent it does not',
    async (t) => {
      const isDraining = (): boolean => existsSync('/run/linkspan/draining')
      run('systemctl', 'start', 'linkspan-drain')
      run('systemctl', 'restart', 'linkspan')
      t.notOk(isDraining())
      const orderOf = run('systemctl', 'show', '--value', '-p', 'After', '-p', 'Conflicts', 'linkspan-drain')
      for (const after of ['linkspan.service', 'network.target', 'shutdown.target']) {
        t.ok(orderOf.split(/\s+/).includes(after), after)
      }
      // As at a shutdown, which stops it before what it comes after.
      const beganAt = performance.now()
      run('systemctl', 'stop', 'linkspan-drain')
      const result = run('systemctl', 'show', '--value', '-p', 'Result', 'linkspan-drain').trim()
      t.equal(result, 'success', `${Math.round((performance.now() - beganAt) / 1000)} s`)
      t.ok(isDraining())
      run('systemctl', 'start', 'linkspan-drain')
      t.notOk(isDraining(), 'back in service')
      run('systemctl', 'stop', 'linkspan') // no agent: nobody to ask, and no failure
      run('systemctl', 'stop', 'linkspan-drain')
      run('systemctl', 'start', 'linkspan')
      await pause(3000)
      t.strictSame(dumpDiff(whole, dump(here)), [], 'the kernel state is the same')
    },
  )

  await t.test('systemd-networkd leaves our routes and rules alone, by our drop-in', async (t) => {
    if (!existsSync('/lib/systemd/systemd-networkd')) {
      t.pass('networkd', { skip: 'systemd-networkd is not installed' })
      return
    }
    run('systemctl', 'stop', 'linkspan') // it would repair what networkd deletes
    writeFileSync(
      '/etc/systemd/network/50-test.network',
      '[Match]\nName=netd*\n[Network]\nAddress=198.18.9.1/24\n',
    )
    // Without udev networkd waits for ever for a link to be initialised; with /sys read-only it knows that there is none.
    run('mount', '-o', 'remount,ro', '/sys')
    t.teardown(() => run('mount', '-o', 'remount,rw', '/sys'))
    const ours = (lines: readonly string[]): readonly string[] =>
      lines.filter((line) => /proto 76|^nexthop|ls-wg/.test(line))
    const meet = async (n: number): Promise<readonly string[]> => {
      run('systemctl', 'restart', 'systemd-networkd')
      ip(`link add name netd${n} type dummy`)
      await until(`netd${n} is managed`, () =>
        run('ip', 'address', 'show', 'dev', `netd${n}`).includes('198.18.9.1'),
      )
      await pause(2000)
      return dumpDiff(ours(whole), ours(dump(here)))
    }
    mkdirSync(path.dirname(dropIn), { recursive: true })
    copyFileSync(path.join(packaging, 'networkd.conf.d/50-linkspan.conf'), dropIn)
    t.strictSame(await meet(0), [], 'with it')
    rmSync(dropIn)
    t.not((await meet(1)).length, 0, 'control: without it, some go')
    run('systemctl', 'stop', 'systemd-networkd', 'systemd-networkd.socket')
    for (const link of ['netd0', 'netd1']) ip(`link del dev ${link}`)
    run('systemctl', 'start', 'linkspan')
    await until('the repair', () => dumpDiff(ours(whole), ours(dump(here))).length === 0)
  })

  await t.test('down stops the service and removes all of ours', (t) => {
    const { status, stderr } = cli('down')
    t.equal(status, 0, stderr)
    t.equal(property('ActiveState'), 'inactive', 'systemd does not begin it anew')
    t.strictSame(dumpDiff(untouched, dump(here)), [])
    t.end()
  })
}
