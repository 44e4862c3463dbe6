/**
 * The demo of failover: two sites of two gateways each, joined by a private line and by the internet. A host sends a thousand
 * packets a second while an underlay is cut, a gateway dies and another is drained; a line a quarter of a second shows what
 * arrives and by which way. scripts/demo ha starts it in namespaces of its own.
 *
 *                ┌─ paris-a ─┐              ┌─ tokyo-a ─┐
 *   paris-host ──┤           ├─ dx, internet┤           ├── tokyo-host
 *                └─ paris-b ─┘              └─ tokyo-b ─┘
 */
import { setTimeout as pause } from 'node:timers/promises'
import { ip, run } from './command.ts'
import type { Gateway } from './gateway.ts'
import { Lab } from './lab.ts'
import type { Machine } from './machine.ts'
import { Meter } from './meter.ts'
import { pathRows, untilFit } from './path-row.ts'

const sites = ['paris', 'tokyo'] as const
const target = '10.2.0.10'
const perSecond = 1000
const began = performance.now()

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function step(text: string): void {
  say(`[${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s] ${text}`)
}

interface Ground {
  readonly lab: Lab
  readonly gateways: ReadonlyMap<string, Gateway>
  readonly from: Machine
  readonly to: Machine
}

async function build(directory: string): Promise<Ground> {
  const lab = new Lab(directory, 'demo-ha')
  lab.underlay('dx')
  lab.underlay('internet')
  const gateways = new Map<string, Gateway>()
  const hosts: Machine[] = []
  for (const [i, site] of sites.entries()) {
    const s = i + 1
    for (const [j, plane] of ['a', 'b'].entries()) {
      const n = 10 * s + j + 1
      const gateway = await lab.gateway(`${site}-${plane}`, {
        site,
        siteAddresses: [`10.${s}.0.${j + 1}/24`],
        prefixes: [`10.${s}.0.0/16`],
        underlays: {
          dx0: { underlay: 'dx', addresses: [`172.31.0.${n}/24`] },
          eth0: { underlay: 'internet', addresses: [`203.0.113.${n}/24`] },
        },
        config: [
          `endpoints: [ { underlay: dx, address: 172.31.0.${n} }, { underlay: internet, address: 203.0.113.${n} } ]`,
        ],
      })
      gateways.set(gateway.name, gateway)
    }
    hosts.push(await lab.host(`${site}-host`, site, [`10.${s}.0.10/24`], [`10.${s}.0.1`]))
  }
  const [from, to] = hosts
  if (from === undefined || to === undefined) throw new Error('two sites have two hosts')
  return { lab, gateways, from, to }
}

/** Shows the ways in use and the packets that arrive, until `seconds` are over. */
async function watch(ground: Ground, view: Gateway, seconds: number, change: () => void): Promise<number> {
  const { from, to } = ground
  await untilFit(view, 'tokyo', 4)
  const arrived = (): number => Number(to.run('cat', '/sys/class/net/eth0/statistics/rx_packets'))
  const meter = await Meter.start(from, to, target, { perSecond, flows: 16 })
  const start = performance.now()
  let last = { packets: arrived(), at: performance.now() }
  let isChanged = false
  while (performance.now() - start < seconds * 1000) {
    await pause(250)
    const now = { packets: arrived(), at: performance.now() }
    const rate = ((now.packets - last.packets) * 1000) / (now.at - last.at)
    last = now
    const ways = pathRows(view, 'tokyo').filter(({ used }) => used)
    const names = ways.map(({ gateway, underlay }) => `${gateway} over ${underlay}`).join(', ')
    const bar = '#'.repeat(Math.max(0, Math.min(20, Math.round((20 * rate) / perSecond))))
    say(
      `          ${bar.padEnd(20)} ${String(Math.round(rate)).padStart(5)}/s   by ${names === '' ? 'none' : names}`,
    )
    if (!isChanged && performance.now() - start > 1000) {
      isChanged = true
      change()
    }
  }
  const { sent, lost, gapMs } = await meter.stop()
  step(`lost ${lost} of ${sent} packets; the longest gap was ${Math.round(gapMs)} ms`)
  return lost
}

async function play(): Promise<number> {
  const [directory] = process.argv.slice(2)
  if (directory === undefined) throw new Error('usage: demo-ha.js FOLDER; start it by scripts/demo ha')
  run('mount', '-t', 'tmpfs', 'tmpfs', '/run')
  run('mount', '-t', 'sysfs', 'sysfs', '/sys')
  ip('link set dev lo up')
  step('Laying cables: two sites of two gateways, a private line `dx` and the internet between them')
  const ground = await build(directory)
  const { lab, gateways } = ground
  const view = gateways.get('paris-a')
  const [dying, leaving] = [gateways.get('tokyo-a'), gateways.get('tokyo-b')]
  if (view === undefined || dying === undefined || leaving === undefined) throw new Error('no gateway')
  await lab.writeFabric([
    "overlay: { ipv4: 100.127.0.0/16, ipv6: 'fd4c:53aa:bb00::/48' }",
    'underlays: [ { name: dx }, { name: internet } ]',
    'prefer: [ dx, internet ]',
  ])
  step('Starting and certifying the agents')
  await lab.enrol()
  for (const gateway of gateways.values()) await gateway.untilUp(6)
  await untilFit(view, 'tokyo', 4)
  say(`\n  $ linkspan peers                                  # on ${view.name}`)
  for (const line of view.cli('peers').stdout.trimEnd().split('\n')) say(`  ${line}`)
  say('')
  await ground.from.reaches(target)

  step('The private line is cut. Traffic goes by the internet')
  const cutLost = await watch(ground, view, 4, () => {
    step('cut')
    ip('link set dev dx down')
  })
  ip('link set dev dx up')
  step('It is mended, and after a while traffic is back on it')
  await untilFit(view, 'tokyo', 4)

  step(`${leaving.name} is drained: linkspan drain. Traffic goes by ${dying.name}`)
  const drainLost = await watch(ground, view, 4, () => {
    step('drain')
    leaving.cli('drain', '--timeout', '0')
  })
  leaving.cli('drain', '--undo')

  step(`${dying.name} dies without a word. Traffic goes by ${leaving.name}`)
  const deathLost = await watch(ground, view, 4, () => {
    step('dead')
    dying.machine.run('sh', '-c', 'ip link set dev dx0 down; ip link set dev eth0 down')
  })

  say(`\n  $ linkspan peers                                  # on ${view.name}`)
  for (const line of view.cli('peers').stdout.trimEnd().split('\n')) say(`  ${line}`)
  say('')
  const longest = 2 * perSecond
  const isGood = drainLost === 0 && cutLost < longest && deathLost < longest
  step(
    isGood
      ? 'Traffic went on: nothing lost in a drain, less than two seconds of it where something broke.'
      : 'FAILED: more was lost than should be.',
  )
  step('Cleaning up')
  for (const gateway of gateways.values()) await gateway.stop()
  return isGood ? 0 : 1
}

// The first process of a PID namespace has no default actions: without these lines Ctrl-C would do nothing.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
process.exit(await play())
