/**
 * The demo: three sites in namespaces, real agents from a file registry. scripts/demo starts it in namespaces of its own.
 *
 *   aws-host ── aws-gw ─┐                     ┌─ azure-gw ── azure-host
 *   10.1.0.10           ├── internet (UDP) ───┤               10.2.0.10
 *                       └──── onprem-gw ──────┘
 *                                 └── onprem-host 10.3.0.10
 *
 * Beside the routed network there is `lan`, an Ethernet segment stretched over all three sites by VXLAN inside WireGuard:
 * its hosts have neighbouring addresses and no router.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Gateway } from './gateway.ts'
import { ip, run } from './command.ts'
import { Lab } from './lab.ts'
import type { Machine } from './machine.ts'

interface DemoSite {
  readonly name: string
  readonly provider: string
  readonly region: string
  readonly short: string
  /** Third of everything: underlay address, prefixes, lan address. */
  readonly n: number
}

const sites: readonly DemoSite[] = [
  { name: 'aws-use1', provider: 'aws', region: 'us-east-1', short: 'aws', n: 1 },
  { name: 'azure-weu', provider: 'azure', region: 'westeurope', short: 'azure', n: 2 },
  { name: 'onprem', provider: 'own', region: 'dc1', short: 'onprem', n: 3 },
]

const began = performance.now()
const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** One line a step, with the seconds since the start. */
function step(text: string): void {
  say(`[${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s] ${text}`)
}

function show(command: string, output: string): void {
  say(`\n  $ ${command}`)
  for (const line of output.trimEnd().split('\n')) say(line === '' ? '' : `  ${line}`)
}

interface DemoHost {
  readonly machine: Machine
  readonly addresses: readonly string[]
}

interface Ground {
  readonly lab: Lab
  readonly gateways: readonly Gateway[]
  readonly hosts: readonly DemoHost[]
  readonly lanHosts: readonly DemoHost[]
}

/** The key by which all gateways know whose documents count. */
function initAuthority(directory: string): string {
  const made = run(
    process.execPath,
    main,
    'ca',
    'init',
    'demo',
    '--ca',
    `${directory}/ca`,
    '--no-passphrase',
    '--json',
  )
  return (JSON.parse(made) as { readonly authority: string }).authority
}

async function build(directory: string, authority: string): Promise<Ground> {
  const lab = new Lab(directory, 'demo', authority)
  lab.underlay('internet')
  const gateways: Gateway[] = []
  const hosts: DemoHost[] = []
  const lanHosts: DemoHost[] = []
  for (const { name, provider, region, short, n } of sites) {
    const gateway = await lab.gateway(`${short}-gw`, {
      site: name,
      underlays: { eth0: { underlay: 'internet', addresses: [`203.0.113.${n}/24`] } },
      via: '203.0.113.254',
      siteAddresses: [`10.${n}.0.1/24`, `fd00:${n}::1/64`],
      prefixes: [`10.${n}.0.0/16`, `fd00:${n}::/48`],
      config: ['networks: [ { name: lan, interfaces: [ lan0 ] } ]'],
      siteConfig: `{ name: ${name}, provider: ${provider}, region: ${region} }`,
    })
    const segment = `lan-${short}`
    lab.underlay(segment)
    lab.plug(gateway.machine, 'lan0', segment)
    gateways.push(gateway)
    const addresses = [`10.${n}.0.10`, `fd00:${n}::10`] as const
    const routers = [`10.${n}.0.1`, `fd00:${n}::1`]
    hosts.push({
      machine: await lab.host(`${short}-host`, name, [`${addresses[0]}/24`, `${addresses[1]}/64`], routers),
      addresses,
    })
    lanHosts.push({
      machine: await lab.hostOn(`${short}-lan`, segment, [`192.168.50.${n}/24`]),
      addresses: [`192.168.50.${n}`],
    })
  }
  return { lab, gateways, hosts, lanHosts }
}

/** Every host to every other one, on every address; how many did not get through. */
function pingAll(hosts: readonly DemoHost[]): number {
  let missing = 0
  for (const from of hosts) {
    for (const to of hosts) {
      if (from === to) continue
      for (const address of to.addresses) {
        const { status, stdout } = from.machine.attempt(
          'ping',
          '-n',
          '-c',
          '3',
          '-i',
          '0.2',
          '-W',
          '2',
          address,
        )
        const times = [...stdout.matchAll(/time=([0-9.]+) ms/g)].map((match) => Number(match[1]))
        const ok = status === 0 && times.length === 3
        if (!ok) missing++
        const verdict = ok ? `3 of 3, ${Math.min(...times).toFixed(2)} ms` : `${times.length} of 3: FAILED`
        say(`  ${from.machine.name.padEnd(12)} → ${`${to.machine.name} ${address}`.padEnd(26)} ${verdict}`)
      }
    }
  }
  return missing
}

