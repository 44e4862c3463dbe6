import fc from 'fast-check'
import t from 'tap'
import { LinkspanError } from '../../../agent/errors.ts'
import { decodeBundle, encodeBundle, isNoBundle, maxBundleBytes } from '../../../agent/registry/bundle.ts'
import type { BadLine, BundleEntry } from '../../../agent/registry/bundle.ts'

const jws = 'eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ.c2ln'
const text = (...lines: readonly string[]): Buffer =>
  Buffer.from(['linkspan-bundle 1', ...lines, `end ${lines.length}`, ''].join('\n'), 'latin1')

/** Name -> document, and what is wrong. */
function read(bundle: Uint8Array): { entries: Record<string, string>; badLines: readonly BadLine[] } {
  const decoded = decodeBundle(bundle)
  if (isNoBundle(decoded)) throw new Error(decoded.malformed)
  const entries = decoded.entries.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()])
  return { entries: Object.fromEntries(entries) as Record<string, string>, badLines: decoded.badLines }
}

function malformed(bundle: Uint8Array | string): string {
  const decoded = decodeBundle(Buffer.from(bundle))
  return isNoBundle(decoded) ? decoded.malformed : `no: ${JSON.stringify(decoded)}`
}

void t.test('as it is written', (t) => {
  const bundle = encodeBundle([
    { name: 'records/b.jws', bytes: Buffer.from(`${jws}\n`) },
    { name: 'authority/-_x.jws', bytes: Buffer.from(jws) },
    { name: 'fabric.jws', bytes: Buffer.from('{"not":"signed"}\n') },
    { name: 'records/a.jws', bytes: Buffer.alloc(0) },
  ])
  t.equal(
    bundle.toString(),
    [
      'linkspan-bundle 1',
      `authority/-_x.jws ${jws}`,
      'fabric.jws eyJub3QiOiJzaWduZWQifQo',
      'records/a.jws ',
      `records/b.jws ${jws}`,
      'end 4',
      '',
    ].join('\n'),
    'sorted, a document a line',
  )
  t.same(read(bundle), {
    entries: {
      'authority/-_x.jws': `${jws}\n`,
      'fabric.jws': '{"not":"signed"}\n',
      'records/a.jws': '',
      'records/b.jws': `${jws}\n`,
    },
    badLines: [],
  })
  t.same(read(encodeBundle([])), { entries: {}, badLines: [] })
  t.end()
})

void t.test('whatever the documents are, they come out as they went in', (t) => {
  const part = fc.base64String({ minLength: 4 }).map((value) => Buffer.from(value).toString('base64url'))
  const document = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(part, part, part).map((parts) => Buffer.from(`${parts.join('.')}\n`)),
    fc.string().map((value) => Buffer.from(value)),
  )
  const name = fc
    .stringMatching(/^[\w-][\w.-]{0,8}(\/[\w-][\w.-]{0,8}){0,3}$/)
    .filter((value) => value !== 'end')
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(name, document), { selector: ([key]) => key }), (pairs) => {
      const entries = pairs.map(([key, bytes]) => ({ name: key, bytes: Buffer.from(bytes) }))
      const decoded = decodeBundle(encodeBundle(entries))
      if (isNoBundle(decoded)) throw new Error(decoded.malformed)
      const sorted = entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))
      t.strictSame(plain(decoded.entries), plain(sorted))
      t.strictSame(decoded.badLines, [])
    }),
    { numRuns: 200 },
  )
  t.end()
})

function plain(entries: readonly BundleEntry[]): readonly string[] {
  return entries.map(({ name, bytes }) => {
    const document = Buffer.from(bytes).toString('latin1')
    // A JWS has one line feed at its end, whether or not it came with it.
    const isBare = /^[\w-]+\.[\w-]+\.[\w-]+$/.test(document)
    return `${name} ${isBare ? `${document}\n` : document}`
  })
}

