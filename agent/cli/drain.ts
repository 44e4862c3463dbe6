/**
 * `linkspan drain`: takes this gateway out of service without a lost packet. Peers move away at once; the command waits until
 * nothing is carried any more, so that the gateway can then be stopped, upgraded or switched off.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { CommandModule } from 'yargs'
import type { DrainView } from '../daemon/control.ts'
import { ask } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'
import { count } from './table.ts'

interface DrainArguments extends JsonOption, RunDirectoryOption {
  readonly undo: boolean
  readonly timeout: number
}

const everyMs = 500
/** Nothing for so long, and nobody uses it: longer than peers take to hear of it, and than a slow flow pauses. */
const quietMs = 5000
/** Where nobody takes over, what is carried now will be. */
const aloneMs = quietMs + 2000

export const drainCommand: CommandModule<object, DrainArguments> = {
  command: 'drain',
  describe:
    'Take this gateway out of service: peers move away, and the command waits until nothing is carried',
  builder: (yargs) =>
    withRunDirectory(withJson(yargs))
      .option('undo', { type: 'boolean', default: false, describe: 'Put it back into service' })
      .option('timeout', {
        type: 'number',
        requiresArg: true,
        default: 120,
        describe: 'Seconds to wait until nothing is carried; 0: do not wait',
      })
      .check(({ timeout }) => {
        if (Number.isFinite(timeout) && timeout >= 0) return true
        throw new Error('--timeout takes a number of seconds, 0 or more')
      }),
  handler: runDrain,
}

async function runDrain(options: DrainArguments): Promise<void> {
  const at = options['run-directory']
  const target = options.undo ? '/drain?undo=1' : '/drain'
  const first = (await ask(at, target, { method: 'POST' })) as DrainView
  if (options.undo || options.timeout === 0) {
    const text = options.undo ? 'in service' : 'draining; not waited for'
    tell(options, { ...first, quiet: false }, text)
    return
  }
  const beganAt = performance.now()
  const isOver = ({ others }: DrainView): boolean =>
    performance.now() - beganAt >= Math.min(options.timeout * 1000, others === 0 ? aloneMs : Infinity)
  let last = first
  let changedAt = performance.now()
  let rate = 0
  while (!isOver(last)) {
    await pause(everyMs)
    const now = (await ask(at, '/drain')) as DrainView
    if (!now.draining) {
      process.stderr.write('somebody undid it\n')
      process.exitCode = exitCode.failed
      return
    }
    if (now.packets !== last.packets) {
      rate = Math.round(((now.packets - last.packets) * 1000) / (performance.now() - changedAt))
      changedAt = performance.now()
    }
    last = now
    if (performance.now() - changedAt >= quietMs) {
      tell(options, { ...now, quiet: true }, 'drained: nothing is carried, the gateway can be stopped')
      return
    }
  }
  process.exitCode = exitCode.degraded
  tell(
    options,
    { ...last, quiet: false },
    `draining, and after ${((performance.now() - beganAt) / 1000).toFixed()} s it still carries ${count(rate, 'packet')} a second: ` +
      (last.others === 0
        ? 'no other gateway of the site is up'
        : 'see that the hosts of the site do not send by this one'),
  )
}

function tell({ json }: JsonOption, view: DrainView & { readonly quiet: boolean }, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(view) : text}\n`)
}
