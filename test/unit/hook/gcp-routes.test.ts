/**
 * The hook for Google Cloud against a service that answers as the Compute Engine reference (routes, globalOperations,
 * instances, v1) and the page on VM metadata say.
 */
import t from 'tap'
import type { Test } from 'tap'
import { runHookProgram, serve } from '../../support/hook-program.ts'
import type { Asked, Ran, Said } from '../../support/hook-program.ts'

const token = 'ya29.c.EXAMPLE-token_x'
const api = 'https://www.googleapis.com/compute/v1/'
const network = 'projects/prod-1234/global/networks/vpc'
const own = 'projects/prod-1234/zones/europe-west1-b/instances/gw-b'
const other = 'projects/prod-1234/zones/europe-west1-c/instances/gw-a'
const mark = 'linkspan prod here'
const base = '/compute/v1/projects/prod-1234/global'

const metadata: Readonly<Record<string, string>> = {
  'project/project-id': 'prod-1234',
  'instance/zone': 'projects/4711/zones/europe-west1-b',
  'instance/name': 'gw-b',
  'instance/network-interfaces/0/network': 'projects/4711/networks/vpc',
  'instance/service-accounts/default/token': JSON.stringify({
    access_token: token,
    expires_in: 3599,
    token_type: 'Bearer',
  }),
}

interface Route {
  readonly name: string
  readonly description?: string
  readonly network: string
  readonly destRange: string
  readonly priority: number
  readonly nextHopInstance?: string
}

class Cloud {
  readonly routes: Map<string, Route>
  mayForward = true
  readonly first: { readonly method: string; readonly said: Said }[] = []
  /** Errors of the next operations. */
  readonly errors: ({ readonly code: string; readonly message: string } | undefined)[] = []
  /** What a route led to, whenever one came or went: `PREFIX INSTANCE,...`. */
  readonly history: string[] = []
  readonly #operations = new Map<string, { polls: number; readonly end: () => unknown }>()

  constructor(routes: readonly Route[] = []) {
    this.routes = new Map(routes.map((route) => [route.name, route]))
  }

  answer(asked: Asked): Said | undefined {
    const { method, path, headers } = asked
    if (path.startsWith('/computeMetadata/v1/')) {
      const body = metadata[path.slice('/computeMetadata/v1/'.length)]
      if (headers['metadata-flavor'] !== 'Google') return { status: 403 }
      return body === undefined ? undefined : { headers: { 'metadata-flavor': 'Google' }, body }
    }
    if (headers.authorization !== `Bearer ${token}`) return refused(401, 'authError', 'Invalid Credentials')
    const at = this.first.findIndex((each) => each.method === method)
    if (at >= 0) return this.first.splice(at, 1)[0]?.said
    if (path === `/compute/v1/${own}`)
      return json({ kind: 'compute#instance', canIpForward: this.mayForward })
    const operation = this.#operations.get(path)
    if (operation !== undefined) {
      return json(
        --operation.polls > 0
          ? { kind: 'compute#operation', status: 'RUNNING', progress: 50 }
          : operation.end(),
      )
    }
    if (path === `${base}/routes`) return method === 'GET' ? this.#list(asked) : this.#insert(asked)
    return method === 'DELETE' ? this.#delete(path.replace(`${base}/routes/`, '')) : undefined
  }

