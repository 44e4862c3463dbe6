/**
 * systemd's notification protocol (sd_notify(3)): READY once the first audit is done, STATUS as it changes, WATCHDOG after
 * each turn of the reconciler. A loop that hangs in the kernel or in JavaScript feeds nothing, and systemd restarts us;
 * the data plane stays.
 */

export interface Notifier {
  ready(): void
  status(text: string): void
  alive(): void
  stopping(): void
}

/** `send`: the addon's notify; `socket`: $NOTIFY_SOCKET, absent: not under systemd. */
export function notifier(
  socket: string | undefined,
  send: (socket: string, state: string) => number,
): Notifier {
  let isReady = false
  let last = ''
  const say = (state: string): void => {
    // systemd that does not listen is no reason to stop: its watchdog will say so.
    if (socket !== undefined) send(socket, state)
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
    alive() {
      say('WATCHDOG=1')
    },
    stopping() {
      say('STOPPING=1')
    },
  }
}
