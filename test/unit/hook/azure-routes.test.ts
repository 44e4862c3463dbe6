/**
 * The hook for Azure against a service that answers as the REST reference of Route Tables and Routes (2023-09-01), the page on
 * asynchronous operations of Azure Resource Manager, and that of the instance metadata service say.
 */
import t from 'tap'
import type { Test } from 'tap'
import { runHookProgram, serve } from '../../support/hook-program.ts'
import type { Asked, Ran, Said } from '../../support/hook-program.ts'

const group =
  '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/net/providers/Microsoft.Network'
const table = `${group}/routeTables/hosts`
const nic = `${group}/networkInterfaces/gw-b`
const token = 'eyJ0eXAiOiJKV1QiEXAMPLE.abc-_def'
const own = '10.1.0.5'
const other = '10.1.0.4'

interface Route {
  readonly prefix: string
  readonly type: string
  readonly address: string
}

class Cloud {
  readonly routes: Map<string, Route>
  isForwarding = true
  hasIdentity = true
  mayWriteTables = true
  readonly #before = new Map<string, (() => void)[]>()
  #version = 1
  /** Answers that come first at the resource manager, where they are about that method. */
  readonly first: { readonly method: string; readonly said: Said }[] = []
  /** How the next operations end. */
  readonly endings: unknown[] = []
  readonly #operations = new Map<
    string,
    { polls: number; readonly end: unknown; readonly carryOut: () => void }
  >()

  constructor(routes: Readonly<Record<string, string>> = {}) {
    this.routes = new Map(
      Object.entries(routes).map(([name, text]) => {
        const [prefix = '', address = '', type = 'VirtualAppliance'] = text.split(' ')
        return [name, { prefix, address, type }]
      }),
    )
  }

  answer(asked: Asked): Said | undefined {
    if (asked.path.startsWith('/metadata/')) return this.#metadata(asked)
    if (asked.headers.authorization !== `Bearer ${token}`)
      return refused(401, 'InvalidAuthenticationToken', 'no')
    const [work] = this.#before.get(asked.method)?.splice(0, 1) ?? []
    work?.()
    const at = this.first.findIndex(({ method }) => method === asked.method)
    if (at >= 0) return this.first.splice(at, 1)[0]?.said
    if (asked.path === nic) return json({ id: nic, properties: { enableIPForwarding: this.isForwarding } })
    if (asked.path === table && asked.method === 'GET') return json(this.#table())
    const operation = this.#operations.get(asked.path)
    if (operation !== undefined) return this.#poll(operation)
    if (asked.path === table) return this.#changeAll(asked)
    const name = asked.path.replace(`${table}/routes/`, '')
    return name === asked.path ? undefined : this.#change(asked, name)
  }

  #metadata({ path, query, headers }: Asked): Said | undefined {
    if (headers['metadata'] !== 'true') return { status: 400 }
    const ipv4 = { ipAddress: [{ privateIpAddress: own, publicIpAddress: '' }], subnet: [] }
    const ipv6 = { ipAddress: [{ privateIpAddress: 'fd00:1::5', publicIpAddress: '' }] }
    if (path === '/metadata/instance') {
      const network = { interface: [{ ipv4, ipv6, macAddress: '000D3A000001' }] }
      return json({ compute: { location: 'westeurope', vmId: 'x', zone: '1' }, network })
    }
    if (path !== '/metadata/identity/oauth2/token') return undefined
    const isRight = query.get('resource') === 'https://management.azure.com/' && query.has('api-version')
    if (!this.hasIdentity || !isRight)
      return json({ error: 'invalid_request', error_description: 'Identity not found' }, 400)
    return json({ access_token: token, expires_in: '86399', token_type: 'Bearer' })
  }

