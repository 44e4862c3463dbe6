import t from 'tap'
import { nexthopId } from '../../../agent/model/kernel-number.ts'
import type { NexthopGroup } from '../../../agent/model/kernel-object.ts'
import { gatewayGroupKey, GroupIds, prefixGroupKey } from '../../../agent/plan/group-id.ts'

const first = nexthopId.firstGroup

void t.test('keys do not depend on the order of gateways', (t) => {
  t.equal(prefixGroupKey('gcp', ['gcp-b', 'gcp-a']), 'default gcp gcp-a,gcp-b')
  t.equal(gatewayGroupKey('gcp-a'), 'gateway gcp-a')
  t.end()
})

void t.test('an id is given once and kept', (t) => {
  const ids = new GroupIds()
  t.equal(ids.dirty, false)
  t.equal(ids.idOf('a'), first)
  t.equal(ids.idOf('b'), first + 1)
  t.equal(ids.idOf('a'), first)
  t.equal(ids.dirty, true)
  ids.dirty = false
  const group = (id: number): NexthopGroup => ({ kind: 'group', id, members: [] })
  ids.retain([group(first), group(first + 1), group(first + 9)])
  t.equal(ids.dirty, false, 'all are in use')
  ids.retain([group(first + 1)])
  t.equal(ids.dirty, true)
  t.equal(Object.keys(ids.toJSON().ids).length, 1)
  t.notOk(ids.has('a'))
  t.equal(ids.idOf('a'), first + 2, 'a new id, never an old one')
  t.same(ids.toJSON(), { next: first + 3, ids: { b: first + 1, a: first + 2 } })
  t.end()
})

void t.test('saved ids are ids again, and `next` never falls behind them', (t) => {
  const saved = new GroupIds({ next: first, ids: { a: first + 7 } })
  t.equal(saved.dirty, false)
  t.equal(saved.idOf('a'), first + 7)
  t.equal(saved.dirty, false, 'asking for a known one writes nothing')
  t.equal(saved.idOf('b'), first + 8)
  t.end()
})

void t.test('recovered ids are not given to others', (t) => {
  const ids = new GroupIds()
  ids.set('a', first + 3)
  t.equal(ids.idOf('b'), first + 4)
  t.equal(ids.idOf('a'), first + 3)
  t.end()
})

void t.test('the range has an end', (t) => {
  const ids = new GroupIds({ next: nexthopId.last, ids: {} })
  t.equal(ids.idOf('a'), nexthopId.last)
  t.throws(() => ids.idOf('b'), { code: 'internal' })
  t.equal(ids.idOf('a'), nexthopId.last)
  t.end()
})
