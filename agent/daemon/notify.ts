/**
 * systemd's notification protocol (sd_notify(3)): READY after the first turn that went through, STATUS as it changes,
 * WATCHDOG after each turn and, as a first audit may be longer than any watchdog's patience, as the turn gets on: after each
 * batch of ops and each part that was observed, at most once a second. A loop that hangs in the kernel or in JavaScript
 * feeds nothing, and systemd restarts us; the data plane stays. The watchdog's time runs from READY on: before
 * that, progress extends the time to start.
 */

export interface Notifier {
  ready(): void
  status(text: string): void
  /** A turn is done. */
  alive(): void
  /** A turn gets on; said at most once a second. */
  progress(): void
  stopping(): void
}

/** Between two WATCHDOG messages of a turn, in ms; the watchdog's patience is thirty times that (packaging/linkspan.service). */
const feedingMs = 1000
/** Each sign of life of a start that takes long buys it so much more, in µs: as much as TimeoutStartSec gives at first. */
const extensionUs = 90_000_000

/** `send`: the addon's notify; `socket`: $NOTIFY_SOCKET, absent: not under systemd. */
export function notifier(
  socket: string | undefined,
  send: (socket: string, state: string) => number,
  clock: () => number = () => performance.now(),
): Notifier {
  let isReady = false
  let last = ''
  let fedAt = -Infinity
  const say = (state: string): void => {
    // systemd that does not listen is no reason to stop: its watchdog will say so.
    if (socket !== undefined) send(socket, state)
  }
  const feed = (): void => {
    fedAt = clock()
    say('WATCHDOG=1')
    if (!isReady) say(`EXTEND_TIMEOUT_USEC=${extensionUs}`)
  }
  return {
    ready() {
      if (!isReady) say('READY=1')
      isReady = true
    },
    status(text) {
      if (text !== last) say(`STATUS=${text}`)
      last = text
    },
    alive: feed,
    progress() {
      if (clock() - fedAt >= feedingMs) feed()
    },
    stopping() {
      say('STOPPING=1')
    },
  }
}