  #table(): unknown {
    const routes = [...this.routes].map(([name, { prefix, type, address }]) => ({
      name,
      id: `${table}/routes/${name}`,
      properties: {
        provisioningState: 'Succeeded',
        addressPrefix: prefix,
        nextHopType: type,
        ...(address === '' ? {} : { nextHopIpAddress: address }),
      },
    }))
    return {
      name: 'hosts',
      id: table,
      etag: this.#etag,
      location: 'westeurope',
      tags: { owner: 'net' },
      properties: {
        provisioningState: 'Succeeded',
        resourceGuid: '00000000-0000-0000-0000-000000000002',
        disableBgpRoutePropagation: true,
        routes,
        subnets: [{ id: `${group}/virtualNetworks/net/subnets/hosts` }],
      },
    }
  }

  get #etag(): string {
    return `W/"${this.#version}"`
  }

  /** Done before the next requests of that method are answered. */
  before(method: string, work: () => void, times = 1): void {
    this.#before.set(
      method,
      Array.from({ length: Math.min(times, 100) }, () => work),
    )
  }

  /** Somebody else changes it. */
  touch(): void {
    this.#version++
  }

  #changeAll({ method, body, headers }: Asked): Said {
    if (method !== 'PUT') return refused(405, 'MethodNotAllowed', 'no')
    if (!this.mayWriteTables)
      return refused(403, 'AuthorizationFailed', 'no authorization to routeTables/write')
    if (headers['if-match'] !== this.#etag) return refused(412, 'PreconditionFailed', 'Precondition failed.')
    const { location, tags, properties } = JSON.parse(body) as {
      location: string
      tags?: { owner?: string }
      properties: {
        disableBgpRoutePropagation?: boolean
        routes: readonly { name: string; properties: Given }[]
      }
    }
    // What a table loses by a careless change of all of it.
    const isWhole = location === 'westeurope' && tags?.owner === 'net'
    if (!isWhole || properties.disableBgpRoutePropagation !== true)
      return refused(400, 'BadRequest', 'not whole')
    const routes = properties.routes.map(({ name, properties: given }): [string, Route] => [
      name,
      routeOf(given),
    ])
    return this.#begin(json(this.#table()), () => {
      this.routes.clear()
      for (const [name, route] of routes) this.routes.set(name, route)
    })
  }

  #change({ method, body, query }: Asked, name: string): Said {
    if (query.get('api-version') !== '2023-09-01')
      return refused(400, 'MissingApiVersionParameter', 'api-version')
    // A table takes one change at a time.
    if ([...this.#operations.values()].some(({ polls }) => polls > 0)) {
      return refused(
        429,
        'AnotherOperationInProgress',
        'Another operation on this or dependent resource is in progress',
      )
    }
    const { properties = {} } = (body === '' ? {} : JSON.parse(body)) as { properties?: Given }
    const said = json(
      { name, properties: { ...properties, provisioningState: 'Updating' } },
      this.routes.has(name) ? 200 : 201,
    )
    return this.#begin(method === 'DELETE' ? { status: 202 } : said, () => {
      if (method === 'PUT') this.routes.set(name, routeOf(properties))
      else this.routes.delete(name)
    })
  }

  #begin(said: Said, carryOut: () => void): Said {
    const id = `/subscriptions/s/providers/Microsoft.Network/locations/westeurope/operations/${this.#operations.size + 1}`
    this.#operations.set(id, { polls: 2, end: this.endings.shift() ?? { status: 'Succeeded' }, carryOut })
    this.#version++
    const headers = {
      // Another host, as behind a private endpoint: the token must not go there.
      'azure-asyncoperation': `https://management.azure.com${id}?api-version=2023-09-01`,
      'retry-after': '0',
    }
    return { ...said, headers: { ...said.headers, ...headers } }
  }

  #poll(operation: { polls: number; readonly end: unknown; readonly carryOut: () => void }): Said {
    operation.polls--
    if (operation.polls > 0) return { ...json({ status: 'InProgress' }), headers: { 'retry-after': '0' } }
    if ((operation.end as { status: string }).status === 'Succeeded') operation.carryOut()
    return json(operation.end)
  }
}

interface Given {
  readonly addressPrefix?: string
  readonly nextHopType?: string
  readonly nextHopIpAddress?: string
}

function routeOf({
  addressPrefix: prefix = '',
  nextHopType: type = '',
  nextHopIpAddress: address = '',
}: Given): Route {
  return { prefix, type, address }
}

function json(value: unknown, status = 200): Said {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(value),
  }
}

