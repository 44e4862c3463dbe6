import fc from 'fast-check'
import t from 'tap'
import type { Reason } from '../../../agent/errors.ts'
import { EtcdContent } from '../../../agent/registry/etcd-content.ts'
import { parseEndpoint } from '../../../agent/registry/etcd-endpoint.ts'
import { EtcdFailure, reasonOfFailure } from '../../../agent/registry/etcd-failure.ts'
import { isInRange, keyAfter, keyOfName, keysBelow, nameOfKey } from '../../../agent/registry/etcd-key.ts'
import { EtcdOutbox } from '../../../agent/registry/etcd-outbox.ts'
import { pause } from '../../../agent/pause.ts'
import { backoffMs } from '../../../agent/registry/etcd-backoff.ts'
import { EtcdRegistry } from '../../../agent/registry/etcd.ts'
import { bagSteps } from '../../../agent/registry/https-source.ts'
import { drained } from '../../../agent/trust/voucher.ts'

const prefix = '/linkspan/prod'

function content(limits: Partial<{ bagBytes: number; valueBytes: number }> = {}): EtcdContent {
  return new EtcdContent(prefix, { bagBytes: 10_000, valueBytes: 1000, ...limits })
}

function objects(reasons: readonly Reason[]): string[] {
  return reasons.map(({ object }) => object)
}

function bytes(length: number): Uint8Array {
  return new Uint8Array(length)
}

/** What comes of it, and in how many pieces; `between` is called after the first. */
function pieces<T>(
  steps: Generator<void, T>,
  between: () => void = () => undefined,
): { readonly value: T; readonly count: number } {
  for (let count = 1; ; count++) {
    const { done, value } = steps.next()
    if (done === true) return { value, count }
    if (count === 1) between()
  }
}

void t.test('names of keys', (t) => {
  t.equal(nameOfKey(Buffer.from('/linkspan/prod/records/aws-a')), '/linkspan/prod/records/aws-a')
  t.equal(nameOfKey(Buffer.from('a b%\n\x7fé')), 'a%20b%25%0A%7F%C3%A9')
  fc.assert(
    fc.property(fc.uint8Array(), (key) => {
      const name = nameOfKey(key)
      t.match(name, /^[\x21-\x7e]*$/)
      t.same([...keyOfName(name)], [...key])
    }),
  )
  const keys = keysBelow(prefix)
  for (const key of ['/', '/a', '/\xff']) t.ok(isInRange(Buffer.from(`${prefix}${key}`, 'latin1'), keys), key)
  for (const key of ['', '0', '.', '-x']) t.notOk(isInRange(Buffer.from(`${prefix}${key}`), keys), key)
  t.equal(Buffer.compare(Buffer.from('a'), keyAfter(Buffer.from('a'))), -1)
  t.end()
})

void t.test('endpoints', (t) => {
  t.same(parseEndpoint('https://etcd.example:2379'), {
    url: 'https://etcd.example:2379',
    host: 'etcd.example',
    port: '2379',
    isSecure: true,
  })
  t.match(parseEndpoint('http://[fd00::1]/'), {
    url: 'http://[fd00::1]:2379',
    host: 'fd00::1',
    isSecure: false,
  })
  t.match(parseEndpoint('https://10.0.0.1:443'), { url: 'https://10.0.0.1:443', port: '443' })
  t.match(parseEndpoint('http://10.0.0.1:80'), { url: 'http://10.0.0.1:80' })
  for (const bad of [
    'etcd:2379',
    'host:2379',
    '',
    'https://',
    'ftp://host',
    'https://h/path',
    'https://h?q',
    '/x',
  ]) {
    t.throws(() => parseEndpoint(bad), { code: 'config-invalid', next: /https:\/\/HOST/ }, bad)
  }
  for (const secret of ['https://user:word@h:2379', 'https://word@h', 'nonsense//user:word@h']) {
    try {
      parseEndpoint(secret)
      t.fail(secret)
    } catch (error) {
      t.notMatch(String(error), /word@|:word/, secret)
    }
  }
  t.end()
})

void t.test('options that cannot work', (t) => {
  const endpoints = ['https://h:2379']
  const user = { name: 'u', password: 'word' }
  const wrong = { code: 'config-invalid' }
  t.throws(() => new EtcdRegistry({ endpoints: [], prefix }), wrong)
  for (const bad of ['', '/', 'linkspan', '/linkspan/', '//a', '/a b', '/é']) {
    t.throws(() => new EtcdRegistry({ endpoints, prefix: bad }), wrong, bad)
  }
  t.throws(() => new EtcdRegistry({ endpoints, prefix, files: { certificate: '/c' } }), wrong)
  t.throws(() => new EtcdRegistry({ endpoints: ['http://h:2379'], prefix, user }), /in the clear/)
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    t.ok(new EtcdRegistry({ endpoints: [`http://${host}:2379`], prefix, user }))
  }
  t.equal(new EtcdRegistry({ endpoints, prefix }).publish, undefined)
  t.type(new EtcdRegistry({ endpoints, prefix, keyOf: () => 'fabric' }).publish, 'function')
  t.end()
})

