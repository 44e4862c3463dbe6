/** Two generations of keys at one end or both: which devices there are, and which of them carries. */
import t from 'tap'
import { affected } from '../../../agent/plan/affected.ts'
import { currentPaths, laneRoles } from '../../../agent/plan/lane.ts'
import { localOf } from '../../../agent/plan/local.ts'
import { pathsTo } from '../../../agent/plan/path.ts'
import { ProbePlan } from '../../../agent/plan/probe.ts'
import { gatewayWith, inputWith, linesOf } from '../../support/plan-input.ts'
import { Paths } from '../../support/path-state.ts'
import type { PlanInput } from '../../../agent/plan/input.ts'
import type { GatewayText } from '../../support/plan-input.ts'

/** Of the far end, generations 0 and 1, by lane. */
const keyByLane = [0, 32, 4, 36]

const rotating: GatewayText = { generation: 1, rotating: true }

function inputOf(own: GatewayText, peer: GatewayText, words: readonly string[] = []): PlanInput {
  const gateways = [
    gatewayWith(1, 'a-a', { prefixes: ['10.1.0.0/16'], ...own }),
    gatewayWith(2, 'b-a', { prefixes: ['10.2.0.0/16'], ...peer }),
  ]
  return { ...inputWith({ gateways }), paths: new Paths(words) }
}

/** `device key port`, the one in use marked, those that rest in brackets. */
function lanes(own: GatewayText, peer: GatewayText, words: readonly string[] = []): readonly string[] {
  const input = inputOf(own, peer, words)
  const local = localOf(input)
  const gateway = input.snapshot.gateways.get('b-a')
  if (local === undefined || gateway === undefined) throw new Error('no gateway')
  const { paths } = pathsTo(local, gateway)
  const roles = laneRoles(paths, 'b-a', input.paths)
  const probed = new Set(new ProbePlan().of(input).map(({ device }) => device))
  return paths.map(({ device, publicKey, endpoint }) => {
    const text = `${device} ${publicKey} ${endpoint?.port ?? '-'}`
    const isProbed = probed.has(`ls-wg${device}`)
    return `${isProbed ? '' : '('}${text}${isProbed ? '' : ')'}${roles.get(device) === 'current' ? ' *' : ''}`
  })
}

void t.test('one generation at both ends: one lane', (t) => {
  t.strictSame(lanes({}, {}), ['0 b-a/0 51820 *'])
  t.strictSame(lanes({ generation: 1 }, { generation: 2 }), ['32 b-a/4 51824 *'])
  t.end()
})

void t.test('one end rotates: the new lane is probed, and used once it was heard', (t) => {
  const before = ['32 b-a/4 51824', '0 b-a/0 51820 *']
  t.strictSame(lanes(rotating, {}), before)
  t.strictSame(lanes(rotating, {}, ['b-a internet.2 down']), before, 'the far end has not heard of it')
  const after = ['32 b-a/4 51824 *', '(0 b-a/0 51820)']
  t.strictSame(lanes(rotating, {}, ['b-a internet.2 proven=b-a/4']), after)
  t.strictSame(lanes({}, rotating), ['4 b-a/32 51852', '0 b-a/0 51820 *'], 'the same from the other end')
  t.strictSame(lanes({}, rotating, ['b-a internet.1 proven=b-a/32']), ['4 b-a/32 51852 *', '(0 b-a/0 51820)'])
  t.end()
})

void t.test('generation 2 beside 1: the even devices are the new ones', (t) => {
  const next = { generation: 2, rotating: true }
  t.strictSame(lanes(next, {}, ['b-a internet proven=b-a/0']), ['0 b-a/0 51820 *', '(32 b-a/4 51824)'])
  t.strictSame(lanes(next, {}), ['0 b-a/0 51820', '32 b-a/4 51824 *'])
  t.end()
})

void t.test('what came back by a key that is gone proves nothing', (t) => {
  const used = lanes(rotating, {}, ['b-a internet.2 proven=b-a/older'])
  t.strictSame(used, ['32 b-a/4 51824', '0 b-a/0 51820 *'])
  t.end()
})

void t.test('both ends rotate: any of four lanes may be the newest that was heard', (t) => {
  const used = (...words: readonly string[]): string =>
    lanes(
      rotating,
      rotating,
      words.map((lane) =>
        `b-a internet.${lane} proven=b-a/${keyByLane[Number(lane)] ?? ''}`.replace('.0 ', ' '),
      ),
    )
      .filter((line) => line.endsWith('*'))
      .join()
  t.equal(lanes(rotating, rotating).length, 4)
  t.equal(used(), '0 b-a/0 51820 *')
  t.equal(used('0', '1'), '4 b-a/32 51852 *')
  t.equal(used('0', '2'), '32 b-a/4 51824 *')
  t.equal(used('0', '1', '2', '3'), '36 b-a/36 51856 *')
  t.end()
})

void t.test(
  'a lane that goes down after it was heard: back to an older one that is up, else it is down',
  (t) => {
    const heard = ['b-a internet.2 proven=b-a/4', 'b-a internet.2 down']
    t.strictSame(
      lanes(rotating, {}, heard),
      ['32 b-a/4 51824 *', '0 b-a/0 51820'],
      'the old one is asked again',
    )
    const both = [...heard, 'b-a internet proven=b-a/0']
    t.strictSame(lanes(rotating, {}, both), ['32 b-a/4 51824', '0 b-a/0 51820 *'])
    const group = (words: readonly string[]): string | undefined =>
      linesOf(inputOf(rotating, {}, words), ['group']).find((line) => line.includes('default b'))
    t.match(group(heard), /group 0x4c0000fe /, 'black-holed: fail closed, and at once')
    t.match(group([]), /group 0x4c000000 /)
    t.match(group(['b-a internet.2 proven=b-a/4']), /group 0x4c000020 /, 'one replace')
    t.end()
  },
)

void t.test('a lane that rests has no keepalive, and all take in what comes', (t) => {
  const peers = linesOf(inputOf(rotating, {}, ['b-a internet.2 proven=b-a/4']), ['peer'])
  t.match(
    peers.find((line) => line.includes('ls-wg0 ')),
    /keepalive 0/,
  )
  t.match(
    peers.find((line) => line.includes('ls-wg32')),
    /keepalive 25/,
  )
  const allowed = linesOf(inputOf(rotating, {}), ['allowed-ip'])
  for (const device of ['ls-wg0 ', 'ls-wg32 ']) {
    t.ok(
      allowed.some((line) => line.includes(device) && line.includes('10.2.0.0/16')),
      device,
    )
  }
  t.end()
})

void t.test('what the state of lanes touches: groups, and while keys rotate the peers', (t) => {
  const before = inputOf(rotating, {})
  const after = { ...before, paths: new Paths(['b-a internet.2 proven=b-a/4']) }
  t.strictSame(affected(before, after), ['groups b', 'gateway b-a'])
  const alone = inputOf({}, {})
  t.strictSame(affected(alone, { ...alone, paths: new Paths(['b-a internet']) }), ['groups b'])
  t.strictSame(affected(alone, { ...alone, paths: new Paths(['b-a internet.2']) }), [], 'no such lane')
  t.end()
})

void t.test('without a rotation nothing is copied', (t) => {
  const input = inputOf({}, {})
  const local = localOf(input)
  const gateway = input.snapshot.gateways.get('b-a')
  if (local === undefined || gateway === undefined) throw new Error('no gateway')
  const { paths } = pathsTo(local, gateway)
  t.equal(currentPaths(paths, 'b-a', input.paths), paths)
  t.end()
})
