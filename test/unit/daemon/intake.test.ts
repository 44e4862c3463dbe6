/** What is taken of a registry's news, on a clock of the test's own. */
import t from 'tap'
import { Intake } from '../../../agent/daemon/intake.ts'
import type { Limits } from '../../../agent/daemon/intake.ts'
import { Allowance, Allowances } from '../../../agent/daemon/allowance.ts'
import type { Bag, Delivered, Signed } from '../../../agent/model/document.ts'
import { certificateDocument, delivered, recordDocument, signed } from '../../support/documents.ts'

const limits: Limits = {
  changes: { burst: 2, perSecond: 1 },
  checks: { burst: 10, perSecond: 5 },
  work: { burst: 100, perSecond: 100 },
}

class Tried {
  nowMs = 0
  roused = 0
  readonly intake: Intake

  constructor(change: Partial<Limits> = {}) {
    this.intake = new Intake({
      limits: { ...limits, ...change },
      now: () => this.nowMs,
      rouse: () => this.roused++,
    })
  }

  /** After the first bag. */
  static async closed(change: Partial<Limits> = {}): Promise<Tried> {
    const tried = new Tried(change)
    tried.put([], { complete: true })
    await tried.turn()
    return tried
  }

  put(documents: readonly Delivered[], change: Partial<Bag> = {}): void {
    void this.intake.put({ documents, complete: false, unreadable: [], ...change })
  }

  /** Texts of what came in; undefined: there was nothing to do. Everything is news to it. */
  async turn(ms = 0): Promise<string[] | undefined> {
    const bag = await this.intake.take([])
    if (bag === undefined) return undefined
    const entered = bag.documents.filter((one) => {
      return this.intake.mayCheck(one) && this.intake.mayEnter(one, signed(certificateDocument(number(one))))
    })
    this.intake.done(bag, ms)
    return entered.map(({ bytes }) => Buffer.from(bytes).toString())
  }
}

/** Origin `g<n>`. */
function said(n: number, text = `g${n}`): Delivered {
  return { origin: `g${n}`, bytes: Buffer.from(text) }
}

function number({ origin }: Delivered): number {
  return Number(origin.slice(1))
}

const many = Array.from({ length: 100 }, (_, i) => said(i + 1))

void t.test('the first bag comes in whole', async (t) => {
  const tried = new Tried()
  t.equal(await tried.turn(), undefined, 'nothing was said')
  tried.put(many, { complete: true })
  t.equal((await tried.turn(10_000))?.length, 100)
  t.equal(tried.intake.waiting, 0)
  tried.put([said(1)])
  t.strictSame(await tried.turn(), ['g1'], 'and what it cost does not count')
})

void t.test('bags that nobody took are one', async (t) => {
  const tried = await Tried.closed()
  tried.put([said(1, 'old'), said(2)], { gone: ['g9'] })
  tried.put([said(1, 'new')], { gone: ['g2'] })
  tried.put([said(9)])
  t.match(await tried.intake.take([]), {
    complete: false,
    documents: [{ bytes: Buffer.from('new') }, { origin: 'g9' }],
    gone: ['g2'],
  })
  tried.put([said(1)], { gone: ['g4'] })
  tried.put([said(2), said(3)], { complete: true })
  tried.put([said(3, 'new')], { gone: ['g2'] })
  const bag = await tried.intake.take([])
  t.match(bag, { complete: true, gone: [] })
  t.strictSame(
    bag?.documents.map(({ origin }) => origin),
    ['g3'],
  )
})

void t.test('a key that flaps comes in now and then, the newest last', async (t) => {
  const tried = await Tried.closed()
  const entered: string[] = []
  let turns = 0
  for (let i = 1; i <= 10_000; i++) {
    tried.nowMs += 1
    const roused = tried.roused
    tried.put([said(1, String(i))])
    if (tried.roused > roused || i % 200 === 0) {
      turns++
      entered.push(...((await tried.turn()) ?? []))
    }
  }
  t.ok(entered.length >= 10 && entered.length <= 13, `${entered.length} in 10 s`)
  t.ok(turns <= 80, `${turns} turns`)
  t.equal(tried.intake.waiting, 1)
  tried.put([said(2)])
  t.ok((await tried.turn())?.includes('g2'), 'others do not wait for it')
  tried.nowMs += 2000
  t.strictSame(await tried.turn(), ['10000'])
  t.equal(tried.intake.waiting, 0)
  t.equal(await tried.turn(), undefined)
})

