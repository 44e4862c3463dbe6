import t from 'tap'
import { Gate, heldBack } from '../../../agent/kernel/gate.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import type { Op } from '../../../agent/model/op.ts'
import { prefix } from '../../../agent/model/prefix.ts'

const ruleset: KernelObject = {
  kind: 'ruleset',
  table: 'linkspan',
  sets: [],
  chains: [],
  counters: [],
  digest: 'x',
}
const element: KernelObject = { kind: 'element', set: 'remote4_16', key: '10.2.0.0' }
const route: KernelObject = {
  kind: 'route',
  table: 19539,
  prefix: prefix('10.2.0.0/16'),
  type: 'unicast',
  nexthop: 1,
}
const group: KernelObject = { kind: 'group', id: 1, members: [] }

const add = (object: KernelObject): Op => ({ verb: 'add', object })
const remove = (object: KernelObject): Op => ({ verb: 'remove', object })

function shut(): Gate {
  const gate = new Gate()
  gate.take(add(ruleset), true)
  return gate
}

void t.test(
  'a ruleset that fails holds back what opens, over any number of lists, until one goes through',
  (t) => {
    const gate = new Gate()
    t.notOk(gate.holdsBack(add(route)), 'open at first')
    gate.take(add(ruleset), true)
    t.notOk(gate.mayReopen([add(route)]), 'the next list')
    t.ok(gate.holdsBack(add(route)))
    t.ok(gate.holdsBack({ verb: 'replace', object: route, before: route }))
    t.notOk(gate.holdsBack(add(ruleset)), 'it is tried again')
    t.notOk(gate.holdsBack(add(element)), 'elements only close')
    t.notOk(gate.holdsBack(remove(route)), 'what takes away goes on')
    t.ok(gate.holdsBack(remove(group)), 'save what others may stand on')
    gate.take(add(element), false)
    t.ok(gate.holdsBack(add(route)))
    gate.take(add(ruleset), false)
    t.notOk(gate.holdsBack(add(route)))
    t.notOk(gate.holdsBack(remove(group)))
    t.match(heldBack(add(route)), { code: 'netlink', object: /10\.2\.0\.0\/16/, next: /nft table/ })
    t.end()
  },
)

void t.test('after a look at the table, no ruleset among the ops may mean that it is as desired', (t) => {
  const gate = shut()
  gate.look()
  t.notOk(gate.mayReopen([add(ruleset)]), 'it is not')
  t.notOk(gate.mayReopen([add(route)]), 'a look counts once')
  gate.look()
  t.ok(gate.mayReopen([add(route)]))
  gate.reopen()
  t.notOk(gate.holdsBack(add(route)))
  gate.take(add(element), true)
  t.ok(gate.holdsBack(add(route)), 'a missing set says that it was not')
  t.end()
})

void t.test('removing the table is no failure to load one', (t) => {
  const gate = new Gate()
  gate.take(remove(ruleset), true)
  gate.take(add(element), true)
  t.notOk(gate.holdsBack(add(route)))
  t.end()
})