void t.test('a bundle that was cut off anywhere is none', (t) => {
  const bundle = text(`fabric.jws ${jws}`, `records/a.jws ${jws}`, 'records/b.jws AAAA')
  for (let length = 0; length < bundle.length; length++) {
    const said = malformed(bundle.subarray(0, length))
    t.match(
      said,
      length === 0 ? /^is empty$/ : /^is cut off: its last line is not "end COUNT"$/,
      `${length} bytes`,
    )
  }
  t.end()
})

void t.test('a bit that flips spoils one line, or all', (t) => {
  const bundle = text(`fabric.jws ${jws}`, `records/a.jws ${jws}`, 'records/b.jws AAAA')
  const { entries } = read(bundle)
  const left = new Set<number>()
  for (let bit = 0; bit < bundle.length * 8; bit++) {
    const flipped = Buffer.from(bundle)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    const decoded = decodeBundle(flipped)
    if (isNoBundle(decoded)) continue
    const intact = decoded.entries.filter(
      ({ name, bytes }) => entries[name] === Buffer.from(bytes).toString(),
    )
    left.add(intact.length)
  }
  t.same(left, new Set([2]))
  t.end()
})

void t.test('what is no bundle', (t) => {
  const cases: readonly [string, string | Buffer, RegExp][] = [
    ['a web page', '<!DOCTYPE html>\n<p>', /^is no bundle: it begins with "<!DOCTYPE html>"$/],
    ['terminal controls', '\x1b[2J\n', /^is no bundle: it begins with "\\u001b\[2J"$/],
    ['a later version', 'linkspan-bundle 2\nend 0\n', /^is a bundle of version 2, expected 1$/],
    ['CR LF', text(`a ${jws}`).toString().replaceAll('\n', '\r\n'), /^has line ends of CR LF$/],
    ['a byte order mark', `\ufeff${text().toString()}`, /^is no bundle/],
    ['no end', `linkspan-bundle 1\na ${jws}\n`, /^is cut off/],
    [
      'a wrong count',
      `linkspan-bundle 1\na ${jws}\nend 2\n`,
      /^has 1 documents, and its last line says "end 2"$/,
    ],
    ['a count of another form', `linkspan-bundle 1\na ${jws}\nend 01\n`, /its last line says "end 01"/],
    [
      'an endless count',
      `linkspan-bundle 1\nend ${'0'.repeat(100)}\n`,
      /its last line says "end 000000000000"/,
    ],
    [
      'more after its end',
      'linkspan-bundle 1\nend 0\nend 1\n',
      /^line 2: goes on after the line that ends it$/,
    ],
    ['a second bundle', Buffer.concat([text(), text()]), /^line 2: goes on after/],
    [
      'a merge conflict',
      `linkspan-bundle 1\n<<<<<<< HEAD\na ${jws}\n=======\n>>>>>>> b\nend 1\n`,
      /^has 4 documents/,
    ],
  ]
  for (const [name, bundle, reason] of cases) t.match(malformed(bundle), reason, name)
  t.end()
})

