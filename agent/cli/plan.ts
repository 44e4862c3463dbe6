/**
 * `linkspan plan`: what the agent would do now, as `ip`, `wg` and `nft` lines, and nothing done. A running agent is asked,
 * because only it knows what it waits for; without one the same pure code runs here over config, registry and kernel.
 */
import type { CommandModule } from 'yargs'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
import type { Address } from '../model/prefix.ts'
import { ask } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withPlaces } from './option.ts'
import type { JsonOption, PlaceOptions } from './option.ts'
import { count } from './table.ts'

interface PlanArguments extends JsonOption, PlaceOptions {
  readonly 'exit-code': boolean
}

interface Planned {
  readonly ops: readonly (Op & { readonly text: string })[]
  readonly conflicts: readonly Reason[]
}

export const planCommand: CommandModule<object, PlanArguments> = {
  command: 'plan',
  describe: 'Show what would be changed, and change nothing',
  builder: (yargs) =>
    withPlaces(withJson(yargs)).option('exit-code', {
      type: 'boolean',
      default: false,
      describe: 'Exit with 6 when there is something to change',
    }),
  handler: async (options) => {
    const { ops, conflicts } = await planned(options)
    if (options.json) process.stdout.write(`${JSON.stringify({ schema: 1, ops, conflicts })}\n`)
    else {
      for (const { text } of ops) process.stdout.write(`${text}\n`)
      for (const conflict of conflicts) process.stderr.write(`conflict: ${formatReason(conflict)}\n`)
      process.stderr.write(ops.length === 0 ? 'nothing to change\n' : `${count(ops.length, 'change')}\n`)
    }
    if (conflicts.length > 0) process.exitCode = exitCode.degraded
    else if (options['exit-code'] && process.exitCode === undefined && ops.length > 0)
      process.exitCode = exitCode.pending
  },
}

async function planned(options: PlanArguments): Promise<Planned> {
  try {
    return (await ask(options['run-directory'], '/plan', { timeoutMs: 60_000 })) as Planned
  } catch (error) {
    if (!(error instanceof LinkspanError && error.code === 'not-running')) throw error
    return planHere(options)
  }
}

/** Without an agent: reads, never writes. */
async function planHere(options: PlanArguments): Promise<Planned> {
  const [{ readConfig }, { readAll }, { Ledger }, { diff }, { formatOp }, { loadGroupIds }] =
    await Promise.all([
      import('./config.ts'),
      import('./registry-driver.ts'),
      import('../trust/ledger.ts'),
      import('../diff/diff.ts'),
      import('../model/op-text.ts'),
      import('./group-id-file.ts'),
    ])
  const [{ openLinux }, { plan, share }, { boundLinks }, { ownResolver }, { recoverGroupIds }, { inTurns }] =
    await Promise.all([
      import('../kernel/linux.ts'),
      import('../plan/share.ts'),
      import('../plan/underlay.ts'),
      import('../daemon/own.ts'),
      import('../daemon/recovery.ts'),
      import('../daemon/breath.ts'),
    ])
  const { momentOf } = await import('../trust/moment.ts')
  const { askCloudOnce } = await import('./cloud.ts')
  const [{ PathMemory }, { PathTable }] = await Promise.all([
    import('../daemon/path-memory.ts'),
    import('../probe/table.ts'),
  ])

  const config = await readConfig(options.config)
  const bag = await readAll(config.registry)
  for (const reason of bag.unreadable) {
    process.stderr.write(`unreadable: ${formatReason(reason)}\n`)
    process.exitCode = exitCode.degraded
  }
  const { gateway } = config.own
  const ground = { fabric: config.fabric, authority: config.authority, self: gateway }
  const ledger = new Ledger(ground)
  const { snapshot } = ledger.admit(bag, momentOf(Date.now()))
  if (snapshot?.gateways.has(gateway) !== true) {
    const reason =
      'the registry has no certificate and record of this gateway yet, so there is nothing to plan'
    const next = `start the agent once, then \`linkspan ca issue ${gateway}\``
    throw new LinkspanError({ code: 'registry-unreadable', object: `gateway ${gateway}`, reason, next })
  }
  const signal = AbortSignal.timeout(60_000)
  const kernel = await openLinux({ stateDirectory: options['state-directory'], privateKey: noKeys })
  try {
    const surroundings = await askCloudOnce(config)
    const addresses = await controlAddresses(config.registry)
    const ownOf = ownResolver(config, {
      registryAddresses: () => addresses,
      cloud: () => surroundings.cloud,
      recorded: () => {
        if (!surroundings.isUncertain) return undefined
        const said = ledger.documentOf('record', gateway)
        return { endpoints: said?.type === 'record' ? said.payload.endpoints : undefined }
      },
    })
    let facts = await kernel.facts([], signal)
    const bound = boundLinks(ownOf(snapshot.fabric, facts), snapshot.fabric, facts)
    if (bound.length > 0) facts = await kernel.facts(bound, signal)
    const { ids } = await loadGroupIds(options['state-directory'])
    // Paths as the last agent left them.
    const paths = new PathTable(new PathMemory(options['run-directory']).read()).state
    const input = { snapshot, own: ownOf(snapshot.fabric, facts), facts, paths, ids }
    const sysctls = share(input, 'host').objects.flatMap((object) =>
      object.kind === 'sysctl' ? [object.name] : [],
    )
    const observed: KernelObject[] = []
    for await (const part of kernel.observe({ sysctls }, signal)) observed.push(...part)
    const inKernel = await inTurns(recoverGroupIds(ids, input, observed), signal)
    const desired = [...plan({ ...input, ids: inKernel })].flatMap(({ objects }) => objects)
    const { ops, conflicts } = diff(desired, observed, { nowSeconds: Math.floor(Date.now() / 1000) })
    return { ops: ops.map((op) => ({ ...op, text: formatOp(op) })), conflicts }
  } finally {
    await kernel.close()
  }
}

/** What the agent keeps on the underlay: the registry, and those who know where it is. */
async function controlAddresses(of: RegistryConfig): Promise<readonly Address[]> {
  const { addressesOf, isByName } = await import('./registry-driver.ts')
  const { NameServers } = await import('../daemon/name-server.ts')
  const nameServers = new NameServers()
  if (isByName(of)) await nameServers.look()
  return [...new Set([...(await addressesOf(of)), ...nameServers.all])]
}

/** A dry run keys nothing. */
function noKeys(): never {
  throw new TypeError('plan was asked for a private key')
}
