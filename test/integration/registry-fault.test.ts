/**
 * Agents on a registry that fails them: a real etcd that is down, unreachable, flapping, emptied, rolled back, silent. None of
 * it takes a peer away, none of it writes to the kernel, and no packet is lost. Numbers are those of the fault catalogue.
 */
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { prefix } from '../../agent/model/prefix.ts'
import { run } from '../support/command.ts'
import { fabricDocument } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { EtcdLab, registryAddress, registryPort } from '../support/etcd-lab.ts'
import { hasEtcd } from '../support/etcd.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { paperGateway } from '../support/paper-gateway.ts'

const day = 86_400_000

/** Status of /readyz. */
function readiness(gateway: Gateway): number {
  return Number(
    gateway.machine.attempt(
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      'http://127.0.0.1:9586/readyz',
    ).stdout,
  )
}

if (!hasEtcd) t.pass('etcd', { skip: 'needs etcd-server and etcd-client' })
else await isolated(import.meta.url, tests)

async function tests(directory: string): Promise<void> {
  const lab = await EtcdLab.make(directory)
  try {
    await failing(lab)
  } finally {
    await lab.end()
  }
}

async function failing(lab: EtcdLab): Promise<void> {
  const { left, right, leftHost, rightHost, relay, etcd } = lab
  const bare = dump(left.machine)

  await t.test('fault 12: down at boot, and nothing is known', async (t) => {
    for (const gateway of [left, right]) lab.start(gateway)
    const { health, summary, registry } = await lab.untilStatus(
      'it says so',
      (status) => status.registry.unreadable.length > 0,
    )
    t.equal(health, 'waiting')
    t.match(summary, /the registry cannot be read/)
    t.match(registry.unreadable, [{ object: `https://${registryAddress}:${registryPort}` }])
    t.equal(readiness(left), 503, 'not ready')
    t.ok(left.running, 'and alive')
    t.strictSame(dumpDiff(bare, dump(left.machine)), [], 'no writes')
  })

  await relay.open()
  await lab.writeFabric()
  for (const gateway of [left, right]) await lab.certify(gateway)
  for (const gateway of [left, right]) await gateway.untilUp(1)
  for (const document of paperGateway(20, 1)) lab.publish(document)
  await lab.untilStatus('a peer on paper', ({ peers }) => peers.length === 2)
  await leftHost.reaches('10.2.0.10')
  await pause(1000)
  const whole = dump(left.machine)
  const contents = lab.contents()
  const refill = (): void => {
    for (const [name, text] of contents) lab.put(name, text)
  }

  /** Nothing is written and no packet lost, whatever `work` does to the registry. */
  const undisturbed = async (t: Test, work: () => Promise<void>): Promise<void> => {
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: 100 })
    try {
      await work()
      t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'nothing was written')
    } finally {
      const { sent, lost } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}`)
    }
  }
  const unreadable = (count: number): Promise<unknown> =>
    lab.untilStatus(`${count} unreadable`, ({ registry }) => registry.unreadable.length === count)

  await t.test('fault 14: it flaps each second', (t) =>
    undisturbed(t, async () => {
      left.log = ''
      for (let i = 0; i < 6; i++) {
        await relay.close()
        await pause(1000)
        await relay.open()
        await pause(1000)
      }
      await unreadable(0)
      t.notMatch(left.log, /(pass|audit) .*ops=[1-9]/, 'no op')
      t.ok(left.log.split('registry-unreadable').length <= 7, 'said once each time at most')
    }),
  )

  await t.test('fault 26: everything that goes there is dropped', (t) =>
    undisturbed(t, async () => {
      run('nft', 'add table inet drops; add chain inet drops in { type filter hook input priority 0; }')
      run('nft', `add rule inet drops in tcp dport ${registryPort} drop`)
      const began = performance.now()
      await unreadable(1)
      const ms = performance.now() - began
      t.comment(`noticed after ${Math.round(ms)} ms`)
      t.ok(ms < 30_000)
      run('nft', 'delete table inet drops')
      await unreadable(0)
    }),
  )

  await t.test('fault 15: an empty prefix', (t) =>
    undisturbed(t, async () => {
      lab.clear()
      const { vanished } = await lab.untilStatus('it vanished', (status) => status.vanished.length >= 7)
      t.match(
        vanished.map(({ object }) => object),
        [
          'certificate g20',
          'certificate gw-1',
          'certificate gw-2',
          'fabric lab',
          'record g20',
          'record gw-1',
          'record gw-2',
        ],
      )
      t.match(left.log, /document-vanished/, 'an event says so')
      for (const bad of ['[]', '{}', 'null', ' ']) {
        lab.put('fabric', bad)
        await lab.untilStatus(`refused: ${bad}`, ({ refusals }) =>
          refusals.some(({ rule }) => rule === 'document'),
        )
      }
      refill()
      await lab.untilStatus('all is back', (status) => status.vanished.length + status.refusals.length === 0)
    }),
  )

  await t.test('fault 16: more than half is gone: nothing is removed, and events say what', (t) =>
    undisturbed(t, async () => {
      left.log = ''
      const gone = [...contents.keys()].filter(
        (name) => /\/(gw-2|g20)$/.test(name) && !name.startsWith('requests'),
      )
      for (const name of gone) lab.del(name)
      await lab.untilStatus('they vanished', ({ vanished }) => vanished.length === gone.length)
      for (const name of gone) await left.untilLogged(`document-vanished origin=etcd:/linkspan/lab/${name}`)
      t.match(left.cli('status').stdout, /record gw-2: gone from the registry since .* still in force/)
      refill()
      await lab.untilStatus('all is back', ({ vanished }) => vanished.length === 0)
    }),
  )

  await t.test('fault 19: an old snapshot, document by document', (t) =>
    undisturbed(t, async () => {
      left.log = ''
      for (const document of paperGateway(20, 0, { prefixes: [prefix('10.99.0.0/16')] }))
        lab.publish(document)
      const { refusals } = await lab.untilStatus('both are refused', (status) => status.refusals.length === 2)
      t.strictSame(
        refusals.map(({ rule, object }) => [rule, object]),
        [
          ['rollback', 'certificate g20'],
          ['rollback', 'record g20'],
        ],
      )
      t.match(left.log, /document-refused .*rule=rollback/)
      refill()
      await lab.untilStatus('all is back', (status) => status.refusals.length === 0)
    }),
  )

  await t.test('fault 25: compaction while cut off, and a backup put back', async (t) => {
    await lab.backup()
    await unreadable(0)
    await undisturbed(t, async () => {
      await relay.close()
      await unreadable(1)
      for (const name of contents.keys()) lab.put(name, contents.get(name) ?? '')
      etcd.compact()
      await relay.open()
      await unreadable(0)
    })
    for (const document of paperGateway(20, 2, {
      prefixes: [prefix('10.20.0.0/16'), prefix('10.21.0.0/16')],
    })) {
      lab.publish(document)
    }
    const has21 = (): boolean => dump(left.machine).some((line) => line.includes(' 10.21.0.0/16 '))
    await lab.until('news', () => has21() || undefined)
    await lab.restore()
    await lab.untilStatus('the past is refused', ({ refusals }) => refusals.length === 2)
    t.ok(has21(), 'revisions that go back take nothing back')
    // What is newer counts again.
    for (const document of paperGateway(20, 3)) lab.publish(document)
    await lab.until('the state before', () => dumpDiff(whole, dump(left.machine)).length === 0 || undefined)
    await lab.untilStatus('no refusal', ({ refusals }) => refusals.length === 0)
  })

  await t.test('fault 28: its address lies inside a prefix of a peer that does not answer', async (t) => {
    for (const document of paperGateway(20, 4, { prefixes: [prefix('203.0.113.0/24')] }))
      lab.publish(document)
    const through = (to: string): string => left.machine.run('ip', 'route', 'get', to)
    await lab.until('the prefix', () => through('203.0.113.9').includes('ls-wg') || undefined)
    t.match(through(registryAddress), ' dev wan0 ', 'control traffic stays on the underlay')
    for (const document of paperGateway(21, 1)) lab.publish(document)
    await lab.untilStatus('news still come', ({ peers }) => peers.some(({ gateway }) => gateway === 'g21'))
    await left.stop()
    lab.start(left)
    await left.untilUp(1)
    await unreadable(0)
    for (const document of paperGateway(21, 2, { state: 'withdrawn' })) lab.publish(document)
    await lab.untilStatus('and after a start', ({ peers }) => peers.every(({ gateway }) => gateway !== 'g21'))
    for (const document of paperGateway(20, 5)) lab.publish(document)
    await lab.until('the state before', () => dumpDiff(whole, dump(left.machine)).length === 0 || undefined)
  })

  await t.test('fault 59: the disk is full, and then the cache is torn and tampered with', async (t) => {
    left.machine.run(
      'sh',
      '-c',
      'mount -o remount,size=1m /var/lib/linkspan && ! dd if=/dev/zero of=/var/lib/linkspan/fill bs=4k 2>/dev/null',
    )
    left.log = ''
    const newcomers = [22, 23, 24, 25, 26]
    for (const document of newcomers.flatMap((n) => paperGateway(n, 1))) lab.publish(document)
    await left.untilLogged('documents-not-kept')
    const has22 = (): boolean => dump(left.machine).some((line) => line.includes(' 10.22.0.0/16 '))
    await lab.until('it counts all the same', () => has22() || undefined)
    t.ok(leftHost.pings('10.2.0.10'), 'forwarding goes on')
    await left.stop('SIGKILL')
    left.machine.run('sh', '-c', 'rm /var/lib/linkspan/fill; mount -o remount,size=64m /var/lib/linkspan')
    const cache = '/var/lib/linkspan/known/documents'
    for (const [what, harm] of [
      ['torn', `truncate -s -77 ${cache}`],
      ['tampered with', `printf X | dd of=${cache} bs=1 seek=400 conv=notrunc 2>/dev/null`],
    ] as const) {
      left.machine.run('sh', '-c', harm)
      left.log = ''
      lab.start(left)
      await left.untilLogged('known-documents-damaged')
      await left.untilUp(1)
      await lab.untilStatus(
        `whole again, though ${what}`,
        ({ peers, refusals }) => peers.length === 2 + newcomers.length && refusals.length === 0,
      )
      t.ok(leftHost.pings('10.2.0.10'))
      await left.stop()
    }
    lab.start(left)
    await left.untilUp(1)
    for (const document of newcomers.flatMap((n) => paperGateway(n, 2, { state: 'withdrawn' })))
      lab.publish(document)
    await lab.until('the state before', () => dumpDiff(whole, dump(left.machine)).length === 0 || undefined)
  })

  let ahead = 0
  await t.test('fault 13: down for a day', (t) =>
    undisturbed(t, async () => {
      await etcd.kill()
      await unreadable(1)
      left.log = ''
      const [before, began] = [left.cpuSeconds, performance.now()]
      // Half an hour at a time, so that the clock is believed.
      for (; ahead <= day; ahead += day / 48) {
        lab.shiftClock(ahead)
        await left.status()
        await pause(300)
      }
      const share = (left.cpuSeconds - before) / ((performance.now() - began) / 1000)
      t.comment(`${(100 * share).toFixed(2)} % of a processor, asked for its status three times a second`)
      const status = await lab.untilStatus(
        'a day later',
        ({ registry }) => (registry.ageSeconds ?? 0) > day / 1000,
      )
      t.equal(status.peers.length, 2)
      t.equal(status.trust.clock, undefined, 'the clock is believed')
      t.notMatch(left.log, /(pass|audit) .*ops=[1-9]/, 'no op')
    }),
  )

  for (const [what, ms] of [
    ['a day ahead', day],
    ['a day back', -day],
    ['ten years back', -3653 * day],
    ['ten years ahead', 3653 * day],
  ] as const) {
    await t.test(`fault 57: the clock jumps ${what}`, (t) =>
      undisturbed(t, async () => {
        left.log = ''
        lab.shiftClock(ahead + ms)
        const { trust, peers } = await lab.untilStatus(
          'it is noticed',
          (status) => status.trust.clock !== undefined,
        )
        t.ok(Number(ms > 0 ? trust.clock?.leapMs : trust.clock?.lagMs) > 0)
        t.match(trust.alarms, [/^the clock /])
        t.equal(peers.length, 2, 'nothing expires')
        lab.shiftClock(ahead)
        await lab.untilStatus('it is right again', (status) => status.trust.clock === undefined)
      }),
    )
  }

  await t.test('fault 57: an agent that starts ten years ahead', (t) =>
    undisturbed(t, async () => {
      await left.stop()
      lab.shiftClock(ahead + 3653 * day)
      lab.start(left)
      const { trust } = await lab.untilStatus(
        'settled',
        ({ health, peers }) => health !== 'waiting' && peers.length === 2,
      )
      t.match(trust.alarms, [/^the clock leapt ahead by 36\d\d days/])
      lab.shiftClock(ahead)
    }),
  )

  await t.test('fault 9: a reboot, and it is still down', async (t) => {
    await left.stop('SIGKILL')
    left.cli('down')
    t.notOk(leftHost.pings('10.2.0.10'), 'control: nothing is set up')
    lab.start(left)
    t.ok(await leftHost.reaches('10.2.0.10'))
    await unreadable(1)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
    await etcd.start()
    await unreadable(0)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
  })

  await t.test('fault 20: frozen: the fabric document turns stale, and lets nobody in', (t) =>
    undisturbed(t, async () => {
      left.log = ''
      const fabric = lab.document('fabric', 'fabric').payload
      lab.publish(
        fabricDocument({ ...fabric, serial: fabric.serial + 1, freshUntil: Date.now() - 2 * 3_600_000 }),
      )
      await left.untilLogged('fabric-stale')
      for (const document of paperGateway(30, 1)) lab.publish(document)
      const { summary, peers } = await lab.untilStatus('a newcomer is kept out', ({ refusals }) =>
        refusals.some(({ rule, gateway }) => rule === 'stale' && gateway === 'g30'),
      )
      t.match(summary, /^the fabric document is stale since/)
      t.equal(peers.length, 2)
      etcd.freeze()
      const began = performance.now()
      await unreadable(1)
      t.comment(`a frozen server is noticed after ${Math.round(performance.now() - began)} ms`)
      etcd.thaw()
      await unreadable(0)
      for (const name of ['certificates/g30', 'records/g30']) lab.del(name)
      lab.publish(fabricDocument({ ...fabric, serial: fabric.serial + 2 }))
      await lab.untilStatus(
        'fresh',
        (status) => !status.trust.alarms.some((alarm) => alarm.includes('stale')),
      )
    }),
  )

  await t.test('fault 21: the last serial there is: a new identity goes on', async (t) => {
    const serial = Number.MAX_SAFE_INTEGER
    const identity = readFileSync(right.machine.path('/var/lib/linkspan/keys/identity.pem'), 'utf8')
    const said = lab.document('record', 'records/gw-2').payload
    lab.publish({ type: 'record', payload: { ...said, serial, weight: 2 } }, createPrivateKey(identity))
    await pause(2000)
    t.ok(leftHost.pings('10.2.0.10'))
    t.ok(right.running)
    await right.stop()
    right.machine.run('sh', '-c', 'rm -r /var/lib/linkspan/*')
    lab.start(right)
    await lab.until('a request by the new identity', () => {
      const request = lab.document('request', 'requests/gw-2').payload
      return request.identity === lab.document('certificate', 'certificates/gw-2').payload.identity
        ? undefined
        : true
    })
    await lab.ca('issue', 'gw-2', '--replace')
    await lab.until(
      'its record',
      () => lab.document('record', 'records/gw-2').payload.serial < serial || undefined,
    )
    t.ok(await leftHost.reaches('10.2.0.10'))
  })
}
