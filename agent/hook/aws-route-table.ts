#!/usr/bin/env node
/**
 * Hook for a VPC: leads the routes of remote prefixes, in the route tables that its configuration names, to this instance.
 *
 *   DescribeNetworkInterfaces: would it forward?  DescribeRouteTables: what differs?  ReplaceRoute, CreateRoute: that alone
 *   DeleteRoute: what this gateway made (made-routes.ts), nobody wants any more, and nobody led elsewhere since
 *
 * A route that leads to something else than a network interface (a peering, a transit gateway, the VPC itself) is somebody's
 * who knows why, and is not touched. Routes carry no mark: others that lead here and are not wanted stay, and are said.
 */
import { z } from 'zod'
import { LinkspanError } from '../errors.ts'
import { familyOf, isMalformed, parsePrefix } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'
import { each } from './api.ts'
import { MadeRoutes } from './made-routes.ts'
import type { MadeRoute } from './made-routes.ts'
import { Ec2, Ec2Refusal, instanceOf } from './ec2.ts'
import { metadataClient } from './metadata.ts'
import { commonFields, runProgram } from './program.ts'
import type { Run } from './program.ts'
import { wantedRoutes } from './summary.ts'
import type { Element } from './xml.ts'

const id = (kind: string, example: string) =>
  z.string().regex(new RegExp(`^${kind}-[0-9a-f]{8,32}$`), `expected an id such as ${example}`)

const fields = z.strictObject({
  tables: z.array(id('rtb', 'rtb-0a1b2c3d4e5f60718')).min(1).max(100),
  /** Absent: the primary one of this instance. */
  interface: id('eni', 'eni-0a1b2c3d4e5f60718').optional(),
  /** Where it is kept which routes are ours. */
  memory: z.string().startsWith('/').default('/var/lib/linkspan/hooks/aws-route-table.json'),
  // The quota that every VPC begins with; it can be raised to 1,000.
  ...commonFields(50),
})

/** A few requests at once: EC2 lets a hundred come in a burst, then some a second. */
const atOnce = 4

interface Change {
  readonly verb: 'ReplaceRoute' | 'CreateRoute' | 'DeleteRoute'
  readonly table: string
  readonly prefix: Prefix
  /** Where it led. */
  readonly before?: string
}

async function run({ config, input, dryRun, say, signal }: Run<z.output<typeof fields>>): Promise<void> {
  const wanted = wantedRoutes(input.prefixes, config, say)
  const client = metadataClient('instance metadata of EC2', config.metadata, signal)
  const instance = await instanceOf(client, config.interface)
  const own = instance.networkInterface
  const ec2 = new Ec2(instance, config.endpoint, signal)
  await mustForward(ec2, own)
  const memory = await MadeRoutes.read(config.memory, say)
  const { changes, foreign, forgotten } = await compare(ec2, config.tables, wanted, own, memory.routes, say)
  const isNew = ({ verb }: Change): boolean => verb !== 'DeleteRoute'
  const [added, over] = [changes.filter(isNew), changes.filter((change) => !isNew(change))]
  for (const { verb, table, prefix, before } of dryRun ? changes : []) {
    say(
      `would ${verb} ${prefix} in ${table}: ${before ?? 'none'} -> ${verb === 'DeleteRoute' ? 'none' : own}`,
    )
  }
  if (!dryRun) {
    const made = added.map(({ table, prefix }): MadeRoute => ({ table, prefix, target: own }))
    await memory.change(made, forgotten)
    await each(added, atOnce, (change) => carryOut(ec2, change, own))
    await each(over, atOnce, (change) => carryOut(ec2, change, own))
    await memory.change(
      [],
      over.map(({ table, prefix }) => ({ table, prefix, target: own })),
    )
  }
  const all = `${wanted.length} routes in ${config.tables.length} tables to ${own}`
  const count = (verb: Change['verb']): number => changes.filter((change) => change.verb === verb).length
  if (changes.length === 0) say(`${all}: nothing to change`)
  else {
    const would = dryRun ? 'would be ' : ''
    const deleted = over.length === 0 ? '' : `, ${would}${over.length} deleted`
    say(
      `${all}: ${would}${count('ReplaceRoute')} replaced, ${would}${count('CreateRoute')} created${deleted}`,
    )
  }
  const [first] = foreign
  if (first === undefined) return
  throw new LinkspanError({
    code: 'conflict',
    object: first,
    reason: `${foreign.length} routes lead to what is no network interface, and stay`,
    next: 'remove them, or give `routes:` prefixes beside them',
  })
}

/** With the check on, the VPC drops whatever is not addressed to the instance itself. */
async function mustForward(ec2: Ec2, own: string): Promise<void> {
  const answer = await ec2.call('DescribeNetworkInterfaces', { 'NetworkInterfaceId.1': own })
  const [found] = answer.items('networkInterfaceSet')
  if (found?.value('networkInterfaceId') !== own) throw unexpected('DescribeNetworkInterfaces', `no ${own}`)
  if (found.value('sourceDestCheck') !== 'true') return
  throw new LinkspanError({
    code: 'exec',
    object: own,
    reason: 'the source/destination check is on, so it forwards nothing; no route was changed',
    next: `aws ec2 modify-network-interface-attribute --network-interface-id ${own} --no-source-dest-check`,
  })
}

