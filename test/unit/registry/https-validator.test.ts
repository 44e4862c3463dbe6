import t from 'tap'
import { conditionOf, retryAfterOf, validatorOf } from '../../../agent/registry/https-validator.ts'

const url = new URL('https://h/bundle?signed=1')
const place = 'https://h/bundle'
const date = 'Wed, 18 Nov 2026 10:00:10 GMT'
const settled = 'Wed, 18 Nov 2026 10:00:08 GMT'
const young = 'Wed, 18 Nov 2026 10:00:09 GMT'
const later = 'Wed, 18 Nov 2026 10:00:11 GMT'

void t.test('what a body is known by', (t) => {
  t.same(validatorOf(url, { etag: '"1"' }), { place, etag: '"1"' })
  t.same(validatorOf(url, { etag: 'W/"1"', date, 'last-modified': settled }), { place, etag: 'W/"1"' })
  t.same(validatorOf(url, { date, 'last-modified': settled }), { place, lastModified: settled })
  t.same(
    validatorOf(url, { etag: '"1"', 'last-modified': settled }),
    { place, etag: '"1"' },
    'no date to compare with',
  )
  for (const headers of [
    {},
    { 'last-modified': settled },
    { date, 'last-modified': young },
    { date, 'last-modified': later },
    { etag: '"1"', date, 'last-modified': young },
    { etag: '1' },
    { etag: '"a"b"' },
    { etag: `"${'a'.repeat(1001)}"` },
    { etag: '"\u00e9"' },
    { date, 'last-modified': 'never' },
  ]) {
    t.equal(validatorOf(url, headers), undefined, JSON.stringify(headers).slice(0, 80))
  }
  t.end()
})

void t.test('how it is asked for', (t) => {
  t.same(conditionOf(new URL('https://h/bundle?signed=2'), { place, etag: '"1"' }), {
    'if-none-match': '"1"',
  })
  t.same(conditionOf(url, { place, lastModified: settled }), { 'if-modified-since': settled })
  for (const other of ['https://h/other', 'https://i/bundle', 'https://h:8443/bundle'])
    t.same(conditionOf(new URL(other), { place, etag: '"1"' }), {}, 'nobody else knows the name')
  t.same(conditionOf(url, undefined), {})
  t.end()
})

void t.test('Retry-After', (t) => {
  const now = Date.parse('Thu, 01 Jan 1970 00:00:00 GMT')
  t.equal(retryAfterOf({ 'retry-after': '120' }, now), 120_000)
  t.equal(retryAfterOf({ 'retry-after': '0' }, now), 0)
  t.equal(retryAfterOf({ 'retry-after': later, date }, now), 1000, 'by the clock of the server')
  t.equal(retryAfterOf({ 'retry-after': settled, date }, now), 0)
  t.equal(retryAfterOf({ 'retry-after': 'Thu, 01 Jan 1970 00:01:00 GMT' }, now), 60_000)
  for (const after of ['', '-1', '1e9', 'soon', '99999999999'])
    t.equal(retryAfterOf({ 'retry-after': after }, now), undefined, after)
  t.end()
})
