/**
 * Small changes of the fabric document in force: who is removed, what is revoked. They start from the authority's own book
 * and never from what a registry shows, which may be an older document.
 */
import type { Fabric } from '../model/fabric.ts'
import type { Authority } from './authority.ts'
import { dayMs } from './ca-option.ts'

const defaultFreshMs = 90 * dayMs

export interface Edited {
  readonly path: string
  readonly fabric: Fabric
}

/** Signs the document with `change` applied. */
export async function editFabric(
  authority: Authority,
  change: Partial<Fabric>,
  nowMs: number,
): Promise<Edited> {
  const payload = { ...renewed(authority, nowMs), ...change }
  const [written] = await authority.commit([{ type: 'fabric', payload }])
  return { path: written?.place ?? '', fabric: payload }
}

/** The document in force with a new serial, fresh for as long as it was, and never for less than it is. */
export function renewed(authority: Authority, nowMs: number): Fabric {
  const { fabric } = authority
  const freshUntil = Math.max(fabric.freshUntil, nowMs + freshMsOf(fabric))
  return { ...fabric, serial: authority.serial(nowMs), freshUntil }
}

/** How long the document was made to be fresh: its serial is the time of its signature. */
export function freshMsOf({ serial, freshUntil }: Fabric): number {
  const ms = freshUntil - serial
  return ms >= dayMs / 2 && ms <= 3650 * dayMs ? ms : defaultFreshMs
}
