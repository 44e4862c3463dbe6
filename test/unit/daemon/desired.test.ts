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
