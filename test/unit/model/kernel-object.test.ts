/** Keys, names and numbers that other things are recognised by: changing one orphans what running gateways have made. */
import t from 'tap'
import { deviceIndex, slotOf, underlayOf } from '../../../agent/model/device.ts'
import { linkLocalAddress, overlayAddress } from '../../../agent/model/gateway.ts'
import { isOwnedNexthop, linkPattern, nexthopId } from '../../../agent/model/kernel-number.ts'
import { KeyedState } from '../../../agent/diff/keyed.ts'
import { keyOf, kinds } from '../../../agent/model/kernel-object.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import { parsePublicKey } from '../../../agent/model/key.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { fabricOf } from '../../support/documents.ts'
import { allowed, enter, group, key, peer, route, stop, wg } from '../../support/small-state.ts'

void t.test('keys', (t) => {
  const objects: readonly KernelObject[] = [
    wg(0),
    peer(0, 'a'),
    allowed(0, 'a', '10.1.0.0/16'),
    group(0, 'x'),
    route('10.1.0.0/16', 0),
    route('10.1.0.0/16', 0, { table: 19540, metric: 7 }),
    stop,
    enter,
  ]
  t.strictSame(objects.map(keyOf), [
    'ls-wg0',
    `ls-wg0 ${key('a')}`,
    'ls-wg0 10.1.0.0/16',
    '1275072512',
    '10.1.0.0/16',
    '10.1.0.0/16 table 19540 metric 7',
    '4 19530 5001984/4294967040 blackhole 0',
    '4 19531 0/0 lookup 19539',
  ])
  t.end()
})

void t.test('link names', (t) => {
  for (const name of ['ls-wg0', 'ls-wg9', 'ls-wg63', 'ls-vx1', 'ls-br16777215', 'ls-vrf5001'])
    t.match(name, linkPattern)
  for (const name of [
    'ls-wg',
    'ls-wg64',
    'ls-wg00',
    'ls-wg100',
    'wg0',
    'ls-vx',
    'ls-wg1x',
    'xls-wg1',
    'ls-br123456789',
  ]) {
    t.notMatch(name, linkPattern)
  }
  t.end()
})

void t.test('ids', (t) => {
  t.equal(isOwnedNexthop(nexthopId.device(0)), true)
  t.equal(isOwnedNexthop(nexthopId.last), true)
  t.equal(isOwnedNexthop(nexthopId.device(0) - 1), false)
  t.equal(isOwnedNexthop(nexthopId.last + 1), false)
  t.equal(nexthopId.device(63) < nexthopId.device4(0), true)
  t.equal(nexthopId.device4(63) < nexthopId.blackhole, true)
  t.end()
})

void t.test('planes: no two devices of a gateway share an index, and both ends agree on the port', (t) => {
  const seen = new Set<number>()
  for (const own of [0, 1]) {
    for (const u of [0, 1, 2, 3]) {
      for (const generation of [0, 1]) {
        for (const plane of [0, 1, 2, 3]) {
          const index = deviceIndex({ generation: own, plane: 0 }, u, { generation, plane })
          t.equal(underlayOf(index), u)
          t.equal(index & 7, slotOf({ generation, plane }))
          seen.add(index)
        }
      }
    }
  }
  t.equal(seen.size, 64)
  t.equal(Math.max(...seen), 63)
  t.end()
})

void t.test('addresses derive from the number', (t) => {
  const fabric = fabricOf()
  t.equal(overlayAddress(fabric, 1, 4), '100.127.0.1')
  t.equal(overlayAddress(fabric, 65534, 4), '100.127.255.254')
  t.equal(overlayAddress(fabric, 258, 6), 'fd4c:53aa:bb00::102')
  t.equal(overlayAddress(fabricOf({ overlay: { ipv4: prefix('10.0.0.0/24') } }), 1, 4), undefined)
  t.equal(overlayAddress(fabricOf({ overlay: {} }), 1, 6), undefined)
  t.equal(linkLocalAddress(258), 'fe80::102')
  t.end()
})

void t.test('public keys', (t) => {
  const right = `${'A'.repeat(42)}A=`
  t.equal(parsePublicKey(right), right)
  for (const text of [
    '',
    right.slice(1),
    `${right}=`,
    `${'A'.repeat(42)}B=`,
    `${'A'.repeat(42)}-=`,
    ` ${right}`,
    `${right}\n`,
  ]) {
    t.equal(parsePublicKey(text), undefined, JSON.stringify(text))
  }
  t.end()
})

void t.test('the list of kinds is complete', (t) => {
  t.same([...kinds].sort(), Object.keys(new KeyedState().byKind).sort())
  t.end()
})
