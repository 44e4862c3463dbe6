import { mkdir, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import t from 'tap'
import type { StatusView } from '../../../agent/daemon/status.ts'
import { shortDirectory } from '../../support/short-directory.ts'
import { ask } from '../../../agent/cli/client.ts'
import { Drain } from '../../../agent/daemon/drain.ts'
import { openControl } from '../../../agent/daemon/control.ts'
import type { RotationView } from '../../../agent/daemon/rotation.ts'
import { routeViews } from '../../../agent/daemon/route-view.ts'
import type { Status } from '../../../agent/daemon/status.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import { recordDocument } from '../../support/documents.ts'
import { documents, Rig } from '../../support/rig.ts'

const settled: RotationView = { generation: 3, ageSeconds: 60, phase: 'settled' }

void t.test('the control socket', async (t) => {
  const directory = path.join(shortDirectory(t), 'run')
  const rig = new Rig()
  const view = rig.view({ startedAt: performance.now() })
  let stopped = false
  let drained = 0
  const rotation = {
    view: settled,
    begin(): Promise<boolean> {
      if (rotation.view.older !== undefined) return Promise.resolve(false)
      const older = { generation: 3, ageSeconds: 60 }
      rotation.view = { generation: 4, ageSeconds: 0, phase: 'announcing', older }
      return Promise.resolve(true)
    },
  }
  await mkdir(directory, { mode: 0o750 })
  const options = {
    runDirectory: directory,
    reconciler: rig.reconciler,
    view,
    events: rig.events,
    kernel: rig.kernel,
    drain: new Drain(directory),
    others: () => 1,
    rotation,
    paths: () => [],
    onDrain: () => {
      drained++
    },
    stop: () => {
      stopped = true
    },
  }
  await t.rejects(ask(directory, '/status'), { code: 'not-running' })
  const server = await openControl(options)
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const socket = await stat(path.join(directory, 'linkspan.sock'))
  t.equal(socket.mode & 0o777, 0o660)
  t.equal((await stat(directory)).mode & 0o777, 0o750)

  await t.test('before there is anything to go by', async (t) => {
    t.match(await ask(directory, '/status'), {
      schema: 1,
      health: 'waiting',
      summary: /no fabric document/,
      peers: [],
    })
    await t.rejects(ask(directory, '/plan'), { code: 'registry-unreadable', reason: /no fabric document/ })
    rig.deliver([], [{ code: 'registry-unreadable', object: '/r', reason: 'is gone' }])
    await rig.turn()
    t.match(await ask(directory, '/status'), {
      summary: /cannot be read/,
      registry: { unreadable: [{ object: '/r' }] },
    })
    rig.deliver(documents(3).filter(({ type }) => type === 'fabric'))
    await rig.turn()
    t.match(await ask(directory, '/status'), { summary: /linkspan ca issue g1/ })
  })

  await t.test('drained, and back in service', async (t) => {
    t.match(await ask(directory, '/drain'), { draining: false, packets: 0, others: 1 })
    t.match(await ask(directory, '/drain', { method: 'POST' }), { draining: true })
    t.match(await ask(directory, '/drain', { method: 'POST' }), { draining: true })
    t.equal(drained, 1, 'once is news')
    t.ok(new Drain(directory).isOn, 'it outlives the agent')
    t.match(await ask(directory, '/drain?undo=1', { method: 'POST' }), { draining: false })
    t.equal(drained, 2)
    t.notOk(new Drain(directory).isOn)
    t.ok(rig.last('draining') && rig.last('in-service'), 'events')
  })

  await t.test('with peers', async (t) => {
    rig.deliver(documents(3))
    await rig.turn()
    const status = (await ask(directory, '/status')) as Status
    t.match(status, {
      health: 'degraded',
      summary: '0/2 tunnels up',
      number: 1,
      overlay: ['100.127.0.1/32', 'fd4c:53aa:bb00::1/128'],
      dataPlane: 'kernel',
    })
    t.match(status.peers[0], {
      gateway: 'g2',
      site: 's2',
      underlay: 'internet',
      state: 'connecting',
      endpoint: '192.0.2.2:51820',
      prefixes: 1,
      reason: /no handshake yet/,
      next: /UDP/,
    })
    t.equal(JSON.stringify(status).includes('PRIVATE'), false)
  })

  await t.test('routes, those that are not installed too', async (t) => {
    const { routes } = (await ask(directory, '/routes')) as { routes: readonly { prefix: string }[] }
    t.same(routes, [...routeViews(rig.reconciler.desired)])
    t.match(
      routes.find(({ prefix }) => prefix === '10.2.0.0/16'),
      { site: 's2', gateways: ['g2'], devices: ['ls-wg0'], mtu: 1440, src: '10.1.0.1' },
    )
  })

  await t.test('plan, audit, events', async (t) => {
    t.match(await ask(directory, '/plan'), { schema: 1, ops: [], conflicts: [] })
    const route = rig.kernel.owned.find((object) => object.kind === 'route')
    if (route === undefined) throw new Error('no route')
    rig.kernel.lose(route)
    t.match(await ask(directory, '/plan'), { ops: [{ verb: 'add', text: /ip.* route add/ }] })
    rig.reconciler.schedule.drifted()
    t.match(await ask(directory, '/audit', { method: 'POST' }), { ops: [{ verb: 'add' }] })
    t.match(await ask(directory, '/plan'), { ops: [] })
    const { events } = (await ask(directory, '/events')) as { events: readonly { id: number }[] }
    t.ok(events.length > 0)
    t.match(await ask(directory, `/events?since=${events.at(-1)?.id ?? 0}`), { events: [] })
  })

  await t.test('peers come and go with their documents', async (t) => {
    rig.change(recordDocument(3, { serial: 2, state: 'withdrawn' }))
    await rig.turn()
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const { peers } = (await ask(directory, '/peers')) as { peers: readonly { gateway: string }[] }
    t.same(
      peers.map(({ gateway }) => gateway),
      ['g2'],
    )
  })

  await t.test('keys: which there are, and new ones', async (t) => {
    t.strictSame(await ask(directory, '/keys'), { schema: 1, ...settled })
    await t.rejects(ask(directory, '/keys/rotate'), LinkspanError, 'a GET begins nothing')
    t.match(await ask(directory, '/keys/rotate', { method: 'POST' }), { begun: true, generation: 4 })
    t.match(await ask(directory, '/keys/rotate', { method: 'POST' }), { begun: false, phase: 'announcing' })
  })

  await t.test('stop', async (t) => {
    await t.rejects(ask(directory, '/stop'), LinkspanError, 'a GET stops nothing')
    t.equal(stopped, false)
    await ask(directory, '/stop', { method: 'POST' })
    t.equal(stopped, true)
  })
})

void t.test('a stale socket is replaced', async (t) => {
  const directory = shortDirectory(t)
  await writeFile(path.join(directory, 'linkspan.sock'), 'left over')
  const rig = new Rig()
  const view = { status: () => Promise.resolve({}) } as unknown as StatusView
  const { reconciler, events } = rig
  const server = await openControl({
    runDirectory: directory,
    reconciler,
    view,
    events,
    kernel: rig.kernel,
    drain: new Drain(directory),
    rotation: { begin: () => Promise.resolve(false), view: settled },
    others: () => 0,
    paths: () => [],
    onDrain: () => undefined,
    stop: () => undefined,
  })
  t.same(await ask(directory, '/status'), {})
  server.close()
  server.closeAllConnections()
})