  /** Two a page. */
  #list({ query }: Asked): Said {
    const from = Number(query.get('pageToken') ?? 0)
    const items = [...this.routes.values()].slice(from, from + 2)
    const more = from + 2 < this.routes.size ? { nextPageToken: String(from + 2) } : {}
    return json({ kind: 'compute#routeList', ...(items.length === 0 ? {} : { items }), ...more })
  }

  #insert({ body }: Asked): Said {
    const route = JSON.parse(body) as Route
    if (this.routes.has(route.name))
      return refused(409, 'alreadyExists', `The resource '${route.name}' already exists`)
    return this.#operation(() => {
      this.routes.set(route.name, {
        ...route,
        network: api + route.network,
        ...(route.nextHopInstance === undefined ? {} : { nextHopInstance: api + route.nextHopInstance }),
      })
    })
  }

  #delete(name: string): Said {
    if (!this.routes.has(name)) return refused(404, 'notFound', `The resource '${name}' was not found`)
    return this.#operation(() => this.routes.delete(name))
  }

  #operation(carryOut: () => void): Said {
    const name = `operation-${this.#operations.size + 1}`
    const errors = this.errors.shift()
    const end = (): unknown => {
      const done = { kind: 'compute#operation', name, status: 'DONE', progress: 100 }
      if (errors !== undefined) return { ...done, error: { errors: [errors] }, httpErrorStatusCode: 400 }
      carryOut()
      const to = [...this.routes.values()].filter(({ destRange }) => destRange === '10.2.0.0/16')
      this.history.push(to.map(({ nextHopInstance = '' }) => nextHopInstance.split('/').at(-1)).join(','))
      return done
    }
    this.#operations.set(`${base}/operations/${name}`, { polls: 2, end })
    return json({ kind: 'compute#operation', name, status: 'PENDING', progress: 0 })
  }
}

function json(value: unknown, status = 200): Said {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=UTF-8' },
    body: JSON.stringify(value),
  }
}

function refused(code: number, reason: string, message: string): Said {
  const errors = [{ message, domain: 'global', reason }]
  return { ...json({ error: { code, message, errors } }, code), headers: { 'retry-after': '0' } }
}

function route(name: string, destRange: string, instance: string, change: Partial<Route> = {}): Route {
  return {
    name,
    description: mark,
    network: api + network,
    destRange,
    priority: 900,
    nextHopInstance: api + instance,
    ...change,
  }
}

const remote = ['10.2.0.0/16', '10.4.0.0/16']

async function begin(t: Test, cloud: Cloud) {
  const serving = await serve(t, (asked) => cloud.answer(asked))
  const run = (config: readonly string[] = [], ...options: readonly string[]): Promise<Ran> =>
    runHookProgram(
      t,
      'gcp-routes',
      [`endpoint: ${serving.url}`, `metadata: ${serving.url}`, ...config],
      remote,
      ...options,
    )
  const written = (): readonly string[] =>
    serving.asked
      .filter(({ method }) => method !== 'GET')
      .map(({ method, path, body }) =>
        method === 'POST'
          ? `POST ${(JSON.parse(body) as Route).destRange}`
          : `DELETE ${path.split('/').at(-1) ?? ''}`,
      )
  const led = (): readonly string[] =>
    [...cloud.routes.values()]
      .map(({ destRange, nextHopInstance = '' }) => `${destRange} ${nextHopInstance.split('/').at(-1) ?? ''}`)
      .toSorted()
  return { run, written, led }
}

/** Those that are none of ours: of another network, of the network itself, of another site. */
const strangers = [
  route('default-route', '0.0.0.0/0', own, { description: 'Default route', priority: 1000 }),
  route('elsewhere', '10.2.0.0/16', other, { network: `${api}projects/prod-1234/global/networks/other` }),
  route('their', '10.2.0.0/16', other, { description: 'linkspan prod there', priority: 1000 }),
]

void t.test('the first time, and then nothing', async (t) => {
  const cloud = new Cloud(strangers)
  const { run, written } = await begin(t, cloud)
  t.match(await run(), {
    status: 0,
    stderr: '',
    said: [/^2 routes to projects\/.*gw-b: 2 inserted, 0 deleted$/],
  })
  const [made] = [...cloud.routes.values()].slice(3)
  t.match(made, { description: mark, network: api + network, priority: 900, nextHopInstance: api + own })
  t.match(made?.name, /^linkspan-[0-9a-f]{32}$/)
  t.match((await run()).said, [/: nothing to change$/])
  t.same(written().toSorted(), ['POST 10.2.0.0/16', 'POST 10.4.0.0/16'])
})

