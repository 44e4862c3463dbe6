/**
 * One line an event to stderr: journald's priority prefix (sd-daemon(3)), the event, logfmt fields. Nothing waits for the
 * reader: lines that a blocked stderr cannot take are dropped and counted, because a log must never stop a reconcile.
 */
import type { Event, Level } from './event.ts'

const priority: Readonly<Record<Level, number>> = { error: 3, warning: 4, notice: 5, info: 6, debug: 7 }

/** Bytes that may wait in the stream. */
const patience = 1 << 20

export function formatEvent({ level, event, fields }: Event): string {
  const parts = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${logfmt(String(value))}`],
  )
  return `<${priority[level]}>${[event, ...parts].join(' ')}\n`
}

function logfmt(value: string): string {
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

/** A sink for Events; `quiet`: levels that are left out. */
export function logTo(
  stream: NodeJS.WriteStream,
  quiet: ReadonlySet<Level> = new Set(['debug']),
): (event: Event) => void {
  let dropped = 0
  stream.on('error', () => {
    dropped++ // the reader is gone; events are still in the ring
  })
  return (event) => {
    if (quiet.has(event.level)) return
    if (stream.writableLength > patience) {
      dropped++
      return
    }
    const lost = dropped === 0 ? '' : `<4>log-dropped lines=${dropped}\n`
    dropped = 0
    stream.write(lost + formatEvent(event))
  }
}
