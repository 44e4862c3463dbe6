/**
 * The hook for AWS against a service that answers as EC2's API reference and the instance metadata documentation say:
 * DescribeRouteTables, DescribeNetworkInterfaces, ReplaceRoute, CreateRoute, and IMDSv2.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { done, FakeEc2, local, other, own, refused, secret, table } from '../../support/fake-ec2.ts'
import { runHookProgram, serve } from '../../support/hook-program.ts'
import type { Ran, Serving } from '../../support/hook-program.ts'

const eni = (id: string): string => `networkInterfaceId ${id} CreateRoute`
const remote = ['10.2.0.0/16', '10.4.0.0/16', 'fd00:2::/48']

async function begin(t: Test, cloud: FakeEc2) {
  const memory = path.join(mkdtempSync(path.join(tmpdir(), 'linkspan-test-')), 'hooks', 'made.json')
  t.teardown(() => {
    rmSync(path.dirname(path.dirname(memory)), { recursive: true })
  })
  let prefixes: readonly string[] = remote
  const serving: Serving = await serve(t, (asked) => cloud.answer(asked))
  const run = (config: readonly string[] = [], ...options: readonly string[]): Promise<Ran> =>
    runHookProgram(
      t,
      'aws-route-table',
      [
        `tables: [${table}]`,
        `endpoint: ${serving.url}`,
        `metadata: ${serving.url}`,
        `memory: ${memory}`,
        ...config,
      ],
      prefixes,
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
  const want = (some: readonly string[]): void => {
    prefixes = some
  }
  return { run, want, written, memory, asked: serving.asked }
}

void t.test('the first time, and then nothing', async (t) => {
  const cloud = new FakeEc2()
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
  const cloud = new FakeEc2({ '10.2.0.0/16': eni(other), '10.4.0.0/16': eni(own), 'fd00:2::/48': eni(other) })
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

void t.test('what it made and nobody wants any more is deleted, and nothing else', async (t) => {
  // By another hand, and leading here: somebody's who knows why.
  const cloud = new FakeEc2({ '0.0.0.0/0': eni(own), '10.4.0.0/16': eni(own) })
  const { run, want, written, memory } = await begin(t, cloud)
  t.equal((await run()).status, 0)
  want(['10.4.0.0/16', 'fd00:2::/48'])
  const dry = await run([], '--dry-run')
  t.match(dry.said, [/^1 other routes lead to/, `would DeleteRoute 10.2.0.0/16 in ${table}: ${own} -> none`])
  t.match((await run()).said, [/^1 other routes lead to/, /: 0 replaced, 0 created, 1 deleted$/])
  t.same([...cloud.routes.keys()], ['10.1.0.0/16', '0.0.0.0/0', '10.4.0.0/16', 'fd00:2::/48'])

  // Right when it was found: not made by this gateway, so not deleted either.
  want(['fd00:2::/48'])
  t.match((await run()).said, [/^2 other routes lead to/, /nothing to change$/])
  // Ours, led elsewhere by another hand, and back: not ours any more.
  cloud.routes.set('fd00:2::/48', eni(other))
  want(['10.4.0.0/16'])
  t.equal((await run()).status, 0)
  cloud.routes.set('fd00:2::/48', eni(own))
  t.equal((await run()).status, 0)
  t.equal(cloud.routes.get('fd00:2::/48'), eni(own))
  t.same(written().slice(3), [], 'no more than that')

  // Taken over from another gateway: ours from then on. Its interface may be gone by now.
  cloud.routes.set('10.2.0.0/16', eni(other))
  want(['10.2.0.0/16'])
  t.equal((await run()).status, 0)
  want(['10.4.0.0/16'])
  cloud.first.push(
    () => undefined,
    () => undefined,
    refused(400, 'InvalidRoute.NotFound', 'no such route'),
  )
  t.match(await run(), { status: 0, stderr: '' })

  for (const text of ['{', '{"schema":1,"routes":[{"table":1}]}', '{"schema":2,"routes":[]}']) {
    writeFileSync(memory, text)
    t.match((await run()).said[0], /made\.json cannot be read: routes that are not wanted any more stay/)
    t.equal(readFileSync(memory, 'utf8'), text)
  }
})

void t.test('throttled, it asks again', async (t) => {
  const cloud = new FakeEc2()
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
  const cloud = new FakeEc2()
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
  const cloud = new FakeEc2({ '10.2.0.0/16': eni(other), '10.4.0.0/16': eni(other) })
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
  const cloud = new FakeEc2()
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
  const cloud = new FakeEc2({ '10.2.0.0/16': eni(other) })
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
  const cloud = new FakeEc2({
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
  const cloud = new FakeEc2()
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
  const { run } = await begin(t, new FakeEc2())
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