void t.test('one value is too long', (t) => {
  const known = content()
  t.equal(known.put('k/a', 1, bytes(1000)), true)
  t.equal(known.put('k/b', 2, bytes(1001)), false)
  t.equal(known.put('k/c', 3, undefined), false)
  t.same(objects(known.unreadable), ['etcd:k/b', 'etcd:k/c'])
  t.match(known.unreadable[0], { code: 'registry-unreadable', reason: 'is longer than 1000 bytes' })
  t.equal(known.put('k/b', 4, bytes(10)), true)
  t.equal(known.remove('k/c'), false, 'nobody has its document')
  t.equal(known.put('k/a', 5, bytes(2000)), false)
  t.same(objects(known.unreadable), ['etcd:k/a'])
  t.equal(known.remove('k/a'), true, 'its earlier document was taken')
  t.same(known.unreadable, [])
  t.equal(known.remove('k/a'), false)
  t.end()
})

void t.test('all together are too long', (t) => {
  const known = content({ bagBytes: 2000 })
  t.equal(known.put('k/a', 1, bytes(930)), true)
  t.equal(known.put('k/b', 2, bytes(930)), true)
  t.equal(known.put('k/c', 3, bytes(10)), false)
  t.same(objects(known.unreadable), [`etcd:${prefix}`], 'not even its key is kept')
  t.same(drained(known.differences(new Map([['k/a', 1], ['k/b', 2], ['k/c', 3]]))), { changed: [], gone: [] }) // prettier-ignore
  t.equal(known.put('k/b', 4, bytes(950)), false, 'a longer one in place of another')
  t.same(known.unreadable.map(({ reason }) => reason.slice(0, 11)), ['is left out', 'more keys a']) // prettier-ignore
  t.equal(known.put('k/b', 5, bytes(500)), true, 'a shorter one')
  const present = new Map([['k/a', 1], ['k/b', 5], ['k/c', 3]]) // prettier-ignore
  t.same(drained(known.differences(present)), { changed: ['k/c'], gone: [] }, 'there is room again')
  t.equal(known.put('k/c', 3, bytes(10)), true)
  t.same(known.unreadable, [])
  t.same(drained(known.differences(present)), { changed: [], gone: [] })
  t.end()
})

void t.test('what differs', (t) => {
  const known = content()
  for (const [i, name] of ['k/a', 'k/b', 'k/c'].entries()) known.put(name, i + 1, bytes(10))
  known.put('k/d', 4, undefined)
  const present = new Map([['k/a', 1], ['k/b', 7], ['k/d', 4], ['k/e', 8], ['x'.repeat(2000), 9]]) // prettier-ignore
  // One that was refused may have become shorter without a word.
  t.same(drained(known.differences(present)), { changed: ['k/b', 'k/d', 'k/e'], gone: ['k/c'] })
  t.same(objects(known.unreadable), ['etcd:k/d', `etcd:${prefix}`])
  t.end()
})

void t.test('a flood of keys costs no more than is allowed', (t) => {
  const known = content({ bagBytes: 100_000 })
  for (let i = 0; i < 5000; i++) known.put(`k/${i}`, i, undefined)
  t.equal(known.unreadable.length, 101)
  t.match(known.unreadable.at(-1), { object: `etcd:${prefix}`, reason: /^\d+ more keys are left out$/ })
  t.equal(content().put('x'.repeat(2000), 1, bytes(1)), false, 'nor does a long one')
  t.end()
})