async function play(): Promise<number> {
  const [directory, keep] = process.argv.slice(2)
  if (directory === undefined) throw new Error('usage: demo.js FOLDER [keep]; start it by scripts/demo')
  run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
  run('mount', '-t', 'sysfs', 'sysfs', '/sys')
  ip('link set dev lo up')

  step('Making the authority of the fabric: linkspan ca init demo')
  const authority = initAuthority(directory)
  step('Laying cables: three sites, a gateway and hosts in each, and an internet between them')
  const ground = await build(directory, authority)
  const { lab, gateways, hosts, lanHosts } = ground
  const [first] = gateways
  if (first === undefined) throw new Error('no gateway')
  writeFileSync(`${directory}/machines`, machinesOf(ground))

  step('Signing the fabric document: linkspan ca fabric fabric.yml')
  await lab.writeFabric([
    "overlay: { ipv4: 100.127.0.0/16, ipv6: 'fd4c:53aa:bb00::/48' }",
    'underlays: [ { name: internet } ]',
    'networks: [ { name: lan, vni: 7001, kind: l2 } ]',
  ])
  step('Starting an agent on each gateway; each makes its keys and asks to join')
  for (const gateway of gateways) gateway.start()
  for (const gateway of gateways) {
    await lab.certify(gateway)
    step(`Certified ${gateway.name}: linkspan ca issue ${gateway.name}`)
  }
  for (const gateway of gateways) {
    const status = await gateway.untilUp(2)
    step(`${gateway.name}: ${status.summary}`)
  }
  await settle(hosts, lanHosts)

  show(
    `cat /etc/linkspan/config.yml                    # on ${first.name}`,
    first.machine.run('cat', '/etc/linkspan/config.yml'),
  )
  show(`linkspan status                                 # on ${first.name}`, first.cli('status').stdout)
  show(`linkspan routes                                 # on ${first.name}`, first.cli('routes').stdout)

  say('\n  Pings between all hosts, three each, IPv4 and IPv6')
  let missing = pingAll(hosts)
  say('\n  Pings on the stretched Ethernet segment `lan`')
  missing += pingAll(lanHosts)

  const [from] = hosts
  const to = hosts.at(-1)?.addresses[0]
  if (from !== undefined && to !== undefined) {
    const path = from.machine.attempt('traceroute', '-n', '-q', '1', '-w', '2', '-m', '6', to)
    show(
      `traceroute ${to}                            # on ${from.machine.name}: gateway, gateway there, host`,
      path.stdout,
    )
  }
  const scrape = first.machine.attempt('curl', '-s', 'http://127.0.0.1:9586/metrics')
  const wanted = /^(linkspan_(build|routes|peer)|wireguard_)/
  const lines = scrape.stdout.split('\n').filter((line) => wanted.test(line))
  show(`curl -s 127.0.0.1:9586/metrics | grep -E '${wanted.source}'`, lines.join('\n'))
  if (lines.length === 0) missing++

  say('')
  step(missing === 0 ? 'Every ping got through.' : `${missing} checks FAILED.`)
  if (missing > 0) for (const gateway of gateways) say(`\n${gateway.name} logged last:\n${tail(gateway.log)}`)
  if (keep === 'keep') {
    writeFileSync(`${directory}/done`, String(missing))
    await new Promise(() => setInterval(() => undefined, 1 << 30))
  }
  step('Cleaning up')
  for (const gateway of gateways) await gateway.stop()
  return missing === 0 ? 0 : 1
}

/** The first packets wait for handshakes and neighbours; the pings that count come after. */
async function settle(...groups: readonly (readonly DemoHost[])[]): Promise<void> {
  for (let i = 0; i < 20; i++) {
    const silent = groups.flatMap((group) =>
      group.filter(({ machine }) =>
        group.some((to) => to.machine !== machine && to.addresses.some((address) => !machine.pings(address))),
      ),
    )
    if (silent.length === 0) return
    await pause(200)
  }
}

/** `NAME PID` for scripts/demo enter; pids of this PID namespace. */
function machinesOf({ gateways, hosts, lanHosts }: Ground): string {
  const machines = [
    ...gateways.map(({ machine }) => machine),
    ...[...hosts, ...lanHosts].map(({ machine }) => machine),
  ]
  return machines.map(({ name, pid }) => `${name} ${pid}\n`).join('')
}

function tail(text: string): string {
  return text.split('\n').slice(-15).join('\n')
}

// The first process of a PID namespace has no default actions: without these lines Ctrl-C would do nothing.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
process.exit(await play())
