/**
 * What paths meet besides clean failures: agents that are away, loss in one direction, data that is dropped while handshakes
 * pass, links that flap, clocks that are set, probes that are filtered, gateways that speak ill of themselves without cause,
 * and handshakes that somebody recorded.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startWith } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import type { Machine } from '../support/machine.ts'
import { Meter } from '../support/meter.ts'
import { untilFit } from '../support/path-row.ts'
import { makeTwin, membersOf, untilMembers } from '../support/twin.ts'

const guest = process.env['LINKSPAN_GUEST'] !== undefined
const perSecond = guest ? 200 : 1000
const clockShift = fileURLToPath(new URL('../support/clock-shift.js', import.meta.url))

await isolated(import.meta.url, async (directory) => {
  let recorded = Promise.resolve('')
  const twin = await makeTwin(directory, [], (gateway) => {
    if (gateway.name === 'gw-1') recorded = recordInitiation()
  })
  const { lab, one, a, b, oneHost, twoHost } = twin
  const members = (wanted: string): Promise<string> => untilMembers(twin, wanted)
  const both = 'ls-wg0/ls-wg1'
  /** b over `wan` in place of `dx`. */
  const detour = 'ls-wg0/ls-wg9'
  await members(both)

  await t.test('the only gateway of a site is without its agent: nothing is lost', async (t) => {
    const meter = await Meter.start(twoHost, oneHost, '10.1.0.10', { perSecond, flows: 8 })
    await one.stop('SIGKILL')
    await a.untilLogged('standing=silent')
    await pause(20_000)
    one.start()
    await one.untilUp(4)
    for (const gateway of [a, b]) await untilFit(gateway, 'gw-1', 2)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
    t.equal(await members(both), both)
  })

  await t.test('loss in one direction', async (t) => {
    // gw-1 hears nothing of gw-2b over dx, and is heard.
    drop(one.machine, 'iifname dx0 ip saddr 172.31.0.22')
    t.equal(await members(detour), detour)
    await b.untilLogged('path-down gateway=gw-1 underlay=dx')
    t.equal(await oneHost.reaches('10.2.0.10'), true)
    heal(one.machine)
    t.equal(await members(both), both, 'and back')
  })

  await t.test('handshakes pass, and data does not', async (t) => {
    for (const { machine } of [one, b]) drop(machine, 'iifname dx0 udp dport 51820-51900 @th,64,8 4')
    // Of both gateways here, since gw-1 drops what comes from either.
    t.equal(await members('ls-wg8/ls-wg9'), 'ls-wg8/ls-wg9')
    t.equal(await oneHost.reaches('10.2.0.10'), true)
    for (const { machine } of [one, b]) heal(machine)
    t.equal(await members(both), both, 'and back')
  })

  await t.test('a path that flaps is left alone for a while, and then used again', async (t) => {
    one.log = ''
    for (let i = 0; i < 5; i++) {
      drop(one.machine, 'iifname dx0 ip saddr 172.31.0.22')
      await pause(1500)
      heal(one.machine)
      await pause(2500)
    }
    const ups = one.log.match(/path-up gateway=gw-2b underlay=dx/g)?.length ?? 0
    t.ok(ups < 5, `came back ${ups} times of 5`)
    for (let i = 0; i < 900 && membersOf(twin) !== both; i++) await pause(100)
    t.equal(membersOf(twin), both, 'in the end')
  })

  await t.test('probes are filtered: handshakes stand in, and it is said', async (t) => {
    await one.stop()
    drop(one.machine, 'iifname "ls-wg*" udp dport 18620')
    drop(one.machine, 'iifname "ls-wg*" udp sport 18620')
    one.log = ''
    one.start()
    await one.untilLogged('first-audit', guest ? 120 : 30)
    await untilSaid(() => one.cli('peers').stdout, /the probe port is blocked/)
    t.equal(await members(both), both, 'they are used')
    t.equal(await oneHost.reaches('10.2.0.10'), true)
    heal(one.machine)
    await untilFit(one, 'site-2', 4)
  })

  await t.test('the clock is set: no path falls', async (t) => {
    const file = path.join(directory, 'clock')
    writeFileSync(file, '0')
    // Who saw paths come and go before takes its time, and says so of them.
    for (const far of [a, b]) await untilFit(far, 'site-1', 2)
    await one.stop()
    one.log = ''
    startWith(one, { NODE_OPTIONS: `--import=${clockShift}`, LINKSPAN_TEST_CLOCK: file })
    await one.untilUp(4)
    await untilFit(one, 'site-2', 4)
    for (const ms of [7_200_000, -7_200_000, 0]) {
      writeFileSync(file, String(ms))
      await pause(2500)
    }
    t.same(one.log.match(/.*path-(?:down|unfit).*/g) ?? [], [])
    t.equal(membersOf(twin), both)
    await one.stop()
    one.start()
    await one.untilUp(4)
  })

  await t.test('all gateways say that they do not forward, and do: they are used', async (t) => {
    await untilFit(one, 'site-2', 4)
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    one.log = ''
    for (const { machine } of [a, b]) drop(machine, 'oifname site0 ip protocol icmp', 'output')
    for (const { name } of [a, b])
      await one.untilLogged(`path-unfit gateway=${name} underlay=dx standing=not-forwarding`)
    t.equal(await members(both), both)
    for (const { machine } of [a, b]) heal(machine)
    await untilFit(one, 'site-2', 4)
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })

  await t.test('a handshake that was recorded moves no endpoint', async (t) => {
    const attacker = await lab.hostOn('attacker', 'dx', ['172.31.0.99/24'])
    const packet = await recorded
    await untilFit(one, 'site-2', 4)
    // wireguard-go lists peers in any order.
    const endpoints = ({ machine }: Gateway): readonly string[] =>
      (machine.run('wg', 'show', 'all', 'endpoints').match(/\S+=\t\S+/g) ?? []).sort()
    const before = [one, a, b].map(endpoints)
    const meter = await Meter.start(oneHost, twoHost, '10.2.0.10', { perSecond, flows: 8 })
    for (const to of ['172.31.0.11', '172.31.0.21', '172.31.0.22']) replay(attacker, packet, to)
    await pause(1000)
    t.same([one, a, b].map(endpoints), before)
    t.equal(before.flat().length, 12)
    t.notMatch(before.join(), '172.31.0.99')
    const { sent, lost, gapMs } = await meter.stop()
    t.equal(lost, 0, `lost of ${sent}, longest gap ${gapMs} ms`)
  })

  for (const gateway of [one, a, b]) await gateway.stop()
})

