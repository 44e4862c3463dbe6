/** A name may be listed as wireguard-go's while the link under it is the kernel's: the link decides, and the name goes. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { LinkOps } from '../../../agent/kernel/link-op.ts'
import { Links } from '../../../agent/kernel/links.ts'
import { RouteSocket } from '../../../agent/kernel/route-socket.ts'
import { openWireGuard } from '../../../agent/kernel/wg.ts'
import { openWireGuardGo } from '../../../agent/kernel/wireguard-go.ts'
import { linkGroup } from '../../../agent/model/kernel-number.ts'
import type { Link } from '../../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../../agent/model/key.ts'
import type { Op } from '../../../agent/model/op.ts'
import { fakeAddon, FakeSocket } from '../../support/fake-socket.ts'

const { signal } = new AbortController()
const listFile = 'wireguard-go.json'

function opened(directory: string) {
  return {
    exec: { run: () => Promise.resolve(''), stream: () => none() },
    addon: fakeAddon(new FakeSocket(['ls-wg5'])),
    privateKey: () => '',
    stateDirectory: directory,
  }
}

async function* none(): AsyncGenerator<never, void> {
  // nothing
}

function link(name: string, type: 'wireguard' | 'tun'): Op {
  const object: Link = { kind: 'link', name, type, mtu: 1420, up: true, group: linkGroup }
  return { verb: 'add', object }
}

void t.test('peers go to the link that is there', async (t) => {
  const directory = t.testdir({ [listFile]: '["ls-wg5"]' })
  const publicKey = Buffer.alloc(32, 1).toString('base64') as PublicKey
  const op: Op = { verb: 'add', object: { kind: 'peer', device: 'ls-wg5', publicKey, keepalive: 25 } }
  const errorFor = async (type: string | undefined): Promise<string | undefined> => {
    const wg = await openWireGuard({ ...opened(directory), typeOf: () => type })
    const [result] = await wg.apply([op], signal)
    wg.close()
    return result?.error?.reason
  }
  t.equal(await errorFor('wireguard'), undefined, 'over netlink')
  t.match(await errorFor('tun'), /ENOENT/, 'there is no socket here')
  t.match(await errorFor(undefined), /ENOENT/, 'nobody knows: the list decides')
})

void t.test('a link of the kernel takes the name off the list', async (t) => {
  const directory = t.testdir({ [listFile]: '["ls-wg5","ls-wg6"]' })
  const go = await openWireGuardGo(opened(directory))
  const socket = new RouteSocket(new FakeSocket(['ls-wg5']))
  const ops = new LinkOps(socket, new Links(socket), go)
  t.same(await ops.apply([link('ls-wg5', 'wireguard')], signal), [{ op: link('ls-wg5', 'wireguard') }])
  t.same([...go.names], ['ls-wg6'])
  t.same(JSON.parse(readFileSync(path.join(directory, listFile), 'utf8')), ['ls-wg6'])
})

void t.test('a start that fails and leaves no link leaves no name', async (t) => {
  // The name is on disk before the process starts.
  const directory = t.testdir({ [listFile]: '["ls-wg7"]' })
  const go = await openWireGuardGo(opened(directory))
  const socket = new RouteSocket(new FakeSocket(['ls-wg5']))
  const failing = { ...go, start: () => Promise.reject(new Error('it ended')) }
  const [result] = await new LinkOps(socket, new Links(socket), failing).apply(
    [link('ls-wg7', 'tun')],
    signal,
  )
  t.match(result?.error, { reason: 'it ended' })
  t.same([...go.names], [])
  t.same(JSON.parse(readFileSync(path.join(directory, listFile), 'utf8')), [])
})
