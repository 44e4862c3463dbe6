import t from 'tap'
import { Mirrors } from '../../../agent/registry/https-mirror.ts'
import type { Mirror } from '../../../agent/registry/https-mirror.ts'

const times = {
  pollMs: 10_000,
  returnMs: 600_000,
  leastBackoffMs: 1000,
  mostBackoffMs: 60_000,
  mostRetryAfterMs: 300_000,
}
const urls = ['https://a/', 'https://b/', 'https://c/'].map((url) => new URL(url)) as [URL, URL, URL]
const reason = { code: 'registry-unreadable', object: 'it', reason: 'fails' } as const
const even = (): number => 0.5

function hosts(mirrors: readonly Mirror[]): string {
  return mirrors.map(({ url }) => url.hostname).join(' ')
}

/** A round at a time: each mirror that is asked works or not. */
function round(mirrors: Mirrors, nowMs: number, works: string): string {
  const asked: Mirror[] = []
  for (const mirror of mirrors.turn(nowMs)) {
    asked.push(mirror)
    if (works.includes(mirror.url.hostname)) {
      mirrors.worked(mirror, nowMs)
      return hosts(asked)
    }
    mirrors.failed(mirror, reason, undefined, nowMs)
  }
  mirrors.noneWorked()
  return hosts(asked)
}

void t.test('the one that works is stayed with, and the first is returned to', (t) => {
  const mirrors = new Mirrors(urls, times, even)
  t.equal(round(mirrors, 0, 'abc'), 'a')
  t.equal(round(mirrors, 10_000, 'bc'), 'a b', 'the next in turn')
  t.equal(round(mirrors, 20_000, 'abc'), 'b', 'the first works again, and it is not asked yet')
  t.equal(round(mirrors, 30_000, 'ac'), 'b c')
  t.equal(round(mirrors, 600_000, 'abc'), 'c')
  t.equal(round(mirrors, 630_000, 'bc'), 'a c', 'ten minutes after the last change; not the one between')
  t.equal(round(mirrors, 640_000, 'abc'), 'c')
  t.equal(round(mirrors, 1_230_000, 'abc'), 'a')
  t.equal(round(mirrors, 1_240_000, 'abc'), 'a')
  t.equal(round(mirrors, 9_999_000, ''), 'a b c', 'nothing to return to: the first is in use')
  t.equal(hosts([mirrors.used]), 'a')
  t.equal(mirrors.reasons.length, 3)
  t.end()
})

void t.test('waits', (t) => {
  const mirrors = new Mirrors(urls, times, even)
  t.equal(mirrors.waitMs(0), 10_000)
  const waits = Array.from({ length: 9 }, () => {
    round(mirrors, 0, '')
    return mirrors.waitMs(0) / 1000
  })
  t.same(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
  for (let i = 0; i < 2000; i++) mirrors.noneWorked()
  t.equal(mirrors.waitMs(0), 60_000, 'a day later')
  round(mirrors, 0, 'a')
  t.equal(mirrors.waitMs(0), 10_000)
  t.end()
})

void t.test('Retry-After', (t) => {
  const one = new Mirrors([urls[0]], times, () => 0)
  const [only] = one.turn(0) as [Mirror]
  one.failed(only, reason, 120_000, 0)
  one.noneWorked()
  t.equal(one.waitMs(0), 120_000, 'not earlier')
  t.same(one.turn(119_999), [])
  t.equal(hosts(one.turn(120_000)), 'a')
  one.failed(only, reason, 86_400_000, 120_000)
  t.equal(one.waitMs(120_000), 300_000, 'a server cannot send us away for a day')
  one.failed(only, reason, 0, 0)
  t.equal(one.waitMs(0), 750, 'nor make us hurry')

  const mirrors = new Mirrors(urls, times, even)
  const [first] = mirrors.turn(0) as [Mirror]
  mirrors.failed(first, reason, 60_000, 0)
  t.equal(hosts(mirrors.turn(1000)), 'b c', 'the others are asked meanwhile')
  t.end()
})

void t.test('a thousand gateways that start together do not stay together', (t) => {
  // A generator of its own, so that the run is the same each time (Park and Miller).
  let seed = 1
  const random = (): number => (seed = (seed * 48_271) % 0x7fff_ffff) / 0x7fff_ffff
  const fleet = Array.from({ length: 1000 }, () => ({
    mirrors: new Mirrors([urls[0]], times, random),
    atMs: 0,
  }))
  const perSecond = new Map<number, number>()
  const run = (fromMs: number, toMs: number, works: string, retryAfterMs?: number): void => {
    for (const gateway of fleet) {
      while (gateway.atMs < toMs) {
        const { mirrors, atMs } = gateway
        const second = Math.floor(atMs / 1000)
        if (atMs >= fromMs) perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
        round(mirrors, atMs, works)
        if (retryAfterMs !== undefined) mirrors.failed(mirrors.used, reason, retryAfterMs, atMs)
        gateway.atMs += mirrors.waitMs(atMs)
      }
    }
  }
  const most = (fromS: number, toS: number): number =>
    Math.max(...[...perSecond].filter(([s]) => s >= fromS && s < toS).map(([, count]) => count))
  run(0, 600_000, '')
  t.ok((perSecond.get(0) ?? 0) >= 1000, 'at first they do')
  t.ok(most(300, 600) < 60, `an outage: ${most(300, 600)} a second`)
  run(600_000, 700_000, 'a')
  t.ok(most(600, 700) < 200, `its end: ${most(600, 700)} a second`)
  run(700_000, 1_100_000, '', 300_000)
  t.ok(most(1000, 1100) > 0 && most(1000, 1100) < 60, `told to wait: ${most(1000, 1100)} a second`)
  t.end()
})
