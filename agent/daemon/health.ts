/**
 * The health port on the site's side, for cloud load balancers and route controllers: 200 while this gateway forwards for its
 * site, 503 with the reason while it does not.
 */
import type { Server } from 'node:http'
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
  const own = planned.snapshot.gateways.get(planned.own.gateway)?.site.name
  const remote = [...prober.entries()].filter(({ site }) => site !== own)
  return remote.length > 0 && remote.every(({ verdict }) => verdict.standing === 'down')
    ? 'no other site can be reached'
    : undefined
}
