/**
 * Trials of size between two namespaces: what passes, what is swallowed in either direction, what our own device does not
 * take, and that none of it is mistaken for a path that is down, nor a path that is down for it.
 */
import { createSocket } from 'node:dgram'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { address } from '../../agent/model/prefix.ts'
import type { ProbeProfile } from '../../agent/probe/port.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import { cut, device, farOfBoth, fast, Near, pathTo, port, until } from '../support/probe-lab.ts'
import { ntpNow, senderBytes } from '../support/stamp.ts'

/** Down a little later than the fast profile, so that a busy machine is no dead path. */
const profile: ProbeProfile = { ...fast, downAfter: 20 }

await isolated(import.meta.url, async () => {
  const { machine, far } = await farOfBoth()
  const near = new Near()
  const four = { ...pathTo(device, 'four', profile), address: address('10.9.9.2') }
  near.engine.setPaths([pathTo(device, 'six', profile), four])
  for (const id of ['four', 'six']) t.ok(await near.becomes(id, 'up'), `${id} is up`)

  let last = 0
  /** The verdict on one trial; undefined where none comes. */
  async function ask(id: string, size: number, tries = 3): Promise<string | undefined> {
    const trial = ++last
    near.engine.ask([{ id, trial, size, tries }])
    await until(() => near.verdicts.some((one) => one.trial === trial), 15_000)
    return near.verdicts.find((one) => one.trial === trial)?.verdict
  }

  await t.test('what passes is answered, to the byte', async (t) => {
    for (const id of ['six', 'four']) {
      for (const size of [116, 117, 1280, 1499, 1500])
        t.equal(await ask(id, size), 'answered', `${id}: ${size}`)
      t.equal(await ask(id, 1501), 'too-big', `${id}: larger than the device`)
    }
    t.equal(await ask('six', 115), 'void', 'no padding is that short')
  })

  await t.test('what is swallowed is lost, on the way there and on the way back', async (t) => {
    const changes = near.news.length
    for (const hook of ['input', 'output'] as const) {
      const heal = cut(machine, hook, 'meta length > 1400')
      for (const id of ['six', 'four']) {
        t.equal(await ask(id, 1400), 'answered', `${id}, ${hook}`)
        t.equal(await ask(id, 1401), 'lost', `${id}, ${hook}`)
      }
      heal()
      for (const id of ['six', 'four']) t.equal(await ask(id, 1401), 'answered', `${id}: it is gone`)
    }
    t.equal(near.news.length, changes, 'no path went down for it')
    const report = await near.report()
    for (const row of [0, 1]) t.equal(report.value(row, 'unanswered'), 0, 'nor was an ordinary probe counted')
  })

  await t.test('an answer that cannot leave whole does not leave', async (t) => {
    machine.ip(`link set dev ${device} mtu 1400`)
    for (const id of ['six', 'four']) {
      t.equal(await ask(id, 1401), 'lost', id)
      t.equal(await ask(id, 1400), 'answered', id)
    }
    machine.ip(`link set dev ${device} mtu 1500`)
  })

  await t.test('jumbo frames', async (t) => {
    for (const one of [['ip'], ['nsenter', '--target', String(machine.pid), '--net', 'ip']]) {
      const [program = '', ...rest] = one
      run(program, ...rest, 'link', 'set', 'dev', device, 'mtu', '9300')
    }
    for (const id of ['six', 'four']) t.equal(await ask(id, 9216), 'answered', id)
    t.equal(await ask('six', 9216 + 49), 'void', 'no reflector takes more')
  })

  await t.test('a path that is down, or goes down, is no small MTU', async (t) => {
    const heal = cut(machine, 'input', 'udp dport 18620')
    t.equal(await ask('six', 1400, 4), 'void', 'while it goes down')
    t.ok(await near.becomes('six', 'silent'))
    t.equal(await ask('six', 1400, 1), 'void', 'an agent that is silent')
    heal()
    t.ok(await near.becomes('six', 'up'))
    t.equal(await ask('six', 1400), 'answered')
  })

  await t.test(
    'while ordinary probes are lost as well nothing follows, long before the path is down',
    async (t) => {
      near.engine.setPaths([pathTo(device, 'six', { ...profile, downAfter: 1000 }), four])
      const heal = cut(machine, 'input', 'udp dport 18620')
      t.equal(await ask('six', 1400, 3), 'void')
      t.equal(near.last('six')?.state, 'up')
      heal()
      t.equal(await ask('six', 1400), 'answered')
      await pause(500) // until ordinary probes are answered again
      near.engine.setPaths([pathTo(device, 'six', profile), four])
      t.ok(await near.becomes('four', 'up'))
    },
  )

  await t.test('what routes say of MTUs is no matter', async (t) => {
    for (const on of [run, machine.run.bind(machine)]) {
      const peer = on === run ? 2 : 1
      on('ip', 'route', 'add', `10.9.9.${peer}/32`, 'dev', device, 'mtu', '1300')
      on('ip', '-6', 'route', 'add', `fe80::${peer}/128`, 'dev', device, 'mtu', '1300')
    }
    for (const id of ['six', 'four']) t.equal(await ask(id, 1450), 'answered', id)
  })

  await t.test('of two trials of a path the later one counts, and of a path that is gone none', async (t) => {
    const heal = cut(machine, 'input', 'meta length > 1400')
    near.engine.ask([{ id: 'six', trial: ++last, size: 1401, tries: 20 }])
    await pause(100)
    t.equal(await ask('six', 1300), 'answered')
    const ended = last - 1
    await pause(500)
    t.notOk(near.verdicts.some(({ trial }) => trial === ended))
    near.engine.ask([{ id: 'four', trial: ++last, size: 1401, tries: 2 }])
    near.engine.setPaths([pathTo(device, 'six', profile)])
    await pause(1200)
    t.notOk(near.verdicts.some(({ trial }) => trial === last))
    heal()
  })

  await t.test('large questions are answered by the byte, and small ones are none the worse', async (t) => {
    const before = await far.counters()
    const socket = createSocket('udp6')
    const plain = senderBytes({ sequence: 1, timestamp: ntpNow(), errorEstimate: 1, ssid: 1, tlvs: [] })
    const large = Buffer.concat([plain, Buffer.alloc(9000 - plain.length)])
    let bytes = 0
    socket.on('message', (message) => (bytes += message.length))
    socket.bind(0, `fe80::1%${device}`)
    const beganAt = performance.now()
    const changes = near.news.length
    for (let i = 0; i < 100; i++) {
      socket.send(large, port, `fe80::2%${device}`)
      await pause(20)
    }
    await pause(200)
    const seconds = (performance.now() - beganAt) / 1000
    socket.close()
    t.ok(bytes > 100_000, `${bytes} bytes came back`)
    t.ok(bytes < 262_144 + 65_536 * (seconds + 1), `${bytes} bytes in ${seconds.toFixed(1)} s`)
    t.ok(((await far.counters())['limited'] ?? 0) > (before['limited'] ?? 0), 'the rest was refused')
    t.equal(near.news.length, changes, 'the path stays up')
    t.equal((await near.report()).value(0, 'unanswered'), 0)
  })

  await t.test('at 20 % loss what passes is not taken for lost', async (t) => {
    const heal = cut(machine, 'input', 'udp dport 18620 numgen random mod 100 < 20')
    for (let i = 0; i < 40; i++) t.equal(await ask('six', 1440, 12), 'answered')
    heal()
  })

  const { tries, sent } = near.engine.counters()
  t.ok(tries > 60 && sent > 100, `${tries} tries beside ${sent} probes`)
  near.engine.stop()
  far.process.kill()
})
