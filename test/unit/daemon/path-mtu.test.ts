/** Trials are asked when they are due, and what they find is told. */
import { mock } from 'node:test'
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { PathMtus } from '../../../agent/daemon/path-mtu.ts'
import type { MtuView } from '../../../agent/probe/mtu-table.ts'
import type { SizeTrial } from '../../../agent/probe/port.ts'

const path = { id: 'b wan', gateway: 'b', underlay: 'wan', mtu: 1440, intervalMs: 200, ground: 'here' }

function begin(remembered: ReadonlyMap<string, number> = new Map()) {
  const asked: (readonly SizeTrial[])[] = []
  const found: string[] = []
  const events = new Events()
  const mtus = new PathMtus({
    remembered,
    ask: (trials) => asked.push(trials),
    lossOf: () => 0,
    onFound: (id: string, { mtu, documents }: MtuView) => found.push(`${id} ${mtu}/${documents}`),
    events,
  })
  return { mtus, asked, found, told: () => events.since(0) }
}

/** Lets what is due happen: a clock that stands still but for this. */
async function pass(ms = 1): Promise<void> {
  await new Promise((resolve) => void setImmediate(resolve))
  mock.timers.tick(ms)
  await new Promise((resolve) => void setImmediate(resolve))
}

void t.test('trials go together, and what is found is told with what to do', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  const { mtus, asked, found, told } = begin()
  mtus.name([path, { ...path, id: 'c wan', gateway: 'c' }])
  t.same(found.splice(0), ['b wan 1440/1440', 'c wan 1440/1440'])
  await pass()
  t.same(asked, [])
  mtus.stand('b wan', true)
  mtus.stand('c wan', true)
  await pass()
  t.match(asked.splice(0), [[{ id: 'b wan' }, { id: 'c wan' }]], 'in one order')
  mtus.judge('c wan', 1, 'answered')
  t.same([found, told()], [[], []], 'nothing new')
  mtus.judge('b wan', 1, 'lost')
  t.same(found.splice(0), ['b wan 1280/1440'])
  t.match(told(), [
    {
      event: 'path-mtu-lowered',
      level: 'warning',
      fields: { gateway: 'b', underlay: 'wan', mtu: 1280, before: 1440 },
    },
  ])
  await pass()
  t.match(asked.splice(0), [[{ id: 'b wan', size: 1280 }]], 'the next one at once')
  mtus.judge('b wan', 2, 'answered')
  mtus.rest()
  await pass(600_000)
  t.same(asked, [], 'nobody is asked while nothing is known to be up')
  mtus.stand('b wan', true)
  mtus.close()
  await pass(600_000)
  t.same(asked, [], 'nor after the end')
})

void t.test('what an earlier run found holds until it is known better', (t) => {
  const { mtus, found } = begin(new Map([['b wan', 1328]]))
  mtus.name([path])
  t.same(found, ['b wan 1328/1440'])
  mtus.close()
  t.end()
})
