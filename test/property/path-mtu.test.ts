/**
 * Path MTU discovery against paths of any MTU, loss up to 20 % and changes in between: it finds the truth to within one step,
 * is never above it for longer than a confirmation and the trial take, does not oscillate, and asks a bounded number of times.
 */
import fc from 'fast-check'
import t from 'tap'
import {
  askMtu,
  beginMtu,
  dueMs,
  foundMtu,
  judgeMtu,
  raiseFactor,
  smallest,
  step,
  triesOf,
} from '../../agent/probe/mtu.ts'
import type { PathMtu } from '../../agent/probe/mtu.ts'
import type { TrialVerdict } from '../../agent/probe/port.ts'

const confirmMs = 10_000
const spacingMs = 300
const seed = Number(process.env['LINKSPAN_SEED'] ?? 1763700000)

/** A path: what it carries from when on. */
interface Ground {
  readonly documents: number
  readonly found: number | undefined
  readonly truths: readonly { readonly forMs: number; readonly mtu: number }[]
  readonly loss: number
  readonly measured: number | undefined
  readonly voids: number
  readonly chances: readonly number[]
}

const sizes = fc.oneof(fc.integer({ min: 1200, max: 1500 }), fc.integer({ min: smallest, max: 9000 }))
const ground: fc.Arbitrary<Ground> = fc
  .record({
    documents: fc.oneof(fc.integer({ min: 1200, max: 1500 }), fc.integer({ min: 1200, max: 9000 })),
    found: fc.option(sizes, { freq: 2 }).map((one) => one ?? undefined),
    truths: fc.array(fc.record({ forMs: fc.integer({ min: 100_000, max: 4_000_000 }), mtu: sizes }), {
      minLength: 1,
      maxLength: 4,
    }),
    loss: fc.double({ min: 0, max: 0.2, noNaN: true }),
    measured: fc.constantFrom(undefined, 0.9, 1, 1.2),
    voids: fc.constantFrom(0, 0, 0.1),
    chances: fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
      minLength: 97,
      maxLength: 97,
    }),
  })
  .map(({ measured, ...rest }) => ({
    ...rest,
    measured: measured === undefined ? undefined : measured * rest.loss,
  }))

interface Told {
  readonly atMs: number
  readonly plpmtu: number
}

/** Lives through it; every change of the MTU, and the number of trials. */
function live(of: Ground): {
  readonly told: readonly Told[]
  readonly trials: number
  readonly end: PathMtu
} {
  let random = 1
  // Numbers of fast-check, mixed on: it would make a path of a million of them.
  const chance = (): number => {
    random = (random * 48_271) % 2_147_483_647
    return ((of.chances[random % of.chances.length] ?? 0) + random / 2_147_483_647) % 1
  }
  const untilMs = of.truths.reduce((sum, { forMs }) => sum + forMs, 0)
  let mtu = beginMtu(of.documents, of.found, confirmMs, 0)
  const told: Told[] = [{ atMs: 0, plpmtu: mtu.plpmtu }]
  let trials = 0
  for (let now = dueMs(mtu, Infinity); now < untilMs; now = dueMs(mtu, Infinity)) {
    const next = askMtu(mtu, now)
    trials++
    const tries = triesOf(next, of.measured)
    let at = now
    let verdict: TrialVerdict = 'lost'
    for (let i = 0; i < tries && verdict === 'lost'; i++) {
      if (next.asked.size <= truthAt(of, at) && chance() >= of.loss) verdict = 'answered'
      at += verdict === 'answered' ? 20 : spacingMs
    }
    if (chance() < of.voids) verdict = 'void'
    mtu = judgeMtu(next, next.trial, verdict, confirmMs, at)
    if (mtu.plpmtu !== told.at(-1)?.plpmtu) told.push({ atMs: at, plpmtu: mtu.plpmtu })
  }
  return { told, trials, end: mtu }
}

function truthAt({ truths }: Ground, ms: number): number {
  let endMs = 0
  for (const { forMs, mtu } of truths) if (ms < (endMs += forMs)) return mtu
  return truths.at(-1)?.mtu ?? 0
}

