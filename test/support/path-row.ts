/** Paths as `linkspan ping` of a gateway shows them. */
import { setTimeout as pause } from 'node:timers/promises'
import type { NamedPathView } from '../../agent/daemon/path-view.ts'
import type { Gateway } from './gateway.ts'

/** Those to a site or gateway; none while the agent does not know it. */
export function pathRows(gateway: Gateway, to: string): readonly NamedPathView[] {
  const { stdout } = gateway.cli('ping', to, '--count', '1', '--json')
  return stdout === '' ? [] : (JSON.parse(stdout) as { readonly paths: readonly NamedPathView[] }).paths
}

/** Until there are `count` of them and nothing speaks against any. */
export async function untilFit(gateway: Gateway, to: string, count: number): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const fit = pathRows(gateway, to).filter(
      ({ condition, standing }) => condition === 'up' && standing === 'fit',
    )
    if (fit.length === count) return
    await pause(100)
  }
  throw new Error(`the paths of ${gateway.name} do not come up:\n${gateway.log}`)
}
