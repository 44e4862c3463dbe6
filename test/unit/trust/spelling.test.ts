import t from 'tap'
import { didYouMean, nearest } from '../../../agent/trust/spelling.ts'

void t.test('the nearest known word', (t) => {
  const known = ['fabric', 'site', 'registry', 'gateway', 'prefixes', 'exclude']
  t.equal(nearest('fabrik', known), 'fabric')
  t.equal(nearest('stie', known), 'site', 'two letters swapped are one edit')
  t.equal(nearest('Gateway', known), 'gateway')
  t.equal(nearest('prefix', known), 'prefixes')
  t.equal(nearest('authority', known), undefined)
  t.equal(nearest('', known), undefined)
  t.equal(nearest('x'.repeat(100_000), known), undefined)
  t.equal(didYouMean('fabrik', known), 'did you mean "fabric"?')
  t.match(didYouMean('zzzzzzz', known), /^known are: fabric, /)
  t.end()
})
