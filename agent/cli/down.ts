/**
 * `linkspan down`: removes all that linkspan made on this host and puts back the sysctls it changed; nothing else is
 * touched. A running agent is stopped first, or it would make everything anew. Needs no configuration and no registry.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { CommandModule } from 'yargs'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Lock } from '../daemon/lock.ts'
import type { Kernel } from '../kernel/port.ts'
import type { KernelObject } from '../model/kernel-object.ts'
import type { Op, OpResult } from '../model/op.ts'
import type { Status } from '../daemon/status.ts'
import { exec } from '../kernel/exec.ts'
import { ask } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withPlaces } from './option.ts'
import type { JsonOption, PlaceOptions } from './option.ts'
import { isHostNetwork, isServiceUp, stopService } from './service.ts'
import { count } from './table.ts'

interface DownArguments extends JsonOption, PlaceOptions {
  readonly 'dry-run': boolean
}

/** An agent that was asked to stop has this long, in ms. */
const stopMs = 5000
/** What comes up again while we remove is removed again, this many times. */
const rounds = 3

export const downCommand: CommandModule<object, DownArguments> = {
  command: 'down',
  describe: 'Stop the agent and remove all that linkspan made on this host',
  builder: (yargs) =>
    withPlaces(withJson(yargs)).option('dry-run', {
      type: 'boolean',
      default: false,
      describe: 'Show what would be removed, and remove nothing',
    }),
  handler: runDown,
}

async function runDown(options: DownArguments): Promise<void> {
  const [{ openLinux }, { formatOp }] = await Promise.all([
    import('../kernel/linux.ts'),
    import('../model/op-text.ts'),
  ])
  const dry = options['dry-run']
  const lock = dry ? undefined : await stopAgent(options['run-directory'])
  const kernel = await openLinux({ stateDirectory: options['state-directory'], privateKey: noKeys })
  const done: OpResult[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const ops = await removals(kernel)
      if (ops.length === 0) break
      const results: readonly OpResult[] = dry
        ? ops.map((op) => ({ op }))
        : await kernel.apply(ops, new AbortController().signal)
      for (const { op, error } of results) {
        if (!options.json) process.stdout.write(`${formatOp(op)}\n`)
        if (error !== undefined) process.stderr.write(`failed: ${formatReason(error)}\n`)
      }
      done.push(...results)
      if (dry) break
    }
    const left = dry ? [] : await removals(kernel)
    if (options.json) {
      const ops = done.map(({ op, error }) => ({
        ...op,
        text: formatOp(op),
        ...(error === undefined ? {} : { error }),
      }))
      process.stdout.write(`${JSON.stringify({ schema: 1, ops, left: left.map(formatOp) })}\n`)
    } else {
      process.stderr.write(`${count(done.length, 'object')} ${dry ? 'to remove' : 'removed or restored'}\n`)
    }
    if (left.length > 0) {
      process.exitCode = exitCode.failed
      process.stderr.write(`still there: ${left.slice(0, 8).map(formatOp).join('; ')}\n`)
    }
  } finally {
    await kernel.close()
    lock?.release()
  }
}

async function removals(kernel: Kernel): Promise<readonly Op[]> {
  const { diff } = await import('../diff/diff.ts')
  const observed: KernelObject[] = []
  for await (const part of kernel.observe({ sysctls: [] }, new AbortController().signal)) {
    for (const object of part) observed.push(object)
  }
  return diff([], observed, { nowSeconds: Math.floor(Date.now() / 1000) }).ops
}

/** Stops a running agent, by systemd or by its socket, and holds the lock so that none starts meanwhile. */
async function stopAgent(runDirectory: string): Promise<Lock> {
  const { takeLock } = await import('../daemon/lock.ts')
  // First, for an agent that hangs or waits to be started again answers no question.
  if ((await isHostNetwork()) && (await isServiceUp(exec))) await stopUnit()
  const status = await statusOf(runDirectory)
  if (status?.isService === true) await stopUnit()
  else if (status !== undefined) {
    process.stderr.write('stopping the agent\n')
    await ask(runDirectory, '/stop', { method: 'POST' })
  }
  const until = performance.now() + stopMs
  for (;;) {
    try {
      return await takeLock()
    } catch (error) {
      const held = error instanceof LinkspanError && error.code === 'already-running'
      if (!held || performance.now() > until) throw error
      await pause(50)
    }
  }
}

/** systemd would start again what ends by itself. */
async function stopUnit(): Promise<void> {
  process.stderr.write('stopping the agent\n')
  await stopService(exec)
}

async function statusOf(runDirectory: string): Promise<Status | undefined> {
  try {
    return (await ask(runDirectory, '/status')) as Status
  } catch (error) {
    if (error instanceof LinkspanError && error.code === 'not-running') return undefined
    throw error
  }
}

/** Nothing is keyed on the way down. */
function noKeys(): never {
  throw new TypeError('down was asked for a private key')
}
