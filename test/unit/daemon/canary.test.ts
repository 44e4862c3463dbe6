import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { Canary } from '../../../agent/daemon/canary.ts'
import type { Reach } from '../../../agent/daemon/canary.ts'
import { Events } from '../../../agent/daemon/event.ts'
import { unfitReason } from '../../../agent/daemon/health.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import { exec } from '../../../agent/kernel/exec.ts'
import { reachTarget } from '../../../agent/kernel/reach.ts'
import { address } from '../../../agent/model/prefix.ts'
import { inputWith, gatewayWith } from '../../support/plan-input.ts'

const targets = [{ address: address('10.1.0.10') }, { address: address('10.1.0.11'), port: 80 }]

/** A canary whose targets answer as `answers` says, round by round; the last answer goes on. */
async function rounds(t: Test, answers: readonly (readonly boolean[])[], until: number): Promise<string> {
  let asked = 0
  const reach: Reach = () => {
    const round = Math.min(Math.floor(asked / targets.length), answers.length - 1)
    return Promise.resolve(answers[round]?.[asked++ % targets.length] ?? true)
  }
  const events = new Events()
  const canary = new Canary({ targets, reach, onChange: () => undefined, events, everyMs: 1 })
  t.teardown(() => {
    canary.stop()
  })
  while (asked < until * targets.length) await pause(1)
  canary.stop()
  return events
    .since(0)
    .map(({ event }) => event)
    .join(' ')
}

void t.test('three rounds without any target fail it, two with one make it well', async (t) => {
  const none = [false, false]
  const one = [false, true]
  t.equal(await rounds(t, [none, none, one, none, none, one], 8), '', 'two in a row are not enough')
  t.equal(await rounds(t, [none], 8), 'canary-failed')
  t.equal(await rounds(t, [none, none, none, one, none, one], 9), 'canary-failed canary-well')
})

void t.test('what cannot be asked says nothing, and is told once', async (t) => {
  const events = new Events()
  let asked = 0
  const reach: Reach = () => {
    asked++
    return Promise.reject(new LinkspanError({ code: 'exec', object: 'ping', reason: 'no such program' }))
  }
  const canary = new Canary({ targets, reach, onChange: () => undefined, events, everyMs: 1 })
  while (asked < 20) await pause(1)
  canary.stop()
  t.equal(canary.isFailed, false)
  t.same(
    events.since(0).map(({ event }) => event),
    ['canary-unusable'],
  )
})

void t.test('a connection that is accepted or refused is an answer', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const local = address('127.0.0.1')
  t.equal(await reachTarget(exec, { address: local, port }, 1000), true)
  server.close()
  await once(server, 'close')
  t.equal(await reachTarget(exec, { address: local, port }, 1000), true, 'refused')
})

void t.test('what hosts of the site are told', (t) => {
  const planned = inputWith({ gateways: [gatewayWith(1, 'aws-a'), gatewayWith(2, 'gcp-a')] })
  const entry = (site: string, standing: string): never => ({ site, verdict: { standing } }) as never
  const reason = (
    entries: readonly never[],
    state: Partial<{ isDraining: boolean; isCanaryFailed: boolean }> = {},
    settled = true,
  ): string | undefined =>
    unfitReason(
      { settled, planned },
      { entries: () => entries },
      { isDraining: false, isCanaryFailed: false, ...state },
    )
  const own = planned.snapshot.gateways.get(planned.own.gateway)?.site.name ?? ''
  t.equal(reason([]), undefined, 'alone')
  t.equal(reason([], {}, false), 'not set up yet')
  t.equal(reason([], { isDraining: true }), 'draining')
  t.equal(reason([], { isCanaryFailed: true }), 'no canary can be reached')
  t.equal(reason([entry('other', 'down'), entry('third', 'silent')]), undefined)
  t.equal(reason([entry('other', 'down'), entry(own, 'fit')]), 'no other site can be reached')
  t.end()
})
