/** `linkspan registry verify`, and what it says of single documents. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { judge } from '../../../agent/cli/registry-verify.ts'
import { seal } from '../../../agent/trust/envelope.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import type { Delivered } from '../../../agent/model/document.ts'
import { AuthorityRig, linkspan } from '../../support/authority.ts'
import {
  certificateDocument,
  delivered,
  deliveredText,
  fabricDocument,
  ground,
  identityKeyOf,
  identityOf,
  keyOf,
  moment,
  nowMs,
  recordDocument,
  requestDocument,
} from '../../support/documents.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

function standings(documents: readonly Delivered[]): Record<string, string> {
  const { judged } = judge(documents, { ...ground, moment }, (origin) => origin)
  return Object.fromEntries(
    judged.map(({ origin, standing, waitsFor, refusals }) => [
      origin,
      [standing, ...(waitsFor === undefined ? [] : [waitsFor]), ...refusals.map(({ rule }) => rule)].join(
        ' ',
      ),
    ]),
  )
}

void t.test('each by itself', (t) => {
  const elsewhere = certificateDocument(5)
  t.strictSame(
    standings([
      delivered(fabricDocument({ removed: ['g3'] }), 'fabric'),
      delivered(certificateDocument(1), 'c1'),
      delivered(certificateDocument(1), 'c1 again'),
      delivered(certificateDocument(1), 'c1 by another', keyOf('thief')),
      delivered(recordDocument(1, { serial: 2 }), 'r1'),
      delivered(recordDocument(1, { serial: 1 }), 'r1 old'),
      delivered(certificateDocument(2), 'c2'),
      delivered(recordDocument(2, { prefixes: [prefix('10.2.0.0/16'), prefix('10.9.0.0/16')] }), 'r2'),
      delivered(certificateDocument(3), 'c3'),
      delivered(certificateDocument(3), 'c3 again'),
      delivered(recordDocument(3), 'r3'),
      delivered(certificateDocument(4, { notAfter: nowMs - 86_400_000 }), 'c4'),
      delivered(elsewhere, 'c5'),
      delivered(recordDocument(5, { state: 'withdrawn' }), 'r5'),
      delivered(recordDocument(6), 'r6'),
      delivered(requestDocument(7), 'q7'),
      delivered(requestDocument(8), 'q8', keyOf('thief')),
      delivered(certificateDocument(9, { fabric: 'lab' }), 'c9'),
      deliveredText('x', 'x'),
    ]),
    {
      fabric: 'in force',
      c1: 'in force',
      'c1 again': 'in force',
      'c1 by another': 'refused authority',
      r1: 'in force',
      'r1 old': 'refused rollback',
      c2: 'in force',
      r2: 'in part certified',
      c3: 'refused removed',
      'c3 again': 'refused removed',
      r3: 'waits a certificate that counts',
      c4: 'refused expired',
      c5: 'in force',
      r5: 'in force',
      r6: 'refused certificate',
      q7: 'asks',
      q8: 'refused signer',
      c9: 'refused fabric',
      x: 'refused document',
    },
  )
  t.strictSame(standings([delivered(certificateDocument(1), 'c1'), delivered(recordDocument(1), 'r1')]), {
    c1: 'waits a fabric document',
    r1: 'waits a fabric document',
  })
  t.strictSame(
    standings([
      delivered(fabricDocument(), 'fabric'),
      delivered(certificateDocument(1, { prefixes: [{ prefix: prefix('127.0.0.0/8') }] }), 'c1'),
      delivered(certificateDocument(2, { number: 1 }), 'c2'),
      delivered(certificateDocument(3, { number: 1 }), 'c3'),
    ]),
    { fabric: 'in force', c1: 'refused number reserved', c2: 'refused number', c3: 'refused number' },
    'a number that three have',
  )
  t.end()
})

void t.test('as a command', async (t) => {
  const rig = new AuthorityRig(t.testdir())
  await rig.begin([1, 2])
  await rig.json('issue', 'g1')
  await rig.json('issue', 'g2')
  rig.put(recordDocument(1))
  const authority = rig.documents('fabric')[0]?.kid ?? ''
  const at = ['registry', 'verify', '--registry', rig.registry]
  t.match(await linkspan(at), { code: 2, stdout: '', stderr: /--authority: whose documents count\?/ })
  t.match(await linkspan([...at, '--authority', 'x']), { code: 2, stderr: /expected an Ed25519/ })
  t.match(await linkspan([...at, '--authority', authority, '--fabric', 'A B']), {
    code: 2,
    stderr: /--fabric/,
  })

  const good = await linkspan([...at, '--authority', authority])
  t.match(good, { code: 0, stderr: '' })
  t.match(good.stdout, /^PLACE +DOCUMENT +SERIAL +VERDICT\ncertificates\/g1 +certificate g1 +\d+ +in force\n/)
  t.match(good.stdout, /\nrequests\/g2 +request g2 +- +asks\n/)
  t.match(good.stdout, /\nfile:.*: 6 documents: 4 in force, 2 asks\n$/)

  writeFileSync(join(rig.registry, 'records/g2.jws'), seal('record', '{\n "fabrik": 1}', identityKeyOf('g2')))
  // A name that would begin a line of its own.
  writeFileSync(join(rig.registry, 'records/a\nb\u001b[2J.jws'), 'x')
  mkdirSync(join(rig.registry, 'certificates/g7.jws'))
  const bad = await linkspan([...at, '--authority', authority])
  t.match(bad, { code: 1, stderr: '' })
  t.match(
    bad.stdout,
    /\nrecords\/g2 +- +- +refused\n {4}document: .*records\/g2\.jws:2:2: fabrik: unknown field "fabrik".*\n.*\n.*\^\n +hint: /,
  )
  t.match(bad.stdout, /\nunreadable: .*certificates\/g7\.jws: is not a regular file/)
  t.match(bad.stdout, /2 refused; 1 unreadable\n$/)
  t.notMatch(bad.stdout, '\u001b')
  const json = await linkspan([...at, '--authority', authority, '--json'])
  t.equal(json.code, 1)
  const told = JSON.parse(json.stdout) as { documents: { place: string; refusals: object[] }[] }
  t.match(told, { schema: 1, ok: false, fabric: 'prod', authority, unreadable: [{}] })
  t.match(
    told.documents.find(({ place }) => place === 'records/g2'),
    { standing: 'refused', refusals: [{ rule: 'document', reason: /fabrik/ }] },
  )
  rmSync(join(rig.registry, 'records'), { recursive: true })
  rmSync(join(rig.registry, 'certificates'), { recursive: true })

  const other = await linkspan([...at, '--authority', identityOf('other')])
  t.match(other, { code: 1, stdout: /authority: .*which is not the authority's/ })
  t.match(other.stdout, /no fabric document in force\n$/)
  t.match(await linkspan([...at, '--authority', authority, '--fabric', 'lab']), {
    code: 1,
    stdout: /fabric: .*belongs to the fabric prod, this is lab/,
  })
  const none = await linkspan(['registry', 'verify', '--registry', t.testdir(), '--authority', authority])
  t.match(none, { code: 1, stdout: /0 documents: 0 in force; no fabric document in force\n$/ })
  t.equal((await linkspan(['registry', 'verify', '--registry', '/none', '--authority', authority])).code, 1)
})
