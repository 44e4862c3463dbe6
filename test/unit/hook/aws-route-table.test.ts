/**
 * The hook for AWS against a service that answers as EC2's API reference and the instance metadata documentation say:
 * DescribeRouteTables, DescribeNetworkInterfaces, ReplaceRoute, CreateRoute, and IMDSv2.
 */
import t from 'tap'
import type { Test } from 'tap'
import { signed } from '../../../agent/hook/sigv4.ts'
import { runHookProgram, serve } from '../../support/hook-program.ts'
import type { Asked, Ran, Said, Serving } from '../../support/hook-program.ts'

const own = 'eni-0bbbbbbbbbbbbbbbb'
const other = 'eni-0aaaaaaaaaaaaaaaa'
const table = 'rtb-0123456789abcdef0'
const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
const sessionToken = 'IQoJb3JpZ2luX2VjEXAMPLE=='
const local = 'gatewayId local CreateRouteTable'

const metadata: Readonly<Record<string, string>> = {
  '/latest/meta-data/placement/region': 'eu-west-1',
  '/latest/meta-data/mac': '0a:00:00:00:00:01',
  '/latest/meta-data/network/interfaces/macs/0a:00:00:00:00:01/interface-id': own,
  '/latest/meta-data/iam/security-credentials/': 'linkspan-gateway',
  '/latest/meta-data/iam/security-credentials/linkspan-gateway': JSON.stringify({
    Code: 'Success',
    Type: 'AWS-HMAC',
    AccessKeyId: 'ASIAEXAMPLE',
    SecretAccessKey: secret,
    Token: sessionToken,
    Expiration: '2030-01-01T00:00:00Z',
  }),
}

class Cloud {
  /** Destination -> `KEY TARGET ORIGIN`, as in `networkInterfaceId eni-1 CreateRoute`. */
  readonly routes: Map<string, string>
  isChecked = false
  role = true
  /** Answers that come first, whatever is asked of EC2. */
  readonly first: (Said | ((form: URLSearchParams) => Said | undefined))[] = []

  constructor(routes: Readonly<Record<string, string>> = {}) {
    this.routes = new Map(Object.entries({ '10.1.0.0/16': local, ...routes }))
  }

  answer(asked: Asked): Said | undefined {
    if (asked.path === '/latest/api/token') return { body: 'AQAEAExampleToken==' }
    if (asked.path.startsWith('/latest/')) {
      if (asked.headers['x-aws-ec2-metadata-token'] !== 'AQAEAExampleToken==') return { status: 401 }
      if (!this.role && asked.path.includes('/iam/')) return undefined
      const body = metadata[asked.path]
      return body === undefined ? undefined : { body }
    }
    if (!isSigned(asked)) {
      return refused(401, 'AuthFailure', 'AWS was not able to validate the provided access credentials')
    }
    const form = new URLSearchParams(asked.body)
    const next = this.first.shift()
    const said = typeof next === 'function' ? next(form) : next
    return said ?? this.#ec2(form)
  }

  #ec2(form: URLSearchParams): Said {
    const action = form.get('Action') ?? ''
    const prefix = form.get('DestinationCidrBlock') ?? form.get('DestinationIpv6CidrBlock') ?? ''
    const target = `networkInterfaceId ${form.get('NetworkInterfaceId') ?? ''} CreateRoute`
    switch (action) {
      case 'DescribeNetworkInterfaces':
        return done(
          action,
          `<networkInterfaceSet><item><networkInterfaceId>${form.get('NetworkInterfaceId.1') ?? ''}</networkInterfaceId>
          <sourceDestCheck>${this.isChecked}</sourceDestCheck><status>in-use</status></item></networkInterfaceSet>`,
        )
      case 'DescribeRouteTables':
        return done(
          action,
          `<routeTableSet><item><routeTableId>${form.get('RouteTableId.1') ?? ''}</routeTableId><vpcId>vpc-1</vpcId>
          <routeSet>${[...this.routes].map(routeXml).join('')}</routeSet><associationSet/><tagSet/></item></routeTableSet>`,
        )
      case 'ReplaceRoute':
        if (!this.routes.has(prefix)) {
          return refused(
            400,
            'InvalidParameterValue',
            `There is no route defined for '${prefix}' in the route table`,
          )
        }
        this.routes.set(prefix, target)
        return done(action, '<return>true</return>')
      case 'CreateRoute':
        if (this.routes.has(prefix)) {
          return refused(400, 'RouteAlreadyExists', `The route identified by ${prefix} already exists.`)
        }
        this.routes.set(prefix, target)
        return done(action, '<return>true</return>')
      default:
        return refused(400, 'InvalidAction', `The action ${action} is not valid for this web service.`)
    }
  }
}

