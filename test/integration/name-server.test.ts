/**
 * A registry that is given by name, and a name server inside a prefix of a peer that does not answer. Without a way around
 * the overlay nobody would find the registry again: neither after a cut nor after a start.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { prefix } from '../../agent/model/prefix.ts'
import { ip } from '../support/command.ts'
import { EtcdLab, registryAddress } from '../support/etcd-lab.ts'
import { hasEtcd } from '../support/etcd.ts'
import { isolated } from '../support/isolate.ts'
import { NameServer } from '../support/name-server.ts'
import { paperGateway } from '../support/paper-gateway.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))
const name = 'etcd.lab.example'
const first = '198.51.100.53'
const second = '198.51.100.54'
/** Of the peer that does not answer. */
const range = '198.51.100.0/24'

if (!hasEtcd) t.pass('etcd', { skip: 'needs etcd-server and etcd-client' })
else await isolated(import.meta.url, tests)

async function tests(directory: string): Promise<void> {
  const lab = await EtcdLab.make(directory, name)
  const servers: NameServer[] = []
  try {
    for (const at of [first, second]) {
      ip(`address add ${at}/32 dev lo`)
      servers.push(await NameServer.start(at, name, registryAddress))
    }
    await asked(lab, servers)
  } finally {
    await lab.end()
    for (const server of servers) await server.end()
  }
}

async function asked(lab: EtcdLab, [near, far]: readonly NameServer[]): Promise<void> {
  const { left, right, relay } = lab
  if (near === undefined || far === undefined) throw new Error('two name servers are needed')
  const resolve = (server: string): void => {
    for (const { machine } of [left, right]) {
      const file = machine.path('/etc/resolv.conf')
      rmSync(file, { force: true }) // it may be a link
      writeFileSync(file, `options timeout:1 attempts:2\nnameserver ${server}\n`)
    }
  }
  const through = (to: string): string => left.machine.run('ip', 'route', 'get', to)
  const stays = (to: string): true | undefined => through(to).includes(' dev wan0 ') || undefined
  const news = async (what: string, number: number): Promise<void> => {
    for (const document of paperGateway(number, 1)) lab.publish(document)
    await lab.untilStatus(what, ({ peers }) => peers.some(({ gateway }) => gateway === `g${number}`))
  }
  resolve(first)
  await relay.open()
  await lab.writeFabric()
  for (const gateway of [left, right]) {
    lab.start(gateway)
    await lab.certify(gateway)
  }
  for (const gateway of [left, right]) await gateway.untilUp(1)

  await t.test('fault 28: the name server lies inside a prefix of a peer that does not answer', async (t) => {
    for (const document of paperGateway(20, 1, { prefixes: [prefix(range)] })) lab.publish(document)
    await lab.until('the prefix', () => through('198.51.100.9').includes('ls-wg') || undefined)
    t.match(through(first), ' dev wan0 ', 'what we ask it stays on the underlay')
    t.match(through(second), ' dev ls-wg', 'control: nobody asks this one')
  })

  await t.test('the registry is found again after a cut, and after a start', async (t) => {
    await relay.close()
    await lab.untilStatus('it is noticed', ({ registry }) => registry.unreadable.length > 0)
    const before = near.asked
    await relay.open()
    await news('news after the cut', 21)
    t.ok(near.asked > before, 'the name was asked for again')
    await left.stop('SIGKILL')
    lab.start(left)
    await left.untilUp(1)
    await news('news after the start', 22)
    t.match(through(first), ' dev wan0 ')
  })

  await t.test('another name server', async (t) => {
    resolve(second)
    await lab.until('a way to it', () => stays(second))
    t.match(through(first), ' dev ls-wg', 'the first is one address of the prefix again')
    await relay.close()
    await lab.untilStatus('it is noticed', ({ registry }) => registry.unreadable.length > 0)
    const before = near.asked
    await relay.open()
    await news('news', 23)
    t.ok(far.asked > 0)
    t.equal(near.asked, before, 'the first is asked no more')
  })

  await t.test('a dry run without an agent keeps the ways to both', async (t) => {
    await left.stop()
    // Not in one go: name server and relay are this process.
    const child = left.machine.spawn(process.execPath, [main, 'plan', '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    if (child.stdout === null) throw new Error('no stdout')
    t.strictSame(JSON.parse(await text(child.stdout)), { schema: 1, ops: [], conflicts: [] })
  })
}
