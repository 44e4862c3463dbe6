/** Whether a systemd manager is there to be asked: in containers and in the lab there is none. */
import { existsSync } from 'node:fs'
import type { LinkspanError } from '../errors.ts'

/** What sd_booted(3) looks at. */
const systemdDirectory = '/run/systemd/system'

export function systemdRuns(directory = systemdDirectory): boolean {
  return existsSync(directory)
}

/** The words of systemd's programs where nobody is at the other end of the bus (bus_log_connect_error, must_be_booted). */
const nobody = /Failed to connect to (system )?bus(?!.*(not permitted|denied))|not been booted with systemd/

/** True for a run of one of systemd's programs that failed because no manager answers; one that refuses is another thing. */
export function isWithoutManager({ reason }: LinkspanError): boolean {
  return nobody.test(reason)
}
