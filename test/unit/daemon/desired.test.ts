import t from 'tap'
import { Desired } from '../../../agent/daemon/desired.ts'
import { diff } from '../../../agent/diff/diff.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'

void t.test('a pass puts back the sysctl that its share desires no more', (t) => {
  const loose: KernelObject = { kind: 'sysctl', name: 'net/ipv4/conf/eth0/rp_filter', value: '2' }
  const desired = new Desired()
  desired.set({ key: 'host', objects: [loose], notes: [] })
  const { ops } = diff([], desired.believed(['host']), { nowSeconds: 0 })
  t.match(ops, [{ verb: 'remove', object: { kind: 'sysctl', name: loose.name } }])
  t.same(diff([loose], desired.believed(['host']), { nowSeconds: 0 }).ops, [])
  t.end()
})

void t.test('what there is of a kind is counted share by share', (t) => {
  const group: KernelObject = { kind: 'group', id: 1, members: [] }
  const sysctl = (name: string): KernelObject => ({ kind: 'sysctl', name, value: '1' })
  const desired = new Desired()
  desired.set({ key: 'host', objects: [sysctl('a'), group, sysctl('b')], notes: [] })
  desired.set({ key: 'groups s1', objects: [{ ...group, id: 2 }], notes: [] })
  t.equal(desired.count('sysctl'), 2)
  t.equal(desired.count('group'), 2)
  t.equal(desired.count('route'), 0)
  t.same(
    [...desired.objectsOf('group')].map(({ id }) => id),
    [1, 2],
  )
  desired.set({ key: 'host', objects: [sysctl('c')], notes: [] })
  t.equal(desired.count('sysctl'), 1)
  desired.set({ key: 'groups s1', objects: [], notes: [] })
  t.equal(desired.count('group'), 0)
  t.same([...desired.objectsOf('group')], [])
  t.end()
})
