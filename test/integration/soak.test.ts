/** Half a minute of the soak that `scripts/bench paths --long` runs for ten: lossy paths, of which none may fall or flap. */
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { isolated } from '../support/isolate.ts'
import { calmDown, device, joinBy, Machine } from '../support/probe-lab.ts'
import { soak } from '../support/soak.ts'

const each = 10

await isolated(import.meta.url, async () => {
  calmDown()
  const far = await Machine.make('crowd')
  joinBy(device, far)
  const lines = Array.from(
    { length: 2 * each },
    (_, n) => `address add fe80::1:${(n + 1).toString(16)}/128 dev ${device}`,
  )
  writeFileSync(far.path('/run/addresses'), lines.join('\n'))
  far.run('ip', '-batch', '/run/addresses')
  const { sent, lost, falseDowns, flaps } = await soak(far, each, 30)
  t.ok(sent > 30 * 2 * each, `${sent} probes`)
  const [much, little] = lost
  t.ok(much > 0.1 && little > 0.01 && much > little, `lost ${much.toFixed(3)} and ${little.toFixed(3)}`)
  t.equal(falseDowns, 0, 'paths that were taken for down')
  t.equal(flaps, 0, 'changes of paths at 5 %')
  far.end()
})