void t.test('so many new documents a second, in the order in which they came', async (t) => {
  const tried = await Tried.closed()
  tried.put(many)
  const entered = (await tried.turn()) ?? []
  t.equal(entered.length, 10)
  t.equal(tried.intake.waiting, 90)
  t.equal(await tried.turn(), undefined, 'and nothing is tried meanwhile')
  for (let seconds = 0; seconds < 20; seconds++) {
    tried.nowMs += 1000
    entered.push(...((await tried.turn()) ?? []))
  }
  t.strictSame(
    entered,
    many.map(({ origin }) => origin),
  )
})

void t.test('new names without end do not keep out what waits', async (t) => {
  const tried = await Tried.closed()
  tried.put([...many.slice(0, 10), said(99, 'revocation')])
  const entered = (await tried.turn()) ?? []
  t.notOk(entered.includes('revocation'))
  let names = 100
  for (let seconds = 0; seconds < 3; seconds++) {
    tried.nowMs += 1000
    tried.put(Array.from({ length: 50 }, () => said(names++)))
    entered.push(...((await tried.turn()) ?? []))
  }
  t.ok(entered.includes('revocation'))
})

void t.test('what a stranger says in the name of the authority does not use up its allowance', async (t) => {
  const tried = await Tried.closed()
  const document = certificateDocument(1)
  const forged = (i: number): Signed => ({ ...signed(document), kid: 'stranger', hash: String(i) })
  for (let i = 0; i < 10; i++) tried.intake.mayEnter(delivered(document, `forged-${i}`), forged(i))
  t.notOk(tried.intake.mayEnter(delivered(document, 'one-more'), forged(10)))
  t.ok(tried.intake.mayEnter(delivered(document), signed(document)))
})

void t.test('what is gone or said otherwise waits no longer', async (t) => {
  const tried = await Tried.closed()
  tried.put(many)
  await tried.turn()
  tried.nowMs += 100_000
  tried.put([], { gone: ['g11', 'g12'] })
  tried.put([said(13, 'new')])
  const entered = (await tried.turn()) ?? []
  t.notOk(entered.includes('g11'))
  t.ok(entered.includes('new'))
  t.notOk(entered.includes('g13'))
  tried.put([said(100)], { complete: true })
  await tried.turn()
  tried.nowMs += 100_000
  await tried.turn()
  t.equal(tried.intake.waiting, 0, 'a complete bag says what there is')
})

void t.test('many origins of one gateway are one gateway', async (t) => {
  const tried = await Tried.closed()
  let entered = 0
  for (let i = 1; i <= 5; i++) {
    const one = delivered(recordDocument(1), `copy-${i}`)
    if (tried.intake.mayEnter(one, signed(recordDocument(1)))) entered++
  }
  t.equal(entered, 2)
  t.ok(tried.intake.mayEnter(said(2), signed(recordDocument(2))))
})

void t.test('work is paid for before there is more of it', async (t) => {
  const tried = await Tried.closed()
  tried.put([said(1)])
  await tried.turn(600)
  const roused = tried.roused
  tried.put([said(2)])
  t.equal(tried.roused, roused)
  t.equal(await tried.turn(), undefined)
  tried.nowMs += 4900
  t.equal(await tried.turn(), undefined)
  tried.nowMs += 200
  t.strictSame(await tried.turn(), ['g2'])
})

void t.test('what waits comes in by itself', async (t) => {
  const tried = await Tried.closed()
  tried.put(many)
  await tried.turn()
  tried.nowMs += 10_000
  const roused = tried.roused
  const began = Date.now()
  while (tried.roused === roused && Date.now() - began < 20_000)
    await new Promise((resolve) => setTimeout(resolve, 20))
  t.ok(tried.roused > roused)
})

void t.test('allowances', (t) => {
  let now = 0
  const purse = new Allowance({ burst: 3, perSecond: 2 }, () => now)
  t.strictSame([purse.take(), purse.take(), purse.take(), purse.take()], [true, true, true, false])
  now += 400
  t.notOk(purse.take())
  now += 200
  t.ok(purse.take())
  purse.spend(10)
  now += 4000
  t.notOk(purse.take(), 'a debt is paid first')
  now += 1_000_000
  t.equal(purse.left, 3)
  const purses = new Allowances({ burst: 1, perSecond: 1 }, () => now)
  for (let i = 0; i < 10_000; i++) {
    purses.take(`name ${i}`)
    now += 10
  }
  t.notOk(purses.has('name 9999'))
  t.ok(purses.size < 3000, 'those nobody uses are forgotten')
  t.end()
})