void t.test('taken over: the new one is there before the old one goes; a dry run only says so', async (t) => {
  const cloud = new Cloud([
    route('a2', '10.2.0.0/16', other),
    route('a4', '10.4.0.0/16', other),
    route('a9', '10.9.0.0/16', own),
  ])
  const { run, written, led } = await begin(t, cloud)
  const dry = await run([], '--dry-run')
  t.match(dry.said, [/^would insert linkspan-/, /10.4.0.0/, `would delete a2 for 10.2.0.0/16 to ${other}`])
  t.same(written(), [])
  t.match((await run()).said, [/: 2 inserted, 3 deleted$/])
  t.same(led(), ['10.2.0.0/16 gw-b', '10.4.0.0/16 gw-b'])
  t.ok(cloud.history.includes('gw-a,gw-b') && !cloud.history.includes(''), cloud.history.join(' '))
})

void t.test('throttled, it asks again', async (t) => {
  const cloud = new Cloud()
  cloud.first.push(
    { method: 'GET', said: refused(429, 'rateLimitExceeded', 'later') },
    { method: 'POST', said: refused(403, 'rateLimitExceeded', 'Rate Limit Exceeded') },
    { method: 'POST', said: refused(503, 'backendError', 'Backend Error') },
  )
  const { run, written } = await begin(t, cloud)
  const { status, stderr } = await run()
  t.equal(status, 0, stderr)
  t.equal(written().length, 4)
})

void t.test('refused', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  const deny = refused(403, 'insufficientPermissions', 'Request had insufficient authentication scopes.')
  cloud.first.push({ method: 'GET', said: deny })
  const denied = await run()
  t.equal(denied.status, 1)
  t.match(
    denied.stderr,
    /^compute, GET .*gw-b: 403 insufficientPermissions: .*\(give the VM's service account compute\.routes/,
  )
  t.notMatch(denied.stderr, token)
  t.same(written(), [])
})

void t.test('half of it done: nothing old goes before the new is there', async (t) => {
  const cloud = new Cloud([route('a2', '10.2.0.0/16', other), route('a4', '10.4.0.0/16', other)])
  cloud.errors.push(undefined, { code: 'QUOTA_EXCEEDED', message: "Quota 'ROUTES' exceeded." })
  const { run, led } = await begin(t, cloud)
  const half = await run()
  t.equal(half.status, 1)
  t.match(half.stderr, /QUOTA_EXCEEDED: Quota 'ROUTES' exceeded\./)
  t.equal(cloud.routes.size, 3)
  t.match((await run()).said, [/: 1 inserted, 2 deleted$/])
  t.same(led(), ['10.2.0.0/16 gw-b', '10.4.0.0/16 gw-b'])
})

void t.test('what is so already is no failure', async (t) => {
  const cloud = new Cloud([route('a2', '10.2.0.0/16', other)])
  cloud.first.push(
    { method: 'POST', said: refused(409, 'alreadyExists', 'it already exists') },
    { method: 'DELETE', said: refused(404, 'notFound', 'it was not found') },
  )
  const { run } = await begin(t, cloud)
  t.match(await run(), { status: 0, stderr: '' })
})

void t.test('an instance that would not forward takes no route', async (t) => {
  const cloud = new Cloud()
  cloud.mayForward = false
  const { run, written } = await begin(t, cloud)
  t.match(await run(), { status: 1, stderr: /IP forwarding \(canIpForward\) is off.*--can-ip-forward/ })
  t.same(written(), [])
})

void t.test('wrong answers, and a configuration that is none', async (t) => {
  const cloud = new Cloud()
  const { run, written } = await begin(t, cloud)
  for (const said of [{ body: '<html>login</html>' }, json([]), { status: 400, body: 'no' }]) {
    cloud.first.splice(0, Infinity, { method: 'GET', said })
    t.match(await run(), { status: 1, stderr: /with what is no answer/ })
  }
  cloud.first.splice(
    0,
    Infinity,
    { method: 'GET', said: json({ canIpForward: true }) },
    { method: 'GET', said: json({}) },
  )
  t.match(await run(), { status: 1, stderr: /is no list of routes/ })
  t.same(written(), [])
  t.match(await run(['priority: 70000']), { status: 2, stderr: /priority: expected at most 65535/ })
})