void t.test('many are gone through in pieces', (t) => {
  const many = 100_000
  const known = content({ bagBytes: 1 << 30 })
  const present = new Map<string, number>()
  for (let i = 0; i < many; i++) {
    known.put(`k/${i}`, 1, bytes(0))
    present.set(`k/${i + many / 2}`, 1)
  }
  const differences = pieces(known.differences(present))
  t.ok(differences.count > 40, `${differences.count} pieces`)
  t.same([differences.value.changed.length, differences.value.gone.length], [many / 2, many / 2])

  const outbox = new EtcdOutbox(new AbortController().signal)
  outbox.all(new Map([...present.keys()].map((name) => [name, bytes(1)])), () => [])
  const bag = pieces(outbox.take(), () => {
    outbox.put('k/late', bytes(2))
  })
  t.ok(bag.count > 20, `${bag.count} pieces`)
  t.equal(bag.value?.documents.length, many)
  t.match(drained(outbox.take()), { documents: [{ origin: 'k/late' }], complete: false }, 'the next bag')
  for (const name of present.keys()) outbox.remove(name)
  const lost = pieces(outbox.take())
  t.ok(lost.count > 20 && lost.value?.gone?.length === many, `${lost.count} pieces`)

  const entries = [...present.keys()].map((name) => ({ name, bytes: bytes(1) }))
  const bundle = pieces(bagSteps(new URL('https://r.example/b'), { entries, badLines: [] }))
  t.ok(bundle.count > 20, `${bundle.count} pieces`)
  t.equal(bundle.value.documents.length, many)
  t.end()
})

void t.test('an outbox says all of it once', async (t) => {
  const stop = new AbortController()
  const outbox = new EtcdOutbox(stop.signal)
  const reason: Reason = { code: 'registry-unreadable', object: 'o', reason: 'r' }
  const origin = 'etcd:k'
  t.equal(drained(outbox.take()), undefined)
  outbox.unreachable([reason])
  t.same(drained(outbox.take()), { documents: [], gone: [], complete: false, unreadable: [reason] })
  outbox.unreachable([reason])
  t.equal(drained(outbox.take()), undefined, 'the same reason')
  outbox.all(new Map([[origin, bytes(1)]]), () => [])
  outbox.put('etcd:l', bytes(2))
  outbox.put(origin, bytes(3))
  outbox.remove('etcd:l')
  t.same(drained(outbox.take()), {
    documents: [{ origin, bytes: bytes(3) }],
    complete: true,
    unreadable: [],
  })
  outbox.put(origin, bytes(1))
  outbox.remove(origin)
  t.same(drained(outbox.take()), { documents: [], gone: [origin], complete: false, unreadable: [] })
  outbox.remove(origin)
  outbox.put(origin, bytes(1))
  t.match(drained(outbox.take()), { documents: [{ origin }], gone: [] })
  t.equal(drained(outbox.take()), undefined)
  outbox.checked()
  t.same(drained(outbox.take()), { documents: [], gone: [], complete: false, unreadable: [] })

  await outbox.wait() // what happened before
  let woken = false
  const waiting = outbox.wait().then(() => (woken = true))
  await pause(10, stop.signal)
  t.equal(woken, false)
  outbox.rouse()
  await waiting
  const ended = outbox.wait()
  stop.abort()
  await ended
})

void t.test('failures in words', (t) => {
  const say = (code: number, detail: string, caller = {}): Reason =>
    reasonOfFailure(new EtcdFailure(code, detail, caller), 'https://h:2379')
  const when = (at: string): string =>
    `No connection established. Last error: Error: something odd (${at}). Resolution note: `
  t.same(say(14, when('2026-11-21T14:46:44.667Z')), say(14, when('2027-01-01T00:00:00.001Z')), 'no times')
  t.equal(say(14, when('2026-11-21T14:46:44.667Z')).reason, 'something odd')
  const evil = say(2, `line\nfeed \u001b[31m${'x'.repeat(1000)}`)
  t.match(evil.reason, /^line feed \[31mx+…$/)
  t.ok(evil.reason.length <= 201)
  t.match(say(14, ''), { code: 'registry-unreadable', reason: 'failed without a word' })
  t.match(say(14, 'etcdserver: no leader'), { reason: /no leader/ })
  t.match(say(8, 'etcdserver: mvcc: database space exceeded'), { next: /disarm/ })
  t.match(say(3, 'etcdserver: request is too large'), { next: /max-request-bytes/ })
  t.match(say(7, 'etcdserver: permission denied', { user: 'g' }), { code: 'permission', reason: /user "g"/ })
  t.match(say(14, 'x SSL alert number 42'), { reason: /asks for a client certificate/ })
  t.match(say(14, 'x SSL alert number 48', { certificate: 'CN=g' }), { reason: /refuses .*CN=g/ })
  t.end()
})

void t.test('backoff', (t) => {
  const [low, high] = [(): number => 0, (): number => 0.999_999]
  for (let round = 1; round < 40; round++) {
    const most = Math.min(5000, 100 * 2 ** (round - 1))
    t.equal(backoffMs(round, false, low), most / 2)
    t.ok(backoffMs(round, false, high) <= most)
  }
  t.equal(backoffMs(0, false, low), 50)
  t.equal(backoffMs(1000, true, low), 15_000)
  t.end()
})
