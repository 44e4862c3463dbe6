/** How long to wait between tries to reach an etcd server. */

const firstMs = 100
/** Of a server that cannot be reached. */
const lastMs = 5000
/** Of a server that will not have us: a password costs etcd a tenth of a second of CPU, whoever tries it. */
const lastRefusedMs = 30_000

/**
 * Milliseconds before try number `round` (from 1): doubling, and anywhere in its upper half, so that a thousand gateways
 * that lost one server do not come back at once.
 */
export function backoffMs(round: number, refused: boolean, random: () => number): number {
  const most = refused ? lastRefusedMs : lastMs
  const base = Math.min(most, firstMs * 2 ** Math.min(16, Math.max(0, round - 1)))
  return base * (0.5 + random() / 2)
}
