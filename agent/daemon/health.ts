/**
 * The health port on the site's side, for cloud load balancers and route controllers: 200 while this gateway forwards for its
 * site, 503 with the reason while it does not.
 */
import type { Server } from 'node:http'
import type { Standing } from '../model/path-state.ts'
import type { PlanInput } from '../plan/input.ts'
import type { PathEntry } from '../probe/table.ts'
import { httpServer, listen } from './http.ts'
import type { Answer } from './http.ts'
import type { Prober } from './prober.ts'
import type { Reconciler } from './reconciler.ts'

export interface HealthOptions {
  readonly address: string
  readonly port: number
  readonly unfit: () => string | undefined
}

/** Serves `/` and `/healthz`. Rejects where the address cannot be listened on. */
export async function openHealth({ address, port, unfit }: HealthOptions): Promise<Server> {
  const answer = (): Answer => {
    const reason = unfit()
    return reason === undefined ? { body: 'forwarding\n' } : { status: 503, body: `${reason}\n` }
  }
  const server = httpServer({ 'GET /': answer, 'GET /healthz': answer })
  await server.keepListening(() => listen(server, { host: address, port }))
  return server
}

/** Why hosts of the site should not send by this gateway; undefined: they may. */
export function unfitReason(
  { settled, planned }: Pick<Reconciler, 'settled' | 'planned'>,
  prober: Pick<Prober, 'entries'>,
  state: { readonly isDraining: boolean; readonly isCanaryFailed: boolean },
): string | undefined {
  if (planned === undefined || !settled) return 'not set up yet'
  if (state.isDraining) return 'draining'
  if (state.isCanaryFailed) return 'no canary can be reached'
  return isolation(planned, prober) === undefined ? undefined : 'no other site can be reached'
}

/** `site`: no path to another site is left. `all`: nor one to the other gateways of ours. Undefined: there is one, or never was. */
export function isolation(planned: PlanInput, prober: Pick<Prober, 'entries'>): 'site' | 'all' | undefined {
  const own = planned.snapshot.gateways.get(planned.own.gateway)?.site.name
  const entries = [...prober.entries()]
  const isDown = ({ verdict }: PathEntry): boolean => verdict.standing === 'down'
  const [mates, remote] = [
    entries.filter(({ site }) => site === own),
    entries.filter(({ site }) => site !== own),
  ]
  if (remote.length === 0 || !remote.every(isDown)) return undefined
  return mates.length > 0 && mates.every(isDown) ? 'all' : 'site'
}

/** How this gateway stands among those of its site. */
export function ownStanding(
  planned: PlanInput | undefined,
  prober: Pick<Prober, 'entries'>,
  state: { readonly isDraining: boolean; readonly isCanaryFailed: boolean },
): Standing {
  const cut = planned === undefined ? 'all' : isolation(planned, prober)
  // Who reaches nobody knows nothing of the others, and does not take over from them.
  if (cut === 'all') return 'down'
  if (cut === 'site' || state.isCanaryFailed) return 'not-forwarding'
  return state.isDraining ? 'draining' : 'fit'
}