function refused(status: number, code: string, message: string): Said {
  return { ...json({ error: { code, message } }, status), headers: { 'retry-after': '0' } }
}

const remote = ['10.2.0.0/16', 'fd00:2::/48']

async function begin(t: Test, cloud: Cloud) {
  const serving = await serve(t, (asked) => cloud.answer(asked))
  const run = (config: readonly string[] = [], ...options: readonly string[]): Promise<Ran> =>
    runHookProgram(
      t,
      'azure-routes',
      [`tables: [${table}]`, `endpoint: ${serving.url}`, `metadata: ${serving.url}`, ...config],
      remote,
      ...options,
    )
  const written = (): readonly string[] =>
    serving.asked
      .filter(({ method }) => method !== 'GET')
      .map(({ method, path }) => `${method} ${path.split('/').at(-1) ?? ''}`)
  return { run, written }
}

void t.test('the first time, and then nothing', async (t) => {
  const cloud = new Cloud({ internet: '0.0.0.0/0 - Internet' })
  const { run, written } = await begin(t, cloud)
  t.match(await run(), {
    status: 0,
    stderr: '',
    said: [/^2 routes in 1 tables to 10.1.0.5, .*: 2 put, 0 deleted$/],
  })
  t.same([...cloud.routes].slice(1), [
    ['linkspan-10.2.0.0_16', { prefix: '10.2.0.0/16', type: 'VirtualAppliance', address: own }],
    ['linkspan-fd00-2--_48', { prefix: 'fd00:2::/48', type: 'VirtualAppliance', address: 'fd00:1::5' }],
  ])
  t.match((await run()).said, [/: nothing to change$/])
  t.same(written(), ['PUT hosts'], 'one change of the table')
})

void t.test('who may not write tables changes routes one by one', async (t) => {
  const cloud = new Cloud()
  cloud.mayWriteTables = false
  const { run, written } = await begin(t, cloud)
  t.match(await run(), { status: 0, said: [/one by one: routeTables\/write would/, /: 2 put, 0 deleted$/] })
  t.same(written(), ['PUT hosts', 'PUT linkspan-10.2.0.0_16', 'PUT linkspan-fd00-2--_48'])
})

void t.test('somebody else changes the table meanwhile: it is read again', async (t) => {
  const cloud = new Cloud({ 'linkspan-10.2.0.0_16': `10.2.0.0/16 ${other}` })
  const { run, written } = await begin(t, cloud)
  cloud.before('PUT', () => {
    cloud.routes.set('by-hand', { prefix: '10.7.0.0/16', type: 'VirtualAppliance', address: other })
    cloud.touch()
  })
  const { status, stderr } = await run()
  t.equal(status, 0, stderr)
  t.same(written(), ['PUT hosts', 'PUT hosts'])
  t.same([...cloud.routes.keys()].sort(), ['by-hand', 'linkspan-10.2.0.0_16', 'linkspan-fd00-2--_48'])
  t.equal(cloud.routes.get('linkspan-10.2.0.0_16')?.address, own)

  const restless = new Cloud()
  restless.before(
    'PUT',
    () => {
      restless.touch()
    },
    Infinity,
  )
  const again = await begin(t, restless)
  t.match((await again.run()).stderr, /412 PreconditionFailed/)
  t.equal(again.written().length, 4, 'not for ever')
})

void t.test('taken over by the name that is there; what is over goes; a dry run only says so', async (t) => {
  const cloud = new Cloud({
    'by-hand': `10.2.0.0/16 ${other}`,
    'linkspan-fd00-2--_48': 'fd00:2::/48 fd00:1::5',
    'linkspan-10.9.0.0_16': `10.9.0.0/16 ${other}`,
    'to-firewall': `10.8.0.0/16 ${other}`,
  })
  const { run, written } = await begin(t, cloud)
  const dry = await run([], '--dry-run')
  t.same(dry.said.slice(0, 2), [
    `would PUT by-hand (10.2.0.0/16) in ${table}: ${other} -> ${own}`,
    `would DELETE linkspan-10.9.0.0_16 (10.9.0.0/16) in ${table}`,
  ])
  t.same(written(), [])
  t.match((await run()).said, [/: 1 put, 1 deleted$/])
  t.same(written(), ['PUT hosts'])
  t.same([...cloud.routes.keys()], ['by-hand', 'linkspan-fd00-2--_48', 'to-firewall'])
})

