/** The ground that driver benches stand on: a namespace of the bench's own (scripts/bench made it), a link, nexthops, groups. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openLinux } from '../../agent/kernel/linux.ts'
import type { Kernel } from '../../agent/kernel/port.ts'
import { nexthopId, overlayTable } from '../../agent/model/kernel-number.ts'
import type { Route } from '../../agent/model/kernel-object.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { fleetPrefix } from '../support/fleet.ts'

export const groups = 100

export interface Ground {
  readonly kernel: Kernel
  readonly directory: string
  close(): Promise<void>
}

export async function makeGround(): Promise<Ground> {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-bench-'))
  ip('link', 'add', 'bench0', 'type', 'veth', 'peer', 'name', 'bench1')
  ip('link', 'set', 'dev', 'bench0', 'up')
  ip('link', 'set', 'dev', 'bench1', 'up')
  const kernel = await openLinux({ stateDirectory: directory, privateKey: () => '' })
  return {
    kernel,
    directory,
    async close() {
      await kernel.close()
      ip('link', 'delete', 'dev', 'bench0')
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Removes all routes with their nexthops (RTM_DELNEXTHOP takes the routes along) and makes the groups anew. */
export function clearRoutes(): void {
  ip('nexthop', 'flush')
  ip('-6', 'nexthop', 'add', 'id', String(nexthopId.device(0)), 'dev', 'bench0', 'proto', 'kernel')
  for (let i = 0; i < groups; i++) {
    const id = String(nexthopId.firstGroup + i)
    const member = String(nexthopId.device(0))
    ip('nexthop', 'add', 'id', id, 'group', member, 'type', 'resilient', 'buckets', '64', 'proto', 'kernel')
  }
}

export function benchRoutes(count: number): Route[] {
  return Array.from({ length: count }, (_, n) => ({
    kind: 'route',
    table: overlayTable,
    prefix: prefix(fleetPrefix(n)),
    type: 'unicast',
    nexthop: nexthopId.firstGroup + (n % groups),
    mtu: 1440,
  }))
}

export function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' })
}
