import fc from 'fast-check'
import t from 'tap'
import { locateJson, parseJson } from '../../../agent/trust/json.ts'

void t.test('reads what JSON.parse reads, where there is no fraction and no duplicate', (t) => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom(null, true, false),
      fc.maxSafeInteger().map((n) => (Object.is(n, -0) ? 0 : n)),
      fc.string({ unit: 'binary' }),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        tie('any'),
        { maxKeys: 4, noNullPrototype: true },
      ),
    ),
  })).any
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 1, '\t'), (of, indent) => {
      const text = JSON.stringify(of, null, indent)
      const parsed = parseJson(text)
      return 'value' in parsed && JSON.stringify(parsed.value) === JSON.stringify(JSON.parse(text))
    }),
  )
  t.pass('the same')
  t.end()
})

void t.test('never throws, and faults lie inside the text', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from('{}[]",:\\u0123e-.tfn \n')) }), (text) => {
      const parsed = parseJson(text)
      return 'value' in parsed || (parsed.offset >= 0 && parsed.offset <= text.length)
    }),
    { numRuns: 2000 },
  )
  t.pass('as said')
  t.end()
})

void t.test('locates values and keys', (t) => {
  const text = '{"a": [1, {"b": [2, 3]}], "b": 4}'
  t.equal(locateJson(text, [], 'value'), 0)
  t.equal(locateJson(text, ['a'], 'value'), text.indexOf('[1'))
  t.equal(locateJson(text, ['a', 0], 'value'), text.indexOf('1'))
  t.equal(locateJson(text, ['a', 1, 'b', 1], 'value'), text.indexOf('3'))
  t.equal(locateJson(text, ['a', 1, 'b'], 'key'), text.indexOf('"b"'))
  t.equal(locateJson(text, ['b'], 'value'), text.indexOf('4'))
  t.equal(locateJson(text, ['a', 1, 'x'], 'value'), text.indexOf('{"b"'), 'the nearest container')
  t.end()
})
