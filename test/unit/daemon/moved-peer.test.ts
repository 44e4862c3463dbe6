import t from 'tap'
import { MovedPeers } from '../../../agent/daemon/moved-peer.ts'
import type { Peer } from '../../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../../agent/model/key.ts'
import { address } from '../../../agent/model/prefix.ts'

const peer: Peer = {
  kind: 'peer',
  device: 'ls-wg0',
  publicKey: 'k' as PublicKey,
  endpoint: '192.0.2.1:51820',
  from: address('192.0.2.2'),
  keepalive: 25,
}
const always = (): boolean => true

void t.test('a new endpoint is said again after 1, 3 and 10 s', (t) => {
  let now = 0
  const moved = new MovedPeers(
    () => undefined,
    () => now,
  )
  moved.note([{ verb: 'replace', object: peer, before: { ...peer, endpoint: '192.0.2.9:51820' } }])
  const said = [500, 1000, 1500, 3000, 9999, 10_000, 60_000].filter((at) => {
    now = at
    return moved.due(always).length > 0
  })
  t.same(said, [1000, 3000, 10_000])
  t.end()
})

void t.test('one turn that is late says it once', (t) => {
  let now = 0
  const moved = new MovedPeers(
    () => undefined,
    () => now,
  )
  moved.note([{ verb: 'replace', object: peer, before: { ...peer, from: address('192.0.2.3') } }])
  now = 20_000
  t.same(moved.due(always), [{ verb: 'replace', object: peer, before: peer }])
  t.same(moved.due(always), [])
  t.end()
})

void t.test('nothing is said of a peer that moved on, nor of what did not move', (t) => {
  let now = 0
  const moved = new MovedPeers(
    () => undefined,
    () => now,
  )
  moved.note([
    { verb: 'replace', object: peer, before: { ...peer, endpoint: '192.0.2.9:51820' } },
    { verb: 'replace', object: { ...peer, keepalive: 20 }, before: peer },
    { verb: 'add', object: peer },
  ])
  // An observed peer does not know from where it is called.
  const { kind, device, publicKey, endpoint, keepalive } = peer
  moved.note([
    {
      verb: 'replace',
      object: { ...peer, keepalive: 21 },
      before: { kind, device, publicKey, endpoint: endpoint ?? '', keepalive },
    },
  ])
  now = 2000
  t.same(
    moved.due((each) => each !== peer),
    [],
  )
  t.same(moved.due(always), [])
  t.end()
})

void t.test('it rouses when something is due', async (t) => {
  await new Promise<void>((resolve) => {
    const moved = new MovedPeers(resolve)
    moved.note([{ verb: 'replace', object: peer, before: { ...peer, endpoint: '192.0.2.9:51820' } }])
    setTimeout(() => undefined, 1500) // the timer of its own keeps no process alive
  })
  t.pass('roused')
})
