/** `linkspan events`: what happened, newest last; with --follow, as it happens. */
import { setTimeout as pause } from 'node:timers/promises'
import type { CommandModule } from 'yargs'
import type { Event } from '../daemon/event.ts'
import { formatEvent } from '../daemon/log.ts'
import { ask } from './client.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'

interface EventsArguments extends JsonOption, RunDirectoryOption {
  readonly follow: boolean
}

const everyMs = 1000

export const eventsCommand: CommandModule<object, EventsArguments> = {
  command: 'events',
  describe: 'What happened, newest last',
  builder: (yargs) =>
    withRunDirectory(withJson(yargs)).option('follow', {
      type: 'boolean',
      default: false,
      describe: 'Go on as events happen',
    }),
  handler: async (options) => {
    let since = 0
    do {
      const target = `/events?since=${since}`
      const answer = (await ask(options['run-directory'], target)) as { readonly events: readonly Event[] }
      for (const event of answer.events) {
        since = event.id
        process.stdout.write(
          `${options.json ? JSON.stringify({ schema: 1, ...event }) : formatLine(event)}\n`,
        )
      }
      if (options.follow) await pause(everyMs)
    } while (options.follow)
  },
}

function formatLine(event: Event): string {
  return `${new Date(event.at).toISOString()} ${formatEvent(event)
    .replace(/^<[0-7]>/, '')
    .trimEnd()}`
}