/** As the service works it out for itself. */
function isSigned({ headers, body }: Asked): boolean {
  const date = headers['x-amz-date'] as string
  const at = new Date(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  const sent = { host: headers.host ?? '', 'content-type': headers['content-type'] ?? '' }
  const credentials = { accessKeyId: 'ASIAEXAMPLE', secretAccessKey: secret, sessionToken }
  const scope = { region: 'eu-west-1', service: 'ec2', at }
  const { authorization } = signed({ method: 'POST', path: '/', headers: sent, body }, credentials, scope)
  return headers.authorization === authorization
}

function done(action: string, body: string): Said {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>
<${action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>${body}</${action}Response>`
  return { headers: { 'content-type': 'text/xml;charset=UTF-8' }, body: xml }
}

function refused(status: number, code: string, message: string): Said {
  const body = `<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>`
  return { status, headers: { 'content-type': 'text/xml;charset=UTF-8' }, body }
}

function routeXml([prefix, text]: readonly [string, string]): string {
  const [key = '', target = '', origin = ''] = text.split(' ')
  const destination = prefix.includes(':') ? 'destinationIpv6CidrBlock' : 'destinationCidrBlock'
  return `<item><${destination}>${prefix}</${destination}><${key}>${target}</${key}><state>active</state><origin>${origin}</origin></item>`
}

const eni = (id: string): string => `networkInterfaceId ${id} CreateRoute`
const remote = ['10.2.0.0/16', '10.4.0.0/16', 'fd00:2::/48']

async function begin(t: Test, cloud: Cloud) {
  const serving: Serving = await serve(t, (asked) => cloud.answer(asked))
  const run = (config: readonly string[] = [], ...options: readonly string[]): Promise<Ran> =>
    runHookProgram(
      t,
      'aws-route-table',
      [`tables: [${table}]`, `endpoint: ${serving.url}`, `metadata: ${serving.url}`, ...config],
      remote,
      ...options,
    )
  /** What was asked of EC2 that writes. */
  const written = (): readonly string[] =>
    serving.asked
      .map(({ body }) => new URLSearchParams(body))
      .filter((form) => /^(Replace|Create|Delete)/.test(form.get('Action') ?? ''))
      .map(
        (form) =>
          `${form.get('Action') ?? ''} ${form.get('DestinationCidrBlock') ?? form.get('DestinationIpv6CidrBlock') ?? ''}`,
      )
  return { run, written, asked: serving.asked }
}

void t.test('the first time, and then nothing', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  const first = await run()
  t.same(first, {
    status: 0,
    said: [`3 routes in 1 tables to ${own}: 0 replaced, 3 created`],
    stderr: '',
  })
  t.same([...cloud.routes], [['10.1.0.0/16', local], ...remote.map((prefix) => [prefix, eni(own)])])
  t.equal(written().length, 3)
  t.match((await run()).said, [/: nothing to change$/])
  t.equal(written().length, 3, 'no call that writes')
})

void t.test('taken over from another gateway; a dry run only says so', async (t) => {
  const cloud = new Cloud({ '10.2.0.0/16': eni(other), '10.4.0.0/16': eni(own), 'fd00:2::/48': eni(other) })
  const { run, written } = await begin(t, cloud)
  const dry = await run([], '--dry-run')
  t.same(dry.said.slice(0, 2), [
    `would ReplaceRoute 10.2.0.0/16 in ${table}: ${other} -> ${own}`,
    `would ReplaceRoute fd00:2::/48 in ${table}: ${other} -> ${own}`,
  ])
  t.same(written(), [])
  t.match((await run()).said, [/: 2 replaced, 0 created$/])
  t.same(written().toSorted(), ['ReplaceRoute 10.2.0.0/16', 'ReplaceRoute fd00:2::/48'])
})

void t.test('throttled, it asks again', async (t) => {
  const cloud = new Cloud()
  cloud.first.push(
    { ...refused(503, 'RequestLimitExceeded', 'Request limit exceeded.'), headers: { 'retry-after': '0' } },
    refused(400, 'Throttling', 'Rate exceeded'),
  )
  const { run, asked } = await begin(t, cloud)
  const { status, said } = await run()
  t.equal(status, 0, said.join('\n'))
  t.equal(asked.filter(({ path }) => path === '/').length, 2 + 2 + 3)
})

void t.test('refused', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  const deny = refused(
    403,
    'UnauthorizedOperation',
    'You are not authorized. Encoded authorization failure message: abc',
  )
  cloud.first.push((form) => (form.get('Action') === 'DescribeNetworkInterfaces' ? deny : undefined))
  const denied = await run()
  t.equal(denied.status, 1)
  t.equal(
    denied.stderr,
    "ec2 DescribeNetworkInterfaces: UnauthorizedOperation: You are not authorized. (let the instance's role do ec2:DescribeNetworkInterfaces)\n",
  )
  t.same(written(), [])
  t.notMatch(denied.stderr, secret)
})

void t.test('half of it done: the rest is tried, said, and done the next time', async (t) => {
  const cloud = new Cloud({ '10.2.0.0/16': eni(other), '10.4.0.0/16': eni(other) })
  const { run, written } = await begin(t, cloud)
  const full = refused(400, 'RouteLimitExceeded', 'The maximum number of routes has been reached.')
  cloud.first.push(
    () => undefined,
    () => undefined,
    ...Array.from(
      { length: 3 },
      () => (form: URLSearchParams) => (form.get('Action') === 'CreateRoute' ? full : undefined),
    ),
  )
  const half = await run()
  t.equal(half.status, 1)
  t.match(half.stderr, /^ec2 CreateRoute: RouteLimitExceeded: .*have the quota of routes a table raised/)
  t.equal(cloud.routes.get('10.2.0.0/16'), eni(own))
  t.match((await run()).said, [/: 0 replaced, 1 created$/])
  t.same(written().slice(-1), ['CreateRoute fd00:2::/48'])
})

void t.test('a route that came into being meanwhile is replaced', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  cloud.first.push(
    () => undefined,
    () => {
      const listed = undefined
      setTimeout(() => cloud.routes.set('10.2.0.0/16', eni(other)), 0)
      return listed
    },
  )
  const { status, stderr } = await run()
  t.equal(status, 0, stderr)
  t.equal(cloud.routes.get('10.2.0.0/16'), eni(own))
  t.ok(written().includes('ReplaceRoute 10.2.0.0/16'))
})

void t.test('an instance that would not forward takes no route', async (t) => {
  const cloud = new Cloud({ '10.2.0.0/16': eni(other) })
  cloud.isChecked = true
  const { run, written } = await begin(t, cloud)
  const { status, stderr } = await run()
  t.equal(status, 1)
  t.match(
    stderr,
    /source\/destination check is on.*aws ec2 modify-network-interface-attribute .*--no-source-dest-check/,
  )
  t.same(written(), [])
})

void t.test('what leads elsewhere is left alone, and the rest is done', async (t) => {
  const cloud = new Cloud({
    '10.2.0.0/16': 'transitGatewayId tgw-1 CreateRoute',
    '10.4.0.0/16': eni(other),
    '10.9.0.0/16': eni(own),
  })
  const { run, written } = await begin(t, cloud)
  const { status, said, stderr } = await run()
  t.equal(status, 1)
  t.match(said, [/^1 other routes lead to eni-/, /1 replaced, 1 created$/])
  t.match(
    stderr,
    /^10.2.0.0\/16 in rtb-.* leads to tgw-1: 1 routes lead to what is no network interface, and stay/,
  )
  t.same(written().toSorted(), ['CreateRoute fd00:2::/48', 'ReplaceRoute 10.4.0.0/16'])
})

void t.test('wrong answers', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  for (const said of [
    { body: '<html><body>login</body></html>' },
    { body: 'x'.repeat(9 * 1024 * 1024) },
    { status: 302, headers: { location: 'https://example.com/' } },
    done('DescribeNetworkInterfaces', '<networkInterfaceSet/>'),
    { status: 400, body: 'no' },
  ]) {
    cloud.first.splice(0, Infinity, ...Array.from({ length: 6 }, () => said))
    const { status, stderr } = await run()
    t.equal(status, 1, stderr)
    t.match(stderr, /answered|no answer|its answer holds no eni-/)
  }
  cloud.role = false
  cloud.first.splice(0)
  t.match((await run()).stderr, /this instance has no role \(give the instance a role/)
  t.same(written(), [])
})

void t.test('its configuration', async (t) => {
  const { run } = await begin(t, new Cloud())
  t.match(await run(['interfac: eni-1']), {
    status: 2,
    stderr: /unknown key "interfac"[^]*did you mean "interface"/,
  })
  t.match(await run(['limit: 1']), { status: 2, stderr: /3 routes are more than a table's limit of 1/ })
  t.match(await run(['routes: [10.0.0.0/8, "fd00::/8"]']), { status: 0, said: [/^2 routes/] })
  const bad = await runHookProgram(
    t,
    'aws-route-table',
    [`tables: [${table}]`, 'endpoint: http://192.0.2.1'],
    [],
  )
  t.match(bad, { status: 2, stderr: /endpoint: expected https:\/\/HOST/ })
  t.match(await run([], '--dryrun'), { status: 2, stderr: /--dryrun/ })
})
