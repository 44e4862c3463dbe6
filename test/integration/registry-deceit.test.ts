/**
 * Documents in the registry of a running agent that are not to be believed: unsigned, altered, signed by somebody else, old,
 * of another fabric. Each is refused by itself and by its rule, and the kernel does not hear of it.
 */
import t from 'tap'
import type { Document } from '../../agent/model/document.ts'
import type { RuleId } from '../../agent/trust/rulebook.ts'
import { identityKeyOf, keyOf, sealed } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { isolated } from '../support/isolate.ts'
import { certificate, firstPaper, isClean, makePaper, record } from '../support/paper.ts'

/** What stands in the place of a document and is not to be believed. `n`: the gateway's number. */
interface Deceit {
  readonly name: string
  readonly of: 'certificate' | 'record'
  readonly make: (n: number, document: Document) => string
  readonly rule: RuleId
  readonly reason: RegExp
}

/** The same with another payload, signature and all else as it was. */
function altered(document: Document): string {
  const parts = sealed(document).toString().split('.')
  const payload = JSON.stringify({ ...document.payload, serial: 9e15 })
  return [parts[0], Buffer.from(payload).toString('base64url'), parts[2]].join('.')
}

const deceits: readonly Deceit[] = [
  { name: 'an empty file', of: 'record', make: () => '', rule: 'document', reason: /is empty/ },
  {
    name: 'a page of a web server',
    of: 'record',
    make: () => '<html>200 OK</html>',
    rule: 'document',
    reason: /is no signed document/,
  },
  {
    name: 'an unsigned record',
    of: 'record',
    make: (_, { payload }) => JSON.stringify({ typ: 'linkspan-record', payload }),
    rule: 'document',
    reason: /is not signed/,
  },
  {
    name: 'an altered certificate',
    of: 'certificate',
    make: (_, document) => altered(document),
    rule: 'signature',
    reason: /the signature of this certificate is not by the key/,
  },
  {
    name: 'an altered record',
    of: 'record',
    make: (_, document) => altered(document),
    rule: 'signature',
    reason: /the signature of this record is not by the key/,
  },
  {
    name: 'the tail of a signature',
    of: 'record',
    // The last of 86 characters carries four bits that mean nothing; all but A, Q, g and w have some of them.
    make: (_, document) => sealed(document).toString().replace(/.\n$/, 'B\n'),
    rule: 'document',
    reason: /signature of another form/,
  },
  {
    name: 'a header with a space',
    of: 'record',
    make: (_, document) => {
      const [head = '', ...rest] = sealed(document).toString().split('.')
      const header = Buffer.from(head, 'base64url').toString().replace(':', ': ')
      return [Buffer.from(header).toString('base64url'), ...rest].join('.')
    },
    rule: 'document',
    reason: /header of another form/,
  },
  {
    name: 'a certificate by a stranger',
    of: 'certificate',
    make: (n) => sealed(certificate(n), keyOf('stranger')).toString(),
    rule: 'authority',
    reason: /is not the authority's/,
  },
  {
    name: 'a certificate by its own gateway',
    of: 'certificate',
    make: (n) => sealed(certificate(n), identityKeyOf(`g${n}`)).toString(),
    rule: 'authority',
    reason: /is not the authority's/,
  },
  {
    name: 'a record by a stranger',
    of: 'record',
    make: (n) => sealed(record(n), keyOf('stranger')).toString(),
    rule: 'signer',
    reason: /is not signed by the identity/,
  },
  {
    name: 'a certificate of another fabric',
    of: 'certificate',
    make: (n) => sealed(certificate(n, { fabric: 'lub' })).toString(),
    rule: 'fabric',
    reason: /belongs to the fabric lub, this is lab/,
  },
  {
    name: 'an older certificate',
    of: 'certificate',
    make: (n) => sealed(certificate(n, { serial: 0, prefixes: [] })).toString(),
    rule: 'rollback',
    reason: /is older than the one in force/,
  },
  {
    name: 'a withdrawal of yesterday',
    of: 'record',
    make: (n) => sealed(record(n, { serial: 0, state: 'withdrawn' })).toString(),
    rule: 'rollback',
    reason: /is older than the one in force/,
  },
  {
    name: 'another record with the serial of the first',
    of: 'record',
    make: (n, { payload }) =>
      sealed(record(n, { serial: 'serial' in payload ? payload.serial : 0, state: 'withdrawn' })).toString(),
    rule: 'equivocation',
    reason: /says something else/,
  },
]

await isolated(import.meta.url, async (directory) => {
  const { left, right, documents, whole, put, putAll, until } = await makePaper(directory, deceits.length)

  await t.test(
    'fault 18, fault 19: everything that is not to be believed is refused by itself',
    async (t) => {
      const files = deceits.map((deceit, i) => {
        const document = documents[i]?.[deceit.of]
        if (document === undefined) throw new Error('too few gateways on paper')
        return { ...deceit, file: put(document, deceit.make(firstPaper + i, document)) }
      })
      const status = await until('a refusal for each', ({ refusals }) => refusals.length >= deceits.length)
      t.equal(status.refusals.length, deceits.length, 'no others')
      t.equal(status.health, 'degraded')
      for (const { name, file, rule, reason } of files) {
        const [refusal] = status.refusals.filter(({ origin }) => origin === file)
        t.match(refusal, { rule, reason }, name)
        t.equal(refusal?.excerpt, undefined, `${name}: no place in it is named`)
      }
      t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'the kernel state is the same')
      const shown = left.cli('status').stdout
      for (const { name, file, rule } of files) {
        const [refusal] = status.refusals.filter(({ origin }) => origin === file)
        t.ok(shown.includes(`${refusal?.object ?? ''}: refused: `), `${name} (${rule}) is shown`)
      }
      putAll()
      await until('no refusal', isClean)
      t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'nor does putting them right change anything')
    },
  )

  for (const gateway of [left, right]) t.equal(await gateway.stop(), 0, `${gateway.name} stops`)
})
