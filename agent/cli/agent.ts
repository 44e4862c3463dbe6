/**
 * `linkspan agent`: the daemon in the foreground, under systemd or not. This is where the ports get their drivers: the file
 * registry and the Linux kernel. SIGTERM and SIGINT end the process and leave the data plane as it is.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type { CommandModule } from 'yargs'
import type { VoucherKey } from '../daemon/announce.ts'
import type { CrashLoop } from '../daemon/crash-loop.ts'
import type { Event, Events } from '../daemon/event.ts'
import type { NameServers } from '../daemon/name-server.ts'
import { reasonOf } from '../errors.ts'
import { defaultVoucherFile } from '../model/config.ts'
import type { Config } from '../model/config.ts'
import type { Registry } from '../registry/port.ts'
import { withPlaces } from './option.ts'
import type { PlaceOptions } from './option.ts'

export const wireGuards = ['auto', 'kernel', 'wireguard-go'] as const

export interface AgentArguments extends PlaceOptions {
  readonly wireguard: (typeof wireGuards)[number]
  readonly verbose: boolean
}

/** A stop takes no longer than this, in ms; what hangs then is left to the kernel. */
const stopMs = 1800

export const agentCommand: CommandModule<object, AgentArguments> = {
  command: 'agent',
  describe: 'Run the gateway agent',
  builder: (yargs) =>
    withPlaces(yargs)
      .option('wireguard', {
        choices: wireGuards,
        default: 'auto' as const,
        describe: 'Which WireGuard makes the links; auto: the kernel where it can',
      })
      .option('verbose', { type: 'boolean', default: false, describe: 'Log every turn' }),
  handler: runAgent,
}

/**
 * V8 lets the heap grow to several times what lives in it before it looks for garbage. An audit of 100,000 routes leaves
 * much of that behind, and a gateway VM has other uses for its memory: a quarter is enough.
 */
const heapGrowingPercent = 25

