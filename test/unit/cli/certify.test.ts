import t from 'tap'
import { certify, parseGrant, parseNetwork, parseSpecial, stands } from '../../../agent/cli/certify.ts'
import type { CertifyOptions } from '../../../agent/cli/certify.ts'
import type { Request } from '../../../agent/model/document.ts'
import type { Certificate, Fabric } from '../../../agent/model/fabric.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { certificateOf, fabricOf, identityOf, nowMs, requestOf } from '../../support/documents.ts'

interface Scene {
  fabric?: Fabric
  request?: Request
  certificates?: readonly Certificate[]
  numbers?: Record<string, number>
  above?: number
  options?: Partial<CertifyOptions>
}

const now = nowMs

function issue({
  fabric,
  request,
  certificates,
  numbers,
  above,
  options,
}: Scene): ReturnType<typeof certify> {
  return certify(
    {
      fabric: fabric ?? fabricOf(),
      certificates: certificates ?? [],
      numbers: new Map(Object.entries(numbers ?? {})),
      ...(above === undefined ? {} : { above }),
    },
    request ?? requestOf(9),
    { replace: false, ...options },
    { serial: 77, nowMs: now },
  )
}

void t.test('from a request to a certificate', (t) => {
  const { certificate, warnings } = issue({})
  t.same(certificate, {
    fabric: 'prod',
    serial: 77,
    gateway: 'g9',
    number: 1,
    site: { name: 's9', provider: '', region: '', labels: {} },
    plane: 0,
    identity: identityOf('g9'),
    notBefore: now,
    notAfter: now + 398 * 86_400_000,
    prefixes: [{ prefix: '10.9.0.0/16' }],
    networks: [],
    grants: [],
  })
  t.same(warnings, [])
  t.end()
})

void t.test('numbers are never reused, planes are', (t) => {
  const site = requestOf(9).site
  const certificates = [certificateOf(1), certificateOf(3, { site }), certificateOf(4, { site, plane: 2 })]
  const { certificate } = issue({ certificates, numbers: { gone: 2 } })
  t.equal(certificate.number, 5)
  t.equal(certificate.plane, 1)
  t.equal(
    issue({ certificates, numbers: { g9: 2 } }).certificate.number,
    2,
    'its own number comes back to it',
  )
  t.throws(() => issue({ numbers: { gone: 2 }, options: { number: 2 } }), {
    message: /number 2 belongs to gone/,
  })
  t.throws(() => issue({ certificates, options: { plane: 2 } }), {
    message: /plane 2 of site s9 belongs to g4/,
  })
  const four = [0, 1, 2, 3].map((plane) => certificateOf(plane + 1, { site, plane, prefixes: [] }))
  t.throws(() => issue({ certificates: four }), { message: /has 4 gateways already: g1, g2, g3, g4/ })
  t.end()
})

void t.test('a new certificate for a known gateway', (t) => {
  const before = certificateOf(9, {
    number: 7,
    plane: 2,
    grants: ['defaultRoute'],
    site: requestOf(9).site,
  })
  t.throws(() => issue({ certificates: [before] }), {
    message: /has a certificate already \(number 7, plane 2\)/,
    next: /--replace.*linkspan ca renew g9/,
  })
  const { certificate } = issue({ certificates: [before], options: { replace: true } })
  t.match(certificate, { number: 7, plane: 2, serial: 77, grants: ['defaultRoute'] })
  t.end()
})

void t.test('a lost memory gives out no number twice', (t) => {
  const certificates = [certificateOf(1), certificateOf(5)]
  t.equal(issue({ certificates }).certificate.number, 2)
  t.equal(issue({ certificates, above: 5 }).certificate.number, 6)
  t.equal(issue({ certificates, above: 65_534 }).certificate.number, 2, 'but where none is left above')
  t.end()
})

void t.test('what does not count holds no place, prefix or key', (t) => {
  const site = requestOf(9).site
  const prefixes = [{ prefix: prefix('10.9.0.0/16') }]
  const other = { ...requestOf(9).site, name: 's1' }
  const gone = certificateOf(1, { site: other, prefixes, identity: identityOf('g9') })
  const neighbour = certificateOf(2, { site, prefixes: [], serial: 44 })
  const certificates = [gone, neighbour]
  t.throws(() => issue({ certificates }), { message: /certified for g1/ })
  const fabric = fabricOf({ removed: ['g1'], revoked: { serials: [44], identities: [] } })
  const { certificate } = issue({ fabric, certificates })
  t.match(certificate, { plane: 0, number: 3 }, 'its number it keeps')
  const expired = certificates.map((one) => ({ ...one, notAfter: now }))
  t.match(issue({ certificates: expired }).certificate, { plane: 0, number: 3 })
  t.ok(stands(fabricOf(), gone, now))
  t.notOk(stands(fabricOf({ revoked: { serials: [], identities: [gone.identity] } }), gone, now))
  t.end()
})

void t.test('a plane that was given away meanwhile', (t) => {
  const site = requestOf(9).site
  const before = certificateOf(9, { site, plane: 1, notAfter: now - 1 })
  const certificates = [before, certificateOf(1, { site, plane: 1, prefixes: [] })]
  t.equal(issue({ certificates, options: { replace: true } }).certificate.plane, 0)
  t.end()
})

