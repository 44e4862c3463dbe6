#!/usr/bin/env node
/**
 * Hook for a VNet: leads the user-defined routes of remote prefixes, in the route tables that its configuration names, to
 * this VM's private address, and removes routes of ours that nobody wants any more (azure-table.ts).
 */
import { z } from 'zod'
import { azure } from '../cloud/azure.ts'
import type { MetadataClient } from '../cloud/metadata-http.ts'
import { fieldOf, jsonOf } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { each } from './api.ts'
import { RouteTable, textOfChange } from './azure-table.ts'
import type { Change } from './azure-table.ts'
import { JsonApi } from './json-api.ts'
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
/** Tables at once. */
const atOnce = 4

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
      "give the VM's managed identity Microsoft.Network/routeTables/read and write, routes/write, routes/delete",
    signal,
  })
  if (config.interface !== undefined) await mustForward(api, config.interface)
  const all = config.tables.map((id) => new RouteTable(api, id, wanted, addresses))
  for (const table of all) await table.read()
  const changes = all.flatMap((table) => table.changes)
  const foreign = all.flatMap((table) => table.foreign)
  for (const change of dryRun ? changes : []) say(`would ${textOfChange(change)}`)
  if (!dryRun) await each(all, atOnce, (table) => table.change(say))
  const count = (verb: Change['verb']): number => changes.filter((change) => change.verb === verb).length
  const would = dryRun ? 'would be ' : ''
  const whole = `${wanted.length} routes in ${config.tables.length} tables to ${addresses.join(', ')}`
  if (changes.length === 0) say(`${whole}: nothing to change`)
  else say(`${whole}: ${would}${count('PUT')} put, ${would}${count('DELETE')} deleted`)
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

await runProgram({ name: 'azure-routes', fields, run })
