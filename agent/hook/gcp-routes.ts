#!/usr/bin/env node
/**
 * Hook for a VPC network of Google Cloud: leads static routes of remote prefixes to this instance.
 *
 *   GET instance: may it forward?  GET routes: what differs?  POST routes, and wait  DELETE routes of ours that are over
 *
 * A route cannot be changed. The new one, of another name, is there before the old one goes, so that there is always one:
 * for a moment hosts spread over both. Ours are known by their description; others of the same range decide by priority.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { MetadataClient } from '../cloud/metadata-http.ts'
import { fieldOf, jsonOf } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { isMalformed, parsePrefix } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'
import { each } from './api.ts'
import { ApiRefusal, JsonApi, listOf, textOf } from './json-api.ts'
import { metadataClient } from './metadata.ts'
import { commonFields, runProgram } from './program.ts'
import type { Run } from './program.ts'
import { wantedRoutes } from './summary.ts'

const name = z
  .string()
  .regex(/^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'expected a name of letters, digits and -')

const fields = z.strictObject({
  /** Of the instance's first interface, unless it is another one. */
  network: name.optional(),
  /** The project of the network, where it is shared. */
  project: z
    .string()
    .regex(/^(?:[a-z0-9.-]{1,63}:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$/, 'expected the id of a project')
    .optional(),
  /** Before what has the usual one, 1000. */
  priority: z.int().min(0).max(65_535).default(900),
  ...commonFields(200),
})
type Config = z.output<typeof fields>

const pollMs = 500
const atOnce = 8

/** Where this instance is, as the API writes it. */
interface Place {
  /** `projects/P/zones/Z/instances/NAME` */
  readonly instance: string
  /** `projects/P/global/networks/NAME` */
  readonly network: string
  /** The project that holds the routes. */
  readonly project: string
}

interface Route {
  readonly name: string
  readonly prefix: string
  readonly instance: string
  readonly priority: unknown
}

async function run({ config, input, dryRun, say, signal }: Run<Config>): Promise<void> {
  const wanted = wantedRoutes(input.prefixes, config, say)
  const client = metadataClient('metadata server of Compute Engine', config.metadata, signal)
  const place = await placeOf(client, config)
  const api = new JsonApi({
    object: 'compute',
    endpoint: new URL(config.endpoint ?? 'https://compute.googleapis.com'),
    token: await tokenOf(client),
    query: {},
    throttled:
      /^(rateLimitExceeded|userRateLimitExceeded|concurrentLimitExceeded|backendError|resourceNotReady)$/,
    allow:
      "give the VM's service account compute.routes.list, create, delete, compute.networks.updatePolicy, " +
      'compute.instances.get and use, compute.globalOperations.get, and the VM the scope cloud-platform',
    signal,
  })
  await mustForward(api, place)
  const mark = `linkspan ${input.fabric} ${input.site}`
  const routes = await routesOf(api, place, mark)
  const isGood = (route: Route, prefix: Prefix): boolean =>
    route.prefix === prefix && route.instance === place.instance && route.priority === config.priority
  const missing = wanted.filter((prefix) => !routes.some((route) => isGood(route, prefix)))
  const over = routes.filter((route) => !wanted.some((prefix) => isGood(route, prefix)))
  const total = `${wanted.length} routes to ${place.instance}`
  if (dryRun) {
    for (const prefix of missing)
      say(`would insert ${nameOf(mark, prefix, place, config.priority)} for ${prefix}`)
    for (const route of over) say(`would delete ${route.name} for ${route.prefix} to ${route.instance}`)
  } else {
    await each(missing, atOnce, (prefix) => insert(api, place, config.priority, mark, prefix))
    await each(over, atOnce, (route) => remove(api, place, route))
  }
  const would = dryRun ? 'would be ' : ''
  const changes = `${would}${missing.length} inserted, ${would}${over.length} deleted`
  say(`${total}: ${missing.length + over.length === 0 ? 'nothing to change' : changes}`)
}

const flavor = ['Metadata-Flavor', 'Google'] as const

async function metadataOf(client: MetadataClient, path: string): Promise<string> {
  const asked = {
    path: `/computeMetadata/v1/${path}`,
    headers: Object.fromEntries([flavor]),
    signature: flavor,
  }
  const found = (await client.get(asked))?.trim()
  if (found === undefined || found === '') throw client.failure(`does not say ${path}`)
  return found
}

async function placeOf(client: MetadataClient, { network, project }: Config): Promise<Place> {
  const last = async (path: string): Promise<string> =>
    (await metadataOf(client, path)).split('/').at(-1) ?? ''
  const own = await last('project/project-id')
  const of = project ?? own
  return {
    instance: `projects/${own}/zones/${await last('instance/zone')}/instances/${await last('instance/name')}`,
    network: `projects/${of}/global/networks/${network ?? (await last('instance/network-interfaces/0/network'))}`,
    project: of,
  }
}

