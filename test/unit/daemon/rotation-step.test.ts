import t from 'tap'
import { dueAtMs, leastMs, longestMs, nextStep, quietMs } from '../../../agent/daemon/rotation-step.ts'
import type { RotationFacts } from '../../../agent/daemon/rotation-step.ts'

const day = 86_400_000
const madeAtMs = 1_000_000_000_000

/** Generation 1 is in force, generation 0 still offered, nobody uses it. */
function facts(change: Partial<RotationFacts> = {}): RotationFacts {
  return {
    gateway: 'aws-a',
    nowMs: madeAtMs + 3_600_000,
    newest: { number: 1, madeAtMs },
    older: { number: 0, madeAtMs: madeAtMs - 30 * day, isOffered: true },
    listed: { generation: 1, older: true },
    listedMs: quietMs,
    users: [],
    days: 0,
    ...change,
  }
}

const without = (key: keyof RotationFacts): RotationFacts =>
  Object.fromEntries(Object.entries(facts()).filter(([name]) => name !== key)) as unknown as RotationFacts

void t.test('one generation: the schedule decides', (t) => {
  const alone = { older: undefined, listed: { generation: 1, older: false } }
  t.strictSame(nextStep(facts({ ...alone, nowMs: madeAtMs + 4000 * day })), {
    phase: 'settled',
    step: 'none',
  })
  t.equal(nextStep(facts({ ...alone, days: 30 })).step, 'none')
  t.equal(nextStep(facts({ ...alone, days: 30, nowMs: madeAtMs + 30 * day })).step, 'begin')
  t.equal(
    nextStep(facts({ ...alone, days: 30, nowMs: madeAtMs - day })).step,
    'none',
    'a clock that went back',
  )
  t.equal(nextStep(facts({ days: 30, users: ['b'], nowMs: madeAtMs + 31 * day, listedMs: 1 })).step, 'none')
  t.end()
})

void t.test('gateways of one day do not rotate in one hour, and none is late', (t) => {
  const due = Array.from(
    { length: 200 },
    (_, i) => (dueAtMs({ gateway: `g-${i}`, newest: { number: 1, madeAtMs }, days: 100 }) ?? 0) - madeAtMs,
  )
  t.ok(due.every((ms) => ms > 90 * day && ms <= 100 * day))
  const hours = new Map<number, number>()
  for (const ms of due)
    hours.set(Math.floor(ms / 3_600_000), (hours.get(Math.floor(ms / 3_600_000)) ?? 0) + 1)
  t.ok(Math.max(...hours.values()) < 10, 'of 200 gateways in 240 hours')
  const ofGeneration = (number: number) => dueAtMs({ gateway: 'g', newest: { number, madeAtMs }, days: 100 })
  t.not(ofGeneration(1), ofGeneration(2), 'nor the same ones together each time')
  t.equal(dueAtMs({ gateway: 'g', newest: { number: 1, madeAtMs }, days: 0 }), undefined)
  t.end()
})

void t.test('retires when nobody shook hands by the old keys for 180 s', (t) => {
  t.strictSame(nextStep(facts()), { phase: 'moving', step: 'retire' })
  t.match(nextStep(facts({ users: ['b', 'c'] })), { step: 'none', waitsFor: /^2 gateways .*: b, c$/ })
  t.match(nextStep(facts({ listedMs: quietMs - 1000 })), { step: 'none', waitsFor: /they go in 1 s/ })
  t.match(nextStep(without('users')), { step: 'none', waitsFor: /not known/ })
  const many = Array.from({ length: 10 }, (_, i) => `g-${i}`)
  t.match(nextStep(facts({ users: many })), { waitsFor: /g-7 and 2 more$/ })
  t.end()
})

void t.test('or after a day, whoever uses them, but not before peers could hear of it', (t) => {
  const users = ['b']
  const nowMs = madeAtMs + longestMs
  t.equal(nextStep(facts({ users, nowMs: nowMs - 1, listedMs: longestMs })).step, 'none')
  t.equal(nextStep(facts({ users, nowMs, listedMs: leastMs })).step, 'retire')
  t.equal(nextStep(facts({ users, nowMs, listedMs: leastMs - 1 })).step, 'none')
  t.equal(
    nextStep({ ...without('listedMs'), nowMs: nowMs + longestMs }).step,
    'none',
    'nobody has heard of it',
  )
  t.end()
})

void t.test('never before our record with the new keys is in force', (t) => {
  for (const listed of [undefined, { generation: 0, older: false }, { generation: 0, older: true }]) {
    const base = without('listed')
    t.match(nextStep(listed === undefined ? base : { ...base, listed }), {
      phase: 'announcing',
      step: 'none',
    })
  }
  t.end()
})

void t.test('the secret goes when our record in force lists the old keys no more', (t) => {
  const older = { number: 0, madeAtMs, isOffered: false }
  t.match(nextStep(facts({ older })), { phase: 'retiring', step: 'none' })
  t.match(nextStep(facts({ older, listed: { generation: 1, older: false } })), { step: 'forget' })
  t.match(nextStep(facts({ older, listed: { generation: 0, older: false } })), { step: 'none' })
  t.match(nextStep({ ...without('listed'), older }), { step: 'none' })
  t.end()
})