/** Runs until it is told to stop, and then ends the process. */
export async function runAgent(options: AgentArguments): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`)
  const [{ readConfig }, { takeLock }] = await Promise.all([
    import('./config.ts'),
    import('../daemon/lock.ts'),
  ])
  const config = await readConfig(options.config)
  // Before anything is written: a second agent in this network namespace ends here.
  const lock = await takeLock()
  const stop = new AbortController()
  const { CrashLoop, longLifeMs } = await import('../daemon/crash-loop.ts')
  const crashLoop = new CrashLoop(options['run-directory'])
  process.once('exit', (code) => {
    if (code === 0 || stop.signal.aborted) crashLoop.forget()
    else crashLoop.crashed()
  })
  setTimeout(() => {
    crashLoop.forget()
  }, longLifeMs).unref()
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(name, () => {
      setTimeout(() => process.exit(0), stopMs).unref()
      stop.abort()
    })
  }
  try {
    await start(options, config, stop, crashLoop)
  } finally {
    lock.release()
  }
  // Threads of the addon and sockets that hang must not keep a stopped agent.
  process.exit()
}

async function start(
  options: AgentArguments,
  config: Awaited<ReturnType<(typeof import('./config.ts'))['readConfig']>>,
  stop: AbortController,
  crashLoop: CrashLoop,
): Promise<void> {
  const { crashes, waitMs, hold, uncounted } = crashLoop.begin()
  const stateDirectory = options['state-directory']
  const [
    { addon, probes },
    { openLinux },
    { openRegistry, registryText },
    { runDaemon },
    { Events },
    { logTo },
    { KeyStore },
  ] = await Promise.all([
    import('../kernel/addon.ts'),
    import('../kernel/linux.ts'),
    import('./registry-driver.ts'),
    import('../daemon/daemon.ts'),
    import('../daemon/event.ts'),
    import('../daemon/log.ts'),
    import('../daemon/key-store.ts'),
  ])
  const { exec } = await import('../kernel/exec.ts')
  const { reachTarget } = await import('../kernel/reach.ts')
  const { runHook } = await import('../kernel/hook.ts')
  const { startProbes } = await import('../probe/engine.ts')
  const { RegistryAddresses } = await import('../daemon/registry-address.ts')
  const { Surroundings } = await import('../daemon/surroundings.ts')
  const { askCloud } = await import('./cloud.ts')
  const { notifier } = await import('../daemon/notify.ts')
  const { loadGroupIds, saveGroupIds } = await import('./group-id-file.ts')
  const { packageVersion } = await import('./version.ts')

  const watch = ({ event }: Event): void => {
    if (event === 'first-audit') crashLoop.settled()
  }
  const events = new Events(logTo(process.stderr, new Set(options.verbose ? [] : ['debug' as const])), watch)
  const surroundings = new Surroundings(true)
  void askCloud(config, surroundings, events, stop.signal) // beside the start, which waits for no cloud
  const keys = await KeyStore.open(stateDirectory)
  const { KnownStore } = await import('../registry/known.ts')
  const { store, known } = await KnownStore.open(stateDirectory)
  for (const { object, reason } of known.damage) {
    events.emit('warning', 'known-documents-damaged', { object, reason })
  }
  const { ids, damage } = await loadGroupIds(stateDirectory)
  if (damage !== undefined) {
    events.emit('warning', 'group-ids-lost', { object: damage.object, reason: damage.reason })
  }
  if (uncounted !== undefined) events.emit('warning', 'crash-loop-uncounted', { reason: uncounted })
  if (waitMs > 0) {
    events.emit('error', 'crash-loop', { crashes, waitMs, hold })
    await pause(waitMs, undefined, { signal: stop.signal }).catch(() => undefined) // told to stop meanwhile
    if (stop.signal.aborted) return
  }
  const linux = await openLinux({
    stateDirectory,
    privateKey: (deviceIndex) => keys.privateKey(deviceIndex),
    ...(options.wireguard === 'auto' ? {} : { wireguard: options.wireguard }),
    log: (event, fields) => {
      events.emit('notice', event, fields)
    },
  })
  const { held, holdReason } = await import('../daemon/crash-loop.ts')
  const hindrance = hold ? holdReason(crashes) : undefined
  const kernel = hindrance === undefined ? linux : held(linux, hindrance)
  const addresses = new RegistryAddresses()
  const registry = await openRegistry(
    config.registry,
    (address) => {
      addresses.add(address)
    },
    known.documents.length > 0 ? 5000 : 0,
  )
  await runDaemon(
    {
      config,
      keys,
      voucher: await voucherOf(config, events),
      known: { store, ...known },
      registry: registry.publish === undefined ? await withOutbox(registry, stateDirectory) : registry,
      registryAddresses: addresses,
      nameServers: await nameServersOf(config),
      surroundings,
      registryText: registryText(config.registry),
      kernel,
      hindrance,
      ids,
      saveIds: (changed) => saveGroupIds(stateDirectory, changed),
      events,
      notifier: notifier(process.env['NOTIFY_SOCKET'], (socket, state) => addon().notify(socket, state)),
      reach: (target, timeoutMs) => reachTarget(exec, target, timeoutMs),
      runHook: (program, run) => runHook(exec, program, run),
      startProbes: (port, word, events) => startProbes(probes(), port, word, events),
      runDirectory: options['run-directory'],
      isService: process.env['NOTIFY_SOCKET'] !== undefined,
      version: packageVersion(),
    },
    stop,
  )
}

/** Only a registry given by name needs them. Known before the first turn, which else would take their throw routes away. */
async function nameServersOf({ registry }: Config): Promise<NameServers | undefined> {
  const { isByName } = await import('./registry-driver.ts')
  if (!isByName(registry)) return undefined
  const { NameServers: Followed } = await import('../daemon/name-server.ts')
  const nameServers = new Followed()
  await nameServers.look()
  return nameServers
}

async function withOutbox(registry: Registry, stateDirectory: string): Promise<Registry> {
  const { OutboxRegistry, outboxDirectory } = await import('../registry/outbox.ts')
  return new OutboxRegistry(registry, outboxDirectory(stateDirectory))
}

/** A voucher that is of no use stops no gateway: it may be certified long since. */
async function voucherOf({ voucher }: Config, events: Events): Promise<VoucherKey | undefined> {
  const { readVoucher } = await import('./voucher-file.ts')
  try {
    return await readVoucher(voucher ?? defaultVoucherFile)
  } catch (error) {
    const { object, reason, next } = reasonOf(error, 'voucher')
    events.emit('error', 'voucher-unusable', { object, reason, next })
    return undefined
  }
}