void t.test('shared prefixes', (t) => {
  const prefixes = [{ prefix: prefix('10.9.0.0/16') }]
  const held = certificateOf(1, { prefixes, grants: ['shared'] })
  const asked = { certificates: [held], options: { grants: ['shared'] } } as const
  t.match(issue(asked).warnings, [/10\.9\.0\.0\/16 is shared with g1 of site s1: one site at a time/])
  t.same(issue(asked).certificate.grants, ['shared'])
  t.throws(() => issue({ certificates: [held] }), { message: /is certified to g1.*g9 has not/ })
  t.throws(() => issue({ ...asked, certificates: [{ ...held, grants: [] }] }), { message: /g1 has not/ })
  const before = certificateOf(9, { grants: ['shared'], site: requestOf(9).site })
  const taken = issue({ certificates: [before], options: { replace: true, grants: [] } })
  t.same(taken.certificate.grants, [], 'and taken back')
  t.end()
})

void t.test('networks', (t) => {
  const fabric = fabricOf({
    networks: [
      { name: 'blue', vni: 5001, kind: 'l3' },
      { name: 'lan', vni: 7001, kind: 'l2' },
    ],
  })
  const blue = { name: 'blue', prefixes: [prefix('10.50.0.0/16')] }
  const request = requestOf(9, { networks: [blue, { name: 'lan' }] })
  const networks = (wanted?: readonly string[]): unknown =>
    issue({ fabric, request, options: wanted === undefined ? {} : { networks: wanted.map(parseNetwork) } })
      .certificate.networks
  t.same(networks(), [blue, { name: 'lan' }])
  t.same(networks(['blue']), [blue], 'with the prefixes that were asked for')
  t.same(networks(['blue=10.60.0.0/16,fd00::/48']), [
    { name: 'blue', prefixes: ['10.60.0.0/16', 'fd00::/48'] },
  ])
  for (const wrong of ['', 'Blue', 'blue=', 'blue=10.0.0.1/8', 'blue=10.0.0.0/8=x', 'a b']) {
    t.throws(() => parseNetwork(wrong), { code: 'usage', object: '--network' }, wrong)
  }
  t.end()
})

void t.test('special grants as they are typed', (t) => {
  t.same(parseSpecial(['shared', 'defaultRoute', 'shared']), ['shared', 'defaultRoute'])
  t.same(parseSpecial(['none']), [])
  t.throws(() => parseSpecial(['defaultroute']), { code: 'usage', next: /did you mean "defaultRoute"/ })
  t.throws(() => parseSpecial(['none', 'shared']), { code: 'usage' })
  t.end()
})

void t.test('what stands against it', (t) => {
  t.throws(() => issue({ request: requestOf(9, { fabric: 'other' }) }), {
    message: /asks for the fabric other/,
  })
  t.throws(() => issue({ fabric: fabricOf({ removed: ['g9'] }) }), {
    message: /under removed/,
    next: /ca remove g9 --undo/,
  })
  const revoked = { serials: [], identities: [identityOf('g9')] }
  t.throws(() => issue({ fabric: fabricOf({ revoked }) }), { message: /its identity key is revoked/ })
  const reinstalled = certificateOf(9, { identity: identityOf('before') })
  t.throws(() => issue({ certificates: [reinstalled] }), {
    message: /another identity key/,
    next: /reinstall.*--replace/,
  })
  t.throws(() => issue({ certificates: [certificateOf(1, { identity: identityOf('g9') })] }), {
    message: /certified for g1/,
  })
  t.throws(() => issue({ options: { networks: [{ name: 'lam' }] } }), {
    message: /no network "lam".*did you mean "lan"/,
  })
  const held = certificateOf(1, { prefixes: [{ prefix: prefix('10.9.0.0/16') }] })
  t.throws(() => issue({ certificates: [held] }), {
    message: /10\.9\.0\.0\/16 is certified to g1 of site s1/,
  })
  t.same(
    issue({ certificates: [{ ...held, site: requestOf(9).site, plane: 1 }] }).warnings,
    [],
    'its own site may hold it',
  )
  const wide = certificateOf(1, { prefixes: [{ prefix: prefix('10.0.0.0/8') }] })
  t.match(issue({ certificates: [wide] }).warnings, [
    '10.9.0.0/16 overlaps 10.0.0.0/8 of g1 (site s1): the longer one wins',
  ])
  t.end()
})

void t.test('grants as they are typed', (t) => {
  t.same(parseGrant('10.1.0.0/16'), { prefix: '10.1.0.0/16' })
  t.same(parseGrant('10.1.0.0/16:24'), { prefix: '10.1.0.0/16', maxLength: 24 })
  t.same(parseGrant('fd00:1::/48'), { prefix: 'fd00:1::/48' })
  t.same(parseGrant('fd00:1::/48:64'), { prefix: 'fd00:1::/48', maxLength: 64 })
  for (const wrong of [
    '10.1.0.0/16:8',
    '10.1.0.0/16:33',
    '10.1.0.0/16:',
    '10.1.0.0/16:x',
    '10.1.2.3/16',
    '10.1.0.0:24',
    '',
  ]) {
    t.throws(() => parseGrant(wrong), { code: 'usage' }, wrong)
  }
  t.end()
})
