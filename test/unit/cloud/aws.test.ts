import t from 'tap'
import type { Test } from 'tap'
import { aws, awsFacts, macsOf } from '../../../agent/cloud/aws.ts'
import type { MetadataFailure } from '../../../agent/cloud/metadata-http.ts'
import type { CloudFacts } from '../../../agent/cloud/port.ts'
import {
  awsIdentity,
  awsInstance,
  awsMac,
  awsService,
  awsServiceWithoutTokens,
  MetadataServer,
  serve,
} from '../../support/metadata-server.ts'
import type { AwsPaths } from '../../support/metadata-server.ts'

async function factsOf(t: Test, paths: AwsPaths): Promise<CloudFacts> {
  return aws.ask((await serve(t, awsService(paths))).client())
}

async function failureOf(server: MetadataServer, signal?: AbortSignal): Promise<MetadataFailure> {
  return (await aws.ask(server.client(signal === undefined ? {} : { signal })).then(
    () => Promise.reject(new Error('it answered')),
    (error: unknown) => error,
  )) as MetadataFailure
}

const below = `meta-data/network/interfaces/macs/${awsMac}/`

void t.test('a dual-stack instance with two interfaces in a VPC of several blocks', async (t) => {
  const server = await serve(t, awsService())
  t.same(await aws.ask(server.client()), {
    provider: 'aws',
    region: 'us-east-1',
    zone: 'us-east-1c',
    instance: 'i-0123456789abcdef0',
    interfaces: [
      {
        mac: '06:b6:92:dd:9d:24',
        privateAddresses: ['10.1.16.10', '10.1.16.11', '2600:1f18:b80:ad00::10'],
        publicAddresses: ['54.1.2.3', '2600:1f18:b80:ad00::10'],
        networkPrefixes: ['10.1.0.0/16', '100.64.0.0/18', '2600:1f18:b80:ad00::/56'],
        subnetPrefixes: ['10.1.16.0/20', '2600:1f18:b80:ad00::/64'],
      },
      {
        mac: '0a:ff:c1:24:93:11',
        privateAddresses: ['10.1.32.10'],
        publicAddresses: [],
        networkPrefixes: ['10.1.0.0/16', '100.64.0.0/18'],
        subnetPrefixes: ['10.1.32.0/20'],
      },
    ],
    unusable: [],
  })
  t.equal(server.paths[0], 'PUT /latest/api/token')
  const [, ...gets] = server.asked
  t.ok(gets.length > 15)
  t.ok(gets.every(({ method, headers }) => method === 'GET' && headers['x-aws-ec2-metadata-token']))
  t.notMatch(server.paths.join('\n'), /user-data|iam|security-credentials/, 'no secrets are read')
})

void t.test('no public address, no IPv6, and nothing else that may be missing', async (t) => {
  const rest = Object.entries(awsInstance).filter(([path]) => !/public-ipv4s|ipv6s/.test(path))
  const facts = await factsOf(t, Object.fromEntries(rest))
  t.same(facts.interfaces[0]?.publicAddresses, [])
  t.same(facts.interfaces[0]?.privateAddresses, ['10.1.16.10', '10.1.16.11'])
  const bare = await factsOf(t, { 'dynamic/instance-identity/document': '{}' })
  t.same(bare, { provider: 'aws', region: '', zone: '', instance: '', interfaces: [], unusable: [] })
})

void t.test('of several Elastic IPs the one of the primary address comes first', async (t) => {
  const facts = await factsOf(t, {
    ...awsInstance,
    [`${below}public-ipv4s`]: '54.9.9.9\n54.1.2.3',
    [`${below}ipv4-associations/54.9.9.9`]: '10.1.16.11',
  })
  t.same(facts.interfaces[0]?.publicAddresses, ['54.1.2.3', '54.9.9.9', '2600:1f18:b80:ad00::10'])
  const unknown = await factsOf(t, { ...awsInstance, [`${below}public-ipv4s`]: '54.9.9.9\n54.8.8.8' })
  t.same(unknown.interfaces[0]?.publicAddresses.slice(0, 2), ['54.9.9.9', '54.8.8.8'], 'as listed')
})

void t.test('prefixes that cannot be are left out and told, the others stand', async (t) => {
  const blocks = '10.1.2.3/16\n0.0.0.0/0\n10.1.0.0/16\n169.254.0.0/16\nnone'
  const facts = await factsOf(t, { ...awsInstance, [`${below}vpc-ipv4-cidr-blocks`]: blocks })
  t.same(facts.interfaces[0]?.networkPrefixes, ['10.1.0.0/16', '2600:1f18:b80:ad00::/56'])
  t.equal(facts.unusable.length, 4)
  t.match(facts.unusable[0], `${awsMac} vpc-ipv4-cidr-blocks "10.1.2.3/16" has host bits set`)
})