void t.test('a line that is wrong counts alone', (t) => {
  const bad: readonly [string, RegExp, string?][] = [
    ['', /does not begin with a name/],
    [' ', /does not begin with a name/],
    [jws, /does not begin with a name/],
    [` ${jws}`, /does not begin with a name/],
    ['end', /does not begin with a name/],
    [`../etc/passwd ${jws}`, /does not begin with a name/],
    [`/etc/passwd ${jws}`, /does not begin with a name/],
    [`a/../b ${jws}`, /does not begin with a name/],
    [`.hidden ${jws}`, /does not begin with a name/],
    [`a//b ${jws}`, /does not begin with a name/],
    [`a/b/c/d/e ${jws}`, /does not begin with a name/],
    [`caf\xe9 ${jws}`, /does not begin with a name/],
    [`x\x00 ${jws}`, /does not begin with a name/],
    [`${'x'.repeat(129)} ${jws}`, /does not begin with a name/],
    [`${'x'.repeat(1_000_000)} ${jws}`, /does not begin with a name/],
    [`x  ${jws}`, /neither a JWS nor base64url/, 'x'],
    [`x ${jws} `, /neither a JWS nor base64url/, 'x'],
    [`x ${jws}\r`, /neither a JWS nor base64url/, 'x'],
    [`x ${jws}.more`, /neither a JWS nor base64url/, 'x'],
    ['x a.b', /neither a JWS nor base64url/, 'x'],
    ['x a..b', /neither a JWS nor base64url/, 'x'],
    ['x .a.b', /neither a JWS nor base64url/, 'x'],
    ['x {"a":1}', /neither a JWS nor base64url/, 'x'],
    ['x AAAA=', /neither a JWS nor base64url/, 'x'],
    ['x AB', /stray bits/, 'x'],
    ['x A', /stray bits/, 'x'],
  ]
  for (const [line, reason, name] of bad) {
    const { entries, badLines } = read(text(`a ${jws}`, line, `b ${jws}`))
    t.same(entries, { a: `${jws}\n`, b: `${jws}\n` }, line.slice(0, 40))
    t.match(badLines, [{ line: 3, reason }])
    t.equal(badLines[0]?.name, name)
    t.equal(badLines.length, 1)
  }
  t.end()
})

void t.test('a name that is given twice counts for nothing, in whatever order', (t) => {
  for (const [first, second] of [
    [jws, jws],
    ['AAAA', jws],
    [jws, '!'],
    ['!', jws],
  ]) {
    const { entries, badLines } = read(text(`a ${first}`, `b ${jws}`, `a ${second}`, `a ${second}`))
    t.same(entries, { b: `${jws}\n` })
    t.same(badLines, [{ line: 4, name: 'a', reason: 'has the name of line 2: neither counts' }])
  }
  t.end()
})

void t.test('limits', (t) => {
  const many = (count: number, line: (i: number) => string): Buffer => {
    const lines = Array.from({ length: count }, (_, i) => `${line(i)}\n`)
    return Buffer.from(`linkspan-bundle 1\n${lines.join('')}end ${count}\n`)
  }
  t.equal(read(many(1000, () => '')).badLines.length, 1000)
  t.match(malformed(many(1001, () => '')), /^line 1002: holds no document, as 1000 lines before it$/)
  t.match(malformed(many(1002, () => `a ${jws}`)), /^line 1003: holds no document/, 'twins count as bad')
  t.equal(Object.keys(read(many(200_000, (i) => `${i} AA`)).entries).length, 200_000)
  t.match(malformed(many(200_001, (i) => `${i} AA`)), /^has more than 200000 lines$/)
  t.match(malformed(Buffer.alloc(maxBundleBytes + 1, '\n')), /^is larger than 67108864 bytes$/)
  t.match(malformed(Buffer.concat([text().subarray(0, 18), Buffer.alloc(1_000_000, 'a')])), /^is cut off/)

  const refused = (...entries: readonly BundleEntry[]): string => {
    try {
      return `no: ${encodeBundle(entries).length} bytes`
    } catch (error) {
      return error instanceof LinkspanError ? `${error.code} ${error.object} ${error.reason}` : String(error)
    }
  }
  const none = Buffer.alloc(0)
  t.match(refused({ name: '../a', bytes: none }), /^document-invalid "..\/a" is no name of a document$/)
  t.match(refused({ name: 'end', bytes: none }), /^document-invalid "end" is no name/)
  t.match(
    refused({ name: 'a', bytes: none }, { name: 'a', bytes: none }),
    /^document-invalid a is given twice$/,
  )
  t.match(refused({ name: 'a', bytes: Buffer.alloc(maxBundleBytes) }), /is [0-9]+ bytes long, at most/)
  t.end()
})

void t.test('any bytes give an answer', (t) => {
  const header = Buffer.from('linkspan-bundle 1\n')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isHeaded) => {
      decodeBundle(isHeaded ? Buffer.concat([header, bytes]) : bytes)
    }),
    { numRuns: 2000 },
  )
  t.end()
})
