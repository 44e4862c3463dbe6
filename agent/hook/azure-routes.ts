#!/usr/bin/env node
/**
 * Hook for a VNet: leads the user-defined routes of remote prefixes, in the route tables that its configuration names, to
 * this VM's private address.
 *
 *   GET table: what differs?  PUT route, and wait for the operation: that alone  DELETE: routes of ours that nobody wants
 *
 * A table takes one change at a time, and each takes seconds: few routes (`routes:`) are a quick takeover. Ours are known by
 * their name. A route that leads to something else than an appliance is somebody's who knows why, and is not touched.
 */
import { z } from 'zod'
import { azure } from '../cloud/azure.ts'
import type { MetadataClient } from '../cloud/metadata-http.ts'
import { fieldOf, jsonOf } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { familyOf, isMalformed, parseAddress, parsePrefix } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { each, retryAfterMs } from './api.ts'
import { JsonApi, textOf } from './json-api.ts'
import type { JsonAnswer } from './json-api.ts'
import { metadataClient } from './metadata.ts'
import { commonFields, runProgram } from './program.ts'
import type { Run } from './program.ts'
import { wantedRoutes } from './summary.ts'

const resourceId = (type: string) =>
  z
    .string()
    .regex(
      new RegExp(
        `^/subscriptions/[\\w-]{1,64}/resourceGroups/[\\w.()-]{1,90}/providers/Microsoft\\.Network/${type}/[\\w.-]{1,80}$`,
        'i',
      ),
      `expected /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Network/${type}/NAME`,
    )

const fields = z.strictObject({
  tables: z.array(resourceId('routeTables')).min(1).max(100),
  /** Checked for IP forwarding. */
  interface: resourceId('networkInterfaces').optional(),
  /** Client id of the managed identity, where the VM has several. */
  identity: z.uuid().optional(),
  /** What the token is for; other than this in national clouds. */
  resource: z.url().default('https://management.azure.com/'),
  // What a table holds by default.
  ...commonFields(400),
})
type Config = z.output<typeof fields>

const version = '2023-09-01'
const ours = 'linkspan-'
const appliance = 'VirtualAppliance'
const pollMs = 1000

interface Route {
  readonly name: string
  readonly prefix: string
  readonly type: string
  readonly address: string
}

interface Change {
  readonly verb: 'PUT' | 'DELETE'
  readonly table: string
  readonly name: string
  readonly prefix: string
  readonly before?: string
  readonly address?: Address
}

async function run({ config, input, dryRun, say, signal }: Run<Config>): Promise<void> {
  const wanted = wantedRoutes(input.prefixes, config, say)
  const client = metadataClient('instance metadata of Azure', config.metadata, signal)
  const addresses = (await azure.ask(client)).interfaces[0]?.privateAddresses ?? []
  const api = new JsonApi({
    object: 'azure',
    endpoint: new URL(config.endpoint ?? 'https://management.azure.com'),
    token: await tokenOf(client, config),
    query: { 'api-version': version },
    throttled: /^(AnotherOperationInProgress|RetryableError|TooManyRequests|.*Throttled.*|ServerBusy)$/,
    allow:
      "give the VM's managed identity Microsoft.Network/routeTables/read and routes/write, routes/delete",
    signal,
  })
  if (config.interface !== undefined) await mustForward(api, config.interface)
  const changes: Change[] = []
  const foreign: string[] = []
  for (const table of config.tables) {
    const routes = await routesOf(api, table)
    for (const prefix of wanted) {
      const address = addresses.find((each) => familyOf(each) === familyOf(prefix))
      if (address === undefined)
        throw api.failure(`this VM has no private address that ${prefix} could lead to`)
      const route = routes.find((each) => each.prefix === prefix)
      const name = route?.name ?? nameOf(prefix)
      if (route?.type === appliance && route.address === address) continue
      if (route !== undefined && route.type !== appliance)
        foreign.push(`${prefix} in ${table} leads to ${route.type}`)
      else changes.push({ verb: 'PUT', table, name, prefix, address, before: route?.address ?? 'none' })
    }
    for (const { name, prefix } of routes) {
      if (name.startsWith(ours) && !wanted.some((one) => one === prefix)) {
        changes.push({ verb: 'DELETE', table, name, prefix })
      }
    }
  }
  for (const { verb, table, name, prefix, before, address } of dryRun ? changes : []) {
    say(
      `would ${verb} ${name} (${prefix}) in ${table}${verb === 'PUT' ? `: ${before ?? ''} -> ${address ?? ''}` : ''}`,
    )
  }
  // What is new goes before what is old, in each table one after the other.
  const inTables = config.tables.map((table) => changes.filter((change) => change.table === table))
  if (!dryRun) await each(inTables, 4, (list) => each(list, 1, (change) => carryOut(api, change)))
  const count = (verb: Change['verb']): number => changes.filter((change) => change.verb === verb).length
  const would = dryRun ? 'would be ' : ''
  const all = `${wanted.length} routes in ${config.tables.length} tables to ${addresses.join(', ')}`
  if (changes.length === 0) say(`${all}: nothing to change`)
  else say(`${all}: ${would}${count('PUT')} put, ${would}${count('DELETE')} deleted`)
  const [first] = foreign
  if (first === undefined) return
  throw new LinkspanError({
    code: 'conflict',
    object: first,
    reason: `${foreign.length} routes lead to what is no appliance, and stay`,
    next: 'remove them, or give `routes:` prefixes beside them',
  })
}