void t.test('wrong types in the identity document', (t) => {
  const facts = awsFacts(JSON.stringify({ ...awsIdentity, region: ['us-east-1'], availabilityZone: 7 }), [])
  t.equal(facts?.region, '')
  t.equal(facts?.zone, '')
  t.equal(facts?.instance, awsIdentity.instanceId)
  t.equal(facts?.unusable.length, 2)
  for (const text of [undefined, '', 'null', '[]', '"x"', '7', '<html>', '{"region":']) {
    t.equal(awsFacts(text, []), undefined, JSON.stringify(text))
  }
  t.end()
})

void t.test('only MAC addresses become paths', (t) => {
  t.same(macsOf(`${awsMac}/\n../../user-data\n06:B6:92:DD:9D:25\r\n\n06:b6:92:dd:9d/\nx y`), [
    awsMac,
    '06:B6:92:DD:9D:25',
  ])
  t.same(macsOf(undefined), [])
  t.equal(macsOf(`${awsMac}/\n`.repeat(1000)).length, 64)
  t.end()
})

void t.test('a service without tokens is refused, and never read', async (t) => {
  const server = await serve(t, awsServiceWithoutTokens())
  const failure = await failureOf(server)
  t.match(failure.reason, /gives no token \(405\); version 1 is not used/)
  t.match(failure.next, /version 2/)
  t.same(server.paths, ['PUT /latest/api/token'])
})

void t.test('where both versions are offered, the token is used all the same', async (t) => {
  const server = await serve(t, awsService(awsInstance, { optional: true }))
  await aws.ask(server.client())
  t.ok(server.asked.slice(1).every(({ headers }) => headers['x-aws-ec2-metadata-token'] !== undefined))
})

void t.test('the service is switched off', async (t) => {
  const server = await serve(t, () => ({ status: 403 }))
  t.match(await failureOf(server), { reason: /switched off/, next: /HttpEndpoint enabled/ })
  t.equal(server.asked.length, 1)
})

void t.test('the token service is stopped, or busy', async (t) => {
  const server = await serve(t, () => ({ status: 503 }))
  t.match(await failureOf(server), { reason: /gives no token \(503\)/ })
  server.close()
  t.match(await failureOf(server), { reason: /ECONNREFUSED/ })
})

void t.test('a token that never comes: the hop limit is named', async (t) => {
  const end = new AbortController()
  const server = await serve(t, () => {
    end.abort()
    return undefined
  })
  t.match(await failureOf(server, end.signal), { reason: /no answer/, next: /HttpPutResponseHopLimit 2/ })
})

void t.test('a token that is none goes into no header', async (t) => {
  for (const body of [
    '',
    'short',
    '<html>not a token</html>',
    `AQAEAG\r\nx: y${'='.repeat(20)}`,
    'x'.repeat(513),
  ]) {
    const server = await serve(t, () => ({ body }))
    t.match(await failureOf(server), { reason: /no token/ }, JSON.stringify(body.slice(0, 30)))
    t.equal(server.asked.length, 1)
  }
})

void t.test('a token that is not taken any more is renewed once', async (t) => {
  const service = awsService()
  let refusals = 3
  const server = await serve(t, (request) =>
    request.url?.includes(awsMac) === true && refusals-- > 0 ? { status: 401 } : service(request),
  )
  t.equal((await aws.ask(server.client())).interfaces.length, 2)
  t.equal(server.paths.filter((asked) => asked.startsWith('PUT')).length, 2, 'one new token for all')
  refusals = Infinity
  const again = await serve(t, (request) => (request.method === 'GET' ? { status: 401 } : service(request)))
  const failure = await failureOf(again)
  t.match(failure.reason, /answered 401/)
  t.same(
    again.paths.map((asked) => asked.slice(0, 3)),
    ['PUT', 'GET', 'PUT', 'GET'],
  )
  t.notMatch(`${failure.message} ${failure.reason} ${failure.next ?? ''}`, /AQAEAG/, 'no token in an error')
})

void t.test('another service behind a token is not EC2', async (t) => {
  const server = await serve(t, ({ method }) => ({ body: method === 'PUT' ? 'AQAEAG9zd3==' : 'welcome' }))
  t.match(await failureOf(server), { reason: /identity document/ })
})