function drop(machine: Machine, what: string, hook: 'prerouting' | 'output' = 'prerouting'): void {
  machine.run('nft', 'add table inet fault')
  machine.run('nft', `add chain inet fault ${hook} { type filter hook ${hook} priority -400 ; }`)
  machine.run('nft', `add rule inet fault ${hook} ${what} drop`)
}

function heal(machine: Machine): void {
  machine.run('nft', 'delete table inet fault')
}

/**
 * One that was answered. What nobody took is as good as new, whoever sends it and when: the first ones come while the far end
 * does not know the peer yet.
 */
async function recordInitiation(): Promise<string> {
  const filter = 'udp and ((udp[8] = 1 and udp[4:2] = 156) or (udp[8] = 2 and udp[4:2] = 100))'
  const child = spawn('tcpdump', ['-n', '-l', '--immediate-mode', '-i', 'dx', '-x', filter], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: guest ? 120_000 : 60_000,
  })
  let said = ''
  try {
    for await (const chunk of child.stdout) {
      said += String(chunk)
      const answered = answeredInitiation(said)
      if (answered !== undefined) return answered
    }
  } finally {
    child.kill()
  }
  throw new Error('no handshake was seen')
}

/** Of packets as tcpdump shows them; the last may be incomplete. A response names the initiation's sender (whitepaper 5.4.3). */
function answeredInitiation(said: string): string | undefined {
  const packets = said.split(/^(?=\S)/m).map((packet) =>
    packet
      .split('\n')
      .filter((line) => /^\s+0x/.test(line))
      .map((line) => line.replace(/^\s+0x[0-9a-f]+:/, '').replaceAll(/\s/g, ''))
      .join('')
      .slice(2 * (20 + 8)),
  )
  const receivers = packets.flatMap((bytes) => (/^02.{22}/.test(bytes) ? [bytes.slice(16, 24)] : []))
  return packets
    .filter((bytes) => bytes.startsWith('01') && bytes.length >= 296)
    .map((bytes) => bytes.slice(0, 296))
    .find((bytes) => receivers.includes(bytes.slice(8, 16)))
}

/** To each port that a device of ours may listen on. */
function replay(from: Machine, packet: string, to: string): void {
  const script = `
    const socket = require('node:dgram').createSocket('udp4')
    const packet = Buffer.from(process.argv[1], 'hex')
    const ports = Array.from({ length: 64 }, (_, i) => 51820 + i)
    let left = ports.length
    for (const port of ports) socket.send(packet, port, process.argv[2], () => --left || socket.close())`
  from.run(process.execPath, '-e', script, packet, to)
}

async function untilSaid(say: () => string, what: RegExp): Promise<void> {
  const end = performance.now() + (guest ? 180_000 : 30_000)
  for (let said = say(); !what.test(said); said = say()) {
    if (performance.now() > end) throw new Error(`nobody says ${what.source}:\n${said}`)
    await pause(100)
  }
}