function changesOf({
  truths,
}: Ground): readonly { readonly atMs: number; readonly endMs: number; readonly mtu: number }[] {
  let atMs = 0
  return truths.map(({ forMs, mtu }) => {
    const one = { atMs, endMs: atMs + forMs, mtu }
    atMs = one.endMs
    return one
  })
}

/** What may be found: the largest size of the grid, or all that documents say. */
function best({ documents }: Ground, truth: number): number {
  return truth >= documents ? documents : Math.max(smallest, Math.floor(truth / step) * step)
}

/** The longest that a search takes with all that belongs to it: some fourteen trials that are lost, and the answers in a row. */
function searchMs({ documents, measured }: Ground): number {
  return 14 * triesOf(beginMtu(documents, undefined, confirmMs, 0), measured) * spacingMs + 4000
}
/** Voids, one trial in ten, put things off: some in a row, each for longer. */
const voidMs = 40_000

const valueAt = (told: readonly Told[], ms: number): number =>
  told.findLast(({ atMs }) => atMs <= ms)?.plpmtu ?? 0

void t.test('it finds the truth to within one step', (t) => {
  fc.assert(
    fc.property(ground, (of) => {
      const { told } = live(of)
      for (const { atMs, endMs, mtu } of changesOf(of)) {
        // Up it goes with the raise timer, which begins anew after each search.
        if (endMs - atMs < 2 * raiseFactor * confirmMs + 2 * searchMs(of)) continue
        const found = valueAt(told, endMs - 1)
        const wanted = best(of, mtu)
        // What an earlier run found need not lie on the grid.
        if (found > Math.min(mtu, of.documents) || found < wanted - step) {
          throw new Error(`${found} in place of ${wanted} after ${endMs - atMs} ms: ${JSON.stringify(told)}`)
        }
      }
    }),
    { numRuns: 1500, seed },
  )
  t.pass()
  t.end()
})

void t.test('it is never above the truth for longer than a confirmation and the trial take', (t) => {
  fc.assert(
    fc.property(ground, (of) => {
      const { told } = live(of)
      for (const { atMs, endMs, mtu } of changesOf(of)) {
        // A search that runs when the truth changes comes to its end first; below the base every step down takes a trial.
        const limit = confirmMs + searchMs(of) + (of.voids > 0 ? 4 * voidMs : 0)
        for (const [i, one] of told.entries()) {
          const from = Math.max(one.atMs, atMs)
          const to = Math.min(told[i + 1]?.atMs ?? endMs, endMs)
          if (one.plpmtu <= Math.max(mtu, smallest) || to - from <= limit) continue
          throw new Error(`${one.plpmtu} above ${mtu} for ${to - from} ms`)
        }
      }
    }),
    { numRuns: 1500, seed },
  )
  t.pass()
  t.end()
})

void t.test('it does not oscillate, and asks a bounded number of times', (t) => {
  fc.assert(
    fc.property(ground, (of) => {
      const { told, trials } = live(of)
      const lastMs = changesOf(of).at(-1)?.endMs ?? 0
      // Once an MTU was found each change of the truth lowers it rung by rung and raises it twice at most.
      const most = (of.truths.length + 1) * 8
      if (told.length > most) throw new Error(`${told.length} changes: ${JSON.stringify(told)}`)
      const searches = lastMs / (raiseFactor * confirmMs) + of.truths.length + 1
      const bound = (lastMs / confirmMs + searches * 20) * (of.voids > 0 ? 2 : 1)
      if (trials > bound) throw new Error(`${trials} trials in ${lastMs} ms, ${bound} may be`)
    }),
    { numRuns: 1500, seed },
  )
  t.pass()
  t.end()
})

void t.test('loss alone lowers nothing', (t) => {
  fc.assert(
    fc.property(ground, (of) => {
      const { told, end } = live({
        ...of,
        found: undefined,
        truths: [{ forMs: 4_000_000, mtu: of.documents }],
      })
      if (told.length > 1 || foundMtu(end) !== undefined) throw new Error(JSON.stringify(told))
    }),
    { numRuns: 500, seed },
  )
  t.pass()
  t.end()
})