interface Comparison {
  readonly changes: readonly Change[]
  /** Wanted ones that lead elsewhere, in words. */
  readonly foreign: readonly string[]
  /** Ours once, and led elsewhere or deleted by another hand. */
  readonly forgotten: readonly MadeRoute[]
}

async function compare(
  ec2: Ec2,
  tables: readonly string[],
  wanted: readonly Prefix[],
  own: string,
  made: readonly MadeRoute[],
  say: (line: string) => void,
): Promise<Comparison> {
  const named = Object.fromEntries(tables.map((table, i) => [`RouteTableId.${i + 1}`, table]))
  const answer = await ec2.call('DescribeRouteTables', named)
  const found = new Map(answer.items('routeTableSet').map((item) => [item.value('routeTableId'), item]))
  const changes: Change[] = []
  const foreign: string[] = []
  const forgotten: MadeRoute[] = []
  let stale = 0
  for (const table of tables) {
    const item = found.get(table)
    if (item === undefined) throw unexpected('DescribeRouteTables', `no ${table}`)
    const routes = new Map(item.items('routeSet').map((route) => [destinationOf(route), route]))
    for (const prefix of wanted) {
      const route = routes.get(prefix)
      if (route === undefined) changes.push({ verb: 'CreateRoute', table, prefix })
      else if (route.value('networkInterfaceId') !== own) {
        const before = targetOf(route)
        if (before.startsWith('eni-')) changes.push({ verb: 'ReplaceRoute', table, prefix, before })
        else foreign.push(`${prefix} in ${table} leads to ${before}`)
      }
    }
    const isWanted = (prefix: string): boolean => wanted.some((one) => one === prefix)
    const deleted = new Set<string>()
    for (const one of made) {
      const prefix = wantedNoMore(one, table, isWanted)
      if (prefix === undefined) continue
      const route = routes.get(prefix)
      if (route?.value('networkInterfaceId') !== one.target) forgotten.push(one)
      else {
        changes.push({ verb: 'DeleteRoute', table, prefix, before: one.target })
        deleted.add(prefix)
      }
    }
    const isStale = ([prefix, route]: readonly [string, Element]): boolean =>
      route.value('networkInterfaceId') === own && !isWanted(prefix) && !deleted.has(prefix)
    stale += [...routes].filter(isStale).length
  }
  if (stale > 0) say(`${stale} other routes lead to ${own}: remove those that are not wanted any more`)
  return { changes, foreign, forgotten }
}

/** The prefix of a route of ours in this table that is not wanted any more. */
function wantedNoMore(
  made: MadeRoute,
  table: string,
  isWanted: (prefix: string) => boolean,
): Prefix | undefined {
  const prefix = parsePrefix(made.prefix)
  return made.table !== table || isMalformed(prefix) || isWanted(prefix) ? undefined : prefix
}

async function carryOut(ec2: Ec2, { verb, table, prefix }: Change, own: string): Promise<void> {
  const key = familyOf(prefix) === 4 ? 'DestinationCidrBlock' : 'DestinationIpv6CidrBlock'
  const place = { RouteTableId: table, [key]: prefix }
  if (verb === 'DeleteRoute') {
    await deleteRoute(ec2, place)
    return
  }
  const parameters = { ...place, NetworkInterfaceId: own }
  try {
    await ec2.call(verb, parameters)
  } catch (error) {
    // It came into being meanwhile: our own request whose answer was lost, or another gateway's.
    if (!(error instanceof Ec2Refusal) || verb !== 'CreateRoute' || error.ec2Code !== 'RouteAlreadyExists')
      throw error
    await ec2.call('ReplaceRoute', parameters)
  }
}

async function deleteRoute(ec2: Ec2, place: Readonly<Record<string, string>>): Promise<void> {
  try {
    await ec2.call('DeleteRoute', place)
  } catch (error) {
    // Our own request whose answer was lost, or another hand.
    if (!(error instanceof Ec2Refusal) || error.ec2Code !== 'InvalidRoute.NotFound') throw error
  }
}

/** In the form of the model; EC2 writes IPv6 as it likes. */
function destinationOf(route: Element): string {
  const text = route.value('destinationCidrBlock') ?? route.value('destinationIpv6CidrBlock') ?? ''
  const prefix = parsePrefix(text)
  return isMalformed(prefix) ? text : prefix
}

/** A route whose interface is gone keeps its id, in state `blackhole`. */
function targetOf(route: Element): string {
  const keys = [
    'networkInterfaceId',
    'gatewayId',
    'natGatewayId',
    'transitGatewayId',
    'vpcPeeringConnectionId',
    'egressOnlyInternetGatewayId',
    'localGatewayId',
    'carrierGatewayId',
    'coreNetworkArn',
  ]
  return (
    keys.map((key) => route.value(key)).find((value) => value !== undefined && value !== '') ??
    'something else'
  )
}

function unexpected(action: string, reason: string): LinkspanError {
  return new LinkspanError({ code: 'exec', object: `ec2 ${action}`, reason: `its answer holds ${reason}` })
}

await runProgram({ name: 'aws-route-table', fields, run })
