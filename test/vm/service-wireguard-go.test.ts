/**
 * The service where the kernel has no WireGuard: wireguard-go keeps the sandbox of the unit and leaves its cgroup, so that
 * nothing that happens to the service touches it or the traffic through it. At the other end is an agent that is no service.
 *
 * Runs only in the guest (scripts/vm --systemd), whose disk forgets everything.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { ip, run } from '../support/command.ts'
import { authority } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { paperGateway, publish } from '../support/fault.ts'
import { Gateway } from '../support/gateway.ts'
import { Pings } from '../support/ping.ts'
import {
  certify,
  cli,
  here,
  inGuest,
  install,
  property,
  registry,
  status,
  until,
} from '../support/service.ts'

const socket = '/run/wireguard/ls-wg0.sock'
const hideModule = '/etc/modprobe.d/linkspan-test.conf'
const through = '10.2.0.1'

/** The tunnel's process on this host: the machines of the guest share process numbers, not the network. */
function tunnel(): number | undefined {
  const found = spawnSync('pgrep', ['-f', '(^|/)wireguard-go ls-wg0$'], { encoding: 'utf8' }).stdout
  return found.trim().split('\n').map(Number).find(isOnThisHost)
}

function isOnThisHost(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')
  } catch {
    return false // it has just ended
  }
}

async function isWell(): Promise<boolean> {
  return (await status())?.health === 'ok'
}

/** What a process may: the lines of its status that say so. */
function rightsOf(pid: number | string): readonly string[] {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return lines.filter((line) => /^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Uid|Gid):/.test(line))
}

function pings(): boolean {
  return spawnSync('ping', ['-c', '1', '-W', '2', through]).status === 0
}

if (!inGuest) {
  t.pass('service', { skip: 'runs in the guest with systemd: scripts/vm --systemd --suite vm' })
} else {
  t.setTimeout(0)
  install()
  spawnSync('modprobe', ['-r', 'wireguard'])
  mkdirSync('/etc/modprobe.d', { recursive: true })
  writeFileSync(hideModule, 'install wireguard /bin/false\n')
  const far = await Gateway.make('gw-2')
  t.teardown(async () => {
    await far.stop()
    far.cli('down')
    far.machine.end()
    rmSync(hideModule)
  })
  ip(`link add name wan0 type veth peer name wan0 netns ${far.machine.pid}`)
  for (const [n, machine] of [here, far.machine].entries()) {
    for (const line of [
      `address add 192.0.2.${n + 1}/24 dev wan0`,
      'link set dev wan0 up',
      'link add name site0 type dummy',
      `address add 10.${n + 1}.0.1/24 dev site0`,
      'link set dev site0 up',
    ]) {
      machine.run('ip', ...line.split(' '))
    }
  }
  far.configure([
    'fabric: lab',
    `authority: ${authority}`,
    'site: site-2',
    'gateway: gw-2',
    `registry: file://${registry}`,
    'prefixes: [ 10.2.0.0/16 ]',
    'endpoints: [ { underlay: wan, address: 192.0.2.2 } ]',
  ])
  await until('addresses that stay', () => run('ip', 'address', 'show', 'tentative') === '')
  const untouched = dump(here)
  let whole: readonly string[] = []
  let pid = 0

  await t.test('it makes its tunnel by wireguard-go, and says so', async (t) => {
    run('systemctl', 'start', 'linkspan')
    far.start()
    await certify('gw-1')
    await certify('gw-2')
    await until('traffic', pings)
    t.notMatch(run('lsmod'), /^wireguard /m, 'the kernel has none')
    await until('a first audit', isWell)
    t.match(await status(), { isService: true, dataPlane: 'wireguard-go', failures: [], conflicts: [] })
    t.match(cli('status').stdout, /ATTENTION: this kernel has no WireGuard/)
    pid = tunnel() ?? 0
    t.not(pid, 0)
    whole = dump(here)
    t.match(whole.join('\n'), /link\tls-wg0: .* tun /)
  })

  await t.test('its process lives outside the service, and may do what the service may', (t) => {
    const main = property('MainPID')
    t.match(readFileSync(`/proc/${main}/cgroup`, 'utf8'), /\/linkspan\.service$/m)
    t.match(
      readFileSync(`/proc/${pid}/cgroup`, 'utf8'),
      /^0::\/system\.slice\/linkspan-ls-wg0-[0-9-]+\.scope$/m,
    )
    t.strictSame(rightsOf(pid), rightsOf(main))
    t.match(rightsOf(pid).join(' '), /NoNewPrivs:\t1 Seccomp:\t2/)
    const { mode, uid } = statSync(socket)
    t.same([mode & 0o077, uid], [0, 0], 'its socket is for root alone')
    t.end()
  })

  await t.test('stop, start, kill and the watchdog: the same process, and no packet is lost', async (t) => {
    const stream = new Pings(here, through)
    const unchanged = (what: string): void => {
      t.equal(tunnel(), pid, what)
      t.strictSame(dumpDiff(whole, dump(here)), [], what)
    }
    run('systemctl', 'stop', 'linkspan')
    t.equal(property('Result'), 'success')
    unchanged('stopped')
    run('systemctl', 'start', 'linkspan')
    await until('the start', isWell)
    unchanged('started')
    run('systemctl', 'kill', '--signal=SIGKILL', 'linkspan')
    await until('a restart', () => property('NRestarts') === '1' && property('ActiveState') === 'active')
    await until('the restart', isWell)
    unchanged('killed and begun anew')
    t.match(await status(), { failures: [], conflicts: [] })
    const { sent, lost } = await stream.stop()
    t.equal(lost, 0, `lost of ${sent}`)
    t.ok(sent > 20, `${sent} sent`)
  })

  await t.test('a process that was adopted is changed like any other', async (t) => {
    await publish(registry, paperGateway('a', 1))
    await until('a peer more', () => run('wg', 'show', 'ls-wg0', 'allowed-ips').includes('10.51.0.0/16'))
    await until('a route more', () => run('ip', 'route', 'show', 'table', '19539').includes('10.51.0.0/16'))
    t.equal(tunnel(), pid)
    t.ok(pings(), 'the first peer is still there')
    await until('an end of the pass', async () => (await status())?.failures.length === 0)
    whole = dump(here)
  })

  await t.test('a tunnel that dies is made anew out of the sandbox', async (t) => {
    process.kill(pid, 'SIGKILL')
    await until('another process', () => ![undefined, pid].includes(tunnel()))
    await until('traffic', pings)
    await until('its repair', () => dumpDiff(whole, dump(here)).length === 0)
    pid = tunnel() ?? 0
    t.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), /\/linkspan-ls-wg0-[0-9-]+\.scope$/m)
    t.equal(scopes().length, 1, 'the scope of the dead one is gone')
  })

  await t.test('down ends it, and leaves no scope, no socket and nothing else', async (t) => {
    const { status: code, stderr } = cli('down')
    t.equal(code, 0, stderr)
    t.equal(property('ActiveState'), 'inactive')
    await until('its end', () => tunnel() === undefined && scopes().length === 0)
    t.notOk(existsSync(socket))
    t.strictSame(dumpDiff(untouched, dump(here)), [])
  })
}

function scopes(): readonly string[] {
  const all = ['list-units', '--all', '--plain', '--no-legend', '--type=scope', 'linkspan-*']
  return run('systemctl', ...all)
    .split('\n')
    .filter((line) => line !== '')
}