async function tokenOf(client: MetadataClient, { identity, resource }: Config): Promise<string> {
  const query = new URLSearchParams({
    'api-version': '2018-02-01',
    resource,
    ...(identity === undefined ? {} : { client_id: identity }),
  })
  const path = `/metadata/identity/oauth2/token?${query.toString()}`
  const { status, text } = await client.ask({ path, headers: { Metadata: 'true' } })
  const token = fieldOf(jsonOf(text), 'access_token')
  if (status === 200 && typeof token === 'string' && /^[\w.~+/=-]{1,16384}$/.test(token)) return token
  const next =
    'give the VM a managed identity that may change its route tables; of several name one by `identity:`'
  throw client.failure(`gives no token (${status})`, next)
}

/** Without IP forwarding the VNet drops whatever is not addressed to the VM itself. */
async function mustForward(api: JsonApi, nic: string): Promise<void> {
  const { value } = await api.call('GET', nic)
  if (fieldOf(value, 'properties', 'enableIPForwarding') === true) return
  throw new LinkspanError({
    code: 'exec',
    object: nic,
    reason: 'IP forwarding is off, so the VM forwards nothing; no route was changed',
    next: `az network nic update --ids ${nic} --ip-forwarding true`,
  })
}

async function routesOf(api: JsonApi, table: string): Promise<readonly Route[]> {
  const { value } = await api.call('GET', table)
  const routes = fieldOf(value, 'properties', 'routes')
  if (!Array.isArray(routes)) throw api.failure(`its answer holds no routes of ${table}`)
  return routes.map((route): Route => {
    const of = (key: string): string => textOf(fieldOf(route, 'properties', key)) ?? ''
    const [prefix, address] = [parsePrefix(of('addressPrefix')), parseAddress(of('nextHopIpAddress'))]
    return {
      name: textOf(fieldOf(route, 'name')) ?? '',
      prefix: isMalformed(prefix) ? of('addressPrefix') : prefix,
      type: of('nextHopType'),
      address: isMalformed(address) ? '' : address,
    }
  })
}

async function carryOut(api: JsonApi, { verb, table, name, prefix, address }: Change): Promise<void> {
  const path = `${table}/routes/${name}`
  const properties = { addressPrefix: prefix, nextHopType: appliance, nextHopIpAddress: address }
  await finished(api, path, await api.call(verb, path, verb === 'PUT' ? { body: { properties } } : {}))
}

/** A change is accepted first and made later; the next one must not come before. */
async function finished(api: JsonApi, path: string, begun: JsonAnswer): Promise<void> {
  const operation = begun.header('azure-asyncoperation')
  let answer = begun
  let state = operation === undefined ? stateOf(begun) : 'InProgress'
  while (state !== 'Succeeded') {
    if (state === 'Failed' || state === 'Canceled') {
      const of = (key: string): string => textOf(fieldOf(answer.value, 'error', key)) ?? ''
      const reason = `${state} ${of('code')} ${of('message')}`.trim()
      throw new LinkspanError({ code: 'exec', object: `azure, ${path}`, reason })
    }
    await api.wait(retryAfterMs(answer) ?? pollMs)
    answer = operation === undefined ? await api.call('GET', path) : await api.follow(operation)
    state = operation === undefined ? stateOf(answer) : (textOf(fieldOf(answer.value, 'status')) ?? 'Failed')
  }
}

/** Of a route itself. */
function stateOf({ value }: JsonAnswer): string {
  return textOf(fieldOf(value, 'properties', 'provisioningState')) ?? 'Succeeded'
}

/** Letters, digits, `_`, `.` and `-`. */
function nameOf(prefix: Prefix): string {
  return `${ours}${prefix.replaceAll(':', '-').replace('/', '_')}`
}

await runProgram({ name: 'azure-routes', fields, run })
