import t from 'tap'
import { certify, parseGrant } from '../../../agent/cli/certify.ts'
import type { CertifyOptions } from '../../../agent/cli/certify.ts'
import type { Request } from '../../../agent/model/document.ts'
import type { Certificate, Fabric } from '../../../agent/model/fabric.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { certificateOf, fabricOf, identityOf, requestOf } from '../../support/documents.ts'

interface Scene {
  fabric?: Fabric
  request?: Request
  certificates?: readonly Certificate[]
  numbers?: Record<string, number>
  options?: Partial<CertifyOptions>
}

function issue({ fabric, request, certificates, numbers, options }: Scene): ReturnType<typeof certify> {
  return certify(
    fabric ?? fabricOf(),
    request ?? requestOf(9),
    certificates ?? [],
    new Map(Object.entries(numbers ?? {})),
    { replace: false, ...options },
    1_700_000_000_000,
  )
}

void t.test('from a request to a certificate', (t) => {
  const { certificate, warnings } = issue({})
  t.same(certificate, {
    fabric: 'prod',
    serial: 1_700_000_000_000,
    gateway: 'g9',
    number: 1,
    site: { name: 's9', provider: '', region: '', labels: {} },
    plane: 0,
    identity: identityOf('g9'),
    notBefore: 1_700_000_000_000,
    notAfter: 1_734_387_200_000,
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
    serial: 1_800_000_000_000,
    grants: ['defaultRoute'],
    site: requestOf(9).site,
  })
  t.throws(() => issue({ certificates: [before] }), {
    message: /has a certificate already/,
    next: 'give --replace',
  })
  const { certificate } = issue({ certificates: [before], options: { replace: true } })
  t.match(certificate, { number: 7, plane: 2, serial: 1_800_000_000_001, grants: ['defaultRoute'] })
  t.end()
})

void t.test('what stands against it', (t) => {
  t.throws(() => issue({ request: requestOf(9, { fabric: 'other' }) }), {
    message: /asks for the fabric other/,
  })
  t.throws(() => issue({ fabric: fabricOf({ removed: ['g9'] }) }), { message: /under removed/ })
  t.throws(() => issue({ certificates: [certificateOf(1, { identity: identityOf('g9') })] }), {
    message: /certified for g1/,
  })
  t.throws(() => issue({ options: { networks: ['lam'] } }), {
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