async function tokenOf(client: MetadataClient): Promise<string> {
  const text = await metadataOf(client, 'instance/service-accounts/default/token')
  const token = fieldOf(jsonOf(text), 'access_token')
  if (typeof token === 'string' && /^[\w.~+/=-]{1,16384}$/.test(token)) return token
  throw client.failure('gives no token', 'give the VM a service account that may change routes')
}

/** Without it the network drops whatever does not come from the instance's own address, and takes no route to it. */
async function mustForward(api: JsonApi, { instance }: Place): Promise<void> {
  const { value } = await api.call('GET', `/compute/v1/${instance}`)
  if (fieldOf(value, 'canIpForward') === true) return
  throw new LinkspanError({
    code: 'exec',
    object: instance,
    reason: 'IP forwarding (canIpForward) is off, so it forwards nothing; no route was changed',
    next: 'gcloud compute instances export, set canIpForward: true, and update-from-file; or make the VM with --can-ip-forward',
  })
}

/** Those that carry our mark. */
async function routesOf(api: JsonApi, { project, network }: Place, mark: string): Promise<readonly Route[]> {
  const routes: Route[] = []
  for (let page: string | undefined = ''; page !== undefined;) {
    const query: Record<string, string> = page === '' ? {} : { pageToken: page }
    const { value } = await api.call('GET', `/compute/v1/projects/${project}/global/routes`, { query })
    if (fieldOf(value, 'kind') !== 'compute#routeList') throw api.failure('its answer is no list of routes')
    for (const item of listOf(fieldOf(value, 'items'))) {
      const of = (key: string): string => textOf(fieldOf(item, key)) ?? ''
      if (of('description') !== mark || partOf(of('network')) !== network) continue
      const prefix = parsePrefix(of('destRange'))
      routes.push({
        name: of('name'),
        prefix: isMalformed(prefix) ? of('destRange') : prefix,
        instance: partOf(of('nextHopInstance')),
        priority: fieldOf(item, 'priority'),
      })
    }
    page = textOf(fieldOf(value, 'nextPageToken'))
  }
  return routes
}

async function insert(
  api: JsonApi,
  place: Place,
  priority: number,
  mark: string,
  prefix: Prefix,
): Promise<void> {
  const body = {
    name: nameOf(mark, prefix, place, priority),
    description: mark,
    network: place.network,
    destRange: prefix,
    priority,
    nextHopInstance: place.instance,
  }
  await carryOut(api, place, 'POST', '', 'alreadyExists', body)
}

async function remove(api: JsonApi, place: Place, route: Route): Promise<void> {
  await carryOut(api, place, 'DELETE', `/${route.name}`, 'notFound')
}

/** `done`: the refusal that says that it is so already: our own request whose answer was lost, or another's. */
async function carryOut(
  api: JsonApi,
  { project }: Place,
  method: 'POST' | 'DELETE',
  path: string,
  done: 'alreadyExists' | 'notFound',
  body?: unknown,
): Promise<void> {
  const base = `/compute/v1/projects/${project}/global`
  const object = `compute, ${method} routes${path}`
  try {
    let { value } = await api.call(method, `${base}/routes${path}`, { body })
    const operation = textOf(fieldOf(value, 'name')) ?? ''
    if (!/^[\w-]{1,200}$/.test(operation)) throw api.failure('its answer names no operation')
    while (fieldOf(value, 'status') !== 'DONE') {
      await api.wait(pollMs)
      value = (await api.call('GET', `${base}/operations/${operation}`)).value
    }
    const [error] = listOf(fieldOf(value, 'error', 'errors'))
    if (error === undefined) return
    const code = textOf(fieldOf(error, 'code')) ?? 'failed'
    if (code === (done === 'notFound' ? 'RESOURCE_NOT_FOUND' : 'RESOURCE_ALREADY_EXISTS')) return
    const reason = `${code}: ${textOf(fieldOf(error, 'message')) ?? 'no reason is given'}`
    throw new LinkspanError({ code: 'exec', object, reason })
  } catch (error) {
    if (!(error instanceof ApiRefusal) || error.word !== done) throw error
  }
}

/** Another one for each instance, so that two can stand beside each other. At most 63 characters. */
function nameOf(mark: string, prefix: Prefix, { instance, network }: Place, priority: number): string {
  const text = [mark, network, prefix, instance, priority].join(' ')
  return `linkspan-${createHash('sha256').update(text).digest('hex').slice(0, 32)}`
}

/** `projects/…` of an address that the API writes in full. */
function partOf(address: string): string {
  return address.slice(Math.max(0, address.indexOf('projects/')))
}

await runProgram({ name: 'gcp-routes', fields, run })
