import t from 'tap'
import { discarding, peerChanges, survey } from '../../../agent/kernel/peer-change.ts'
import type { PeerChange } from '../../../agent/kernel/peer-change.ts'
import type { AllowedIP, KernelObject, Peer } from '../../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../../agent/model/key.ts'
import type { Op } from '../../../agent/model/op.ts'
import { prefix } from '../../../agent/model/prefix.ts'

const a = 'a' as PublicKey
const b = 'b' as PublicKey

const add = (object: KernelObject): Op => ({ verb: 'add', object })
const remove = (object: KernelObject): Op => ({ verb: 'remove', object })
const peer = (publicKey: PublicKey): Peer => ({ kind: 'peer', device: 'ls-wg0', publicKey, keepalive: 25 })
const ip = (text: string, publicKey: PublicKey): AllowedIP => ({
  kind: 'allowed-ip',
  device: 'ls-wg0',
  prefix: prefix(text),
  publicKey,
})

function changes(...ops: readonly Op[]): readonly PeerChange[] {
  return peerChanges(ops, [...ops.keys()], survey(ops))
}

/** `verb peer prefixes` */
function text(list: readonly PeerChange[]): string[] {
  return list.map(({ verb, publicKey, prefixes }) => [verb, publicKey, ...prefixes].join(' '))
}

await t.test('neighbours about one peer become one change, in order', (t) => {
  const found = changes(
    add(peer(a)),
    add(peer(b)),
    add(ip('10.1.0.0/16', a)),
    add(ip('10.2.0.0/16', a)),
    add(ip('10.3.0.0/16', b)),
    remove(ip('10.4.0.0/16', a)),
  )
  t.same(text(found), [
    'set a',
    'set b',
    'allow a 10.1.0.0/16 10.2.0.0/16',
    'allow b 10.3.0.0/16',
    'disallow a 10.4.0.0/16',
  ])
  t.same(
    found.map(({ ops }) => ops),
    [[0], [1], [2, 3], [4], [5]],
  )
  t.end()
})

await t.test('nothing is taken from a peer that has just been given it', (t) => {
  const before = ip('10.1.0.0/16', a)
  const moved: Op = { verb: 'replace', object: ip('10.1.0.0/16', b), before }
  t.same(text(changes(moved, remove(before))), ['allow b 10.1.0.0/16'])
  t.end()
})

await t.test('prefixes go with their peer', (t) => {
  t.same(text(changes(remove(ip('10.1.0.0/16', a)), remove(ip('10.2.0.0/16', b)), remove(peer(a)))), [
    'disallow b 10.2.0.0/16',
    'remove a',
  ])
  t.end()
})

await t.test('a change holds at most 1,000 prefixes', (t) => {
  const many = Array.from({ length: 2500 }, (_, i) => add(ip(`10.${i >> 8}.${i & 255}.0/24`, a)))
  t.same(
    changes(...many).map(({ prefixes }) => prefixes.length),
    [1000, 1000, 500],
  )
  t.end()
})

await t.test('discarding: neighbours share a throw-away peer of its own key', (t) => {
  const found = discarding(
    changes(
      remove(ip('10.1.0.0/16', a)),
      remove(ip('10.2.0.0/16', b)),
      add(peer(a)),
      remove(ip('10.3.0.0/16', a)),
    ),
  )
  t.same(
    found.map(({ verb, prefixes, ops }) => [verb, prefixes, ops]),
    [
      ['discard', ['10.1.0.0/16', '10.2.0.0/16'], [0, 1]],
      ['set', [], [2]],
      ['discard', ['10.3.0.0/16'], [3]],
    ],
  )
  const keys = found.filter(({ verb }) => verb === 'discard').map(({ publicKey }) => publicKey)
  t.equal(new Set([...keys, a, b]).size, 4)
  t.end()
})