void t.test('throttled, it asks again', async (t) => {
  const cloud = new Cloud()
  cloud.first.push(
    { method: 'GET', said: { status: 429, headers: { 'retry-after': '0' }, body: 'slow down' } },
    { method: 'PUT', said: refused(409, 'AnotherOperationInProgress', 'later') },
    { method: 'PUT', said: { status: 503, headers: { 'retry-after': '0' }, body: 'unavailable' } },
  )
  const { run, written } = await begin(t, cloud)
  const { status, stderr } = await run()
  t.equal(status, 0, stderr)
  t.equal(written().length, 3, 'twice refused')
})

void t.test('refused', async (t) => {
  const cloud = new Cloud()
  cloud.first.push({
    method: 'GET',
    said: refused(403, 'AuthorizationFailed', 'The client has no authorization'),
  })
  const { run, written } = await begin(t, cloud)
  const denied = await run()
  t.equal(denied.status, 1)
  t.match(
    denied.stderr,
    /^azure, GET .*hosts: 403 AuthorizationFailed: .*\(give the VM's managed identity .*routes\/write/,
  )
  t.notMatch(denied.stderr, token)
  cloud.hasIdentity = false
  t.match((await run()).stderr, /gives no token \(400\).*give the VM a managed identity/)
  t.same(written(), [])
})

void t.test('half of it done: the rest is tried, said, and done the next time', async (t) => {
  const cloud = new Cloud()
  cloud.endings.push({
    status: 'Failed',
    error: { code: 'InternalServerError', message: 'An error occurred.' },
  })
  cloud.mayWriteTables = false
  const { run, written } = await begin(t, cloud)
  const half = await run()
  t.equal(half.status, 1)
  t.match(half.stderr, /routes\/linkspan-10.2.0.0_16: Failed InternalServerError An error occurred\./)
  t.same([...cloud.routes.keys()], ['linkspan-fd00-2--_48'])
  t.match((await run()).said, [/: 1 put, 0 deleted$/])
  t.same(written().slice(-1), ['PUT linkspan-10.2.0.0_16'])
})

void t.test('a VM that would not forward takes no route', async (t) => {
  const cloud = new Cloud()
  cloud.isForwarding = false
  const { run, written } = await begin(t, cloud)
  t.match(
    (await run([`interface: ${nic}`])).stderr,
    /IP forwarding is off.*az network nic update --ids .*--ip-forwarding true/,
  )
  t.same(written(), [])
  cloud.isForwarding = true
  t.equal((await run([`interface: ${nic}`])).status, 0)
})

void t.test('what leads elsewhere is left alone, and the rest is done', async (t) => {
  const cloud = new Cloud({ vpn: '10.2.0.0/16 - VirtualNetworkGateway' })
  const { run, written } = await begin(t, cloud)
  const { status, stderr } = await run()
  t.equal(status, 1)
  t.match(
    stderr,
    /^10.2.0.0\/16 in .*hosts leads to VirtualNetworkGateway: 1 routes lead to what is no appliance, and stay/,
  )
  t.same(written(), ['PUT linkspan-fd00-2--_48'])
})

void t.test('wrong answers, and a configuration that is none', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  for (const said of [
    { body: '<html>login</html>' },
    { body: '' },
    json({}),
    json([]),
    { status: 302, headers: { location: 'https://example.com/' } },
    { status: 400, body: 'no' },
  ]) {
    cloud.first.splice(0, Infinity, { method: 'GET', said })
    const { status, stderr } = await run()
    t.equal(status, 1, stderr)
    t.match(stderr, /with what is no answer|holds no routes/)
  }
  t.same(written(), [])
  const bad = await runHookProgram(t, 'azure-routes', ['tables: [hosts]'], [])
  t.match(bad, { status: 2, stderr: /tables\[0\]: expected \/subscriptions\/ID\/resourceGroups/ })
})
