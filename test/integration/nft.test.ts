/** The nftables driver against the kernel: elements survive a ruleset change, foreign changes are seen, faults stay alone. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { addon } from '../../agent/kernel/addon.ts'
import { exec } from '../../agent/kernel/exec.ts'
import type { Exec } from '../../agent/kernel/exec.ts'
import { openNft } from '../../agent/kernel/nft.ts'
import type { Nft } from '../../agent/kernel/nft.ts'
import { keyOf } from '../../agent/model/kernel-object.ts'
import type { KernelObject, Ruleset, SetElement } from '../../agent/model/kernel-object.ts'
import type { Op } from '../../agent/model/op.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { prefixElement } from '../../agent/plan/firewall-element.ts'
import { ruleset } from '../../agent/plan/firewall.ts'
import type { FirewallInput } from '../../agent/plan/firewall.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import { ownWith } from '../support/plan-input.ts'
import { smallSnapshot } from '../support/small-fabric.ts'

const signal = new AbortController().signal

function input(...remote: readonly string[]): FirewallInput {
  return {
    snapshot: smallSnapshot([
      { name: 'here', prefixes: ['10.1.0.0/16'] },
      { name: 'far', prefixes: remote },
    ]),
    own: ownWith('here-a', 'here'),
    facts: { links: [] },
  }
}

async function collect(nft: Nft): Promise<KernelObject[]> {
  const found: KernelObject[] = []
  for await (const part of nft.observe(signal)) found.push(...part)
  return found
}

function elementsOf(objects: readonly KernelObject[]): string[] {
  return objects
    .filter((object) => object.kind === 'element')
    .map(keyOf)
    .sort()
}

function digestOf(objects: readonly KernelObject[]): string | undefined {
  return objects.find((object) => object.kind === 'ruleset')?.digest
}

const add = (object: Ruleset | SetElement): Op => ({ verb: 'add', object })
const remove = (object: Ruleset | SetElement): Op => ({ verb: 'remove', object })
const remote = (text: string): SetElement => prefixElement('remote', prefix(text))

await isolated(import.meta.url, async (directory) => {
  const open = (): Promise<Nft> => openNft({ addon: addon(), exec, stateDirectory: directory })
  const nft = await open()
  const first = ruleset(input('10.2.0.0/16'))
  const second = ruleset(input('10.2.0.0/16', '10.9.9.0/24', 'fd00:2::/56'))

  await t.test('from nothing', async (t) => {
    t.same(await collect(nft), [])
    t.ok(await nft.unchanged())
    const results = await nft.apply(
      [add(first), add(remote('10.2.0.0/16')), add(remote('10.4.0.0/16'))],
      signal,
    )
    t.same(
      results.map(({ error }) => error),
      [undefined, undefined, undefined],
    )
    t.ok(await nft.unchanged(), 'own transactions are no change')
    const found = await collect(nft)
    t.equal(digestOf(found), first.digest)
    t.same(elementsOf(found), ['remote4_16 10.2.0.0', 'remote4_16 10.4.0.0'])
  })

  await t.test('a new ruleset keeps the elements, a foreign table lives', async (t) => {
    run('nft', 'add table inet foreign')
    t.notOk(await nft.unchanged(), 'a foreign change is seen')
    await collect(nft)
    const results = await nft.apply([{ verb: 'replace', object: second, before: first }], signal)
    t.equal(results[0]?.error, undefined)
    t.ok(await nft.unchanged())
    await nft.apply([add(remote('10.9.9.0/24')), add(remote('fd00:2::/56'))], signal)
    const found = await collect(nft)
    t.equal(digestOf(found), second.digest)
    t.same(elementsOf(found), [
      'remote4_16 10.2.0.0',
      'remote4_16 10.4.0.0',
      'remote4_24 10.9.9.0',
      'remote6_56 fd00:2::',
    ])
    await nft.apply([{ verb: 'replace', object: first, before: second }], signal)
    t.same(
      elementsOf(await collect(nft)),
      ['remote4_16 10.2.0.0', 'remote4_16 10.4.0.0'],
      'sets out of use go',
    )
    await nft.apply([{ verb: 'replace', object: second, before: first }], signal)
    t.match(run('nft', 'list tables'), /foreign/)
  })

  await t.test('one bad element hides nothing', async (t) => {
    const bad: SetElement = { kind: 'element', set: 'nowhere', key: '10.0.0.0' }
    const wrong: SetElement = { kind: 'element', set: 'remote4_24', key: 'fd00::' }
    const ops = [
      add(remote('10.11.1.0/24')),
      add(bad),
      add(wrong),
      add(remote('10.11.2.0/24')),
      add(remote('10.2.0.0/16')),
      remove(bad),
      remove(remote('10.11.9.0/24')),
    ]
    const results = await nft.apply(ops, signal)
    t.same(
      results.map(({ error }) => error?.object),
      [
        undefined,
        'nft element nowhere 10.0.0.0',
        'nft element remote4_24 fd00::',
        undefined,
        undefined,
        undefined,
        undefined,
      ],
    )
    t.match(results[1]?.error?.reason, 'no such set')
    t.notOk(await nft.unchanged(), 'after a failure everything is looked at again')
    t.same(elementsOf(await collect(nft)), [
      'remote4_16 10.2.0.0',
      'remote4_16 10.4.0.0',
      'remote4_24 10.11.1.0',
      'remote4_24 10.11.2.0',
    ])
    await nft.apply([remove(remote('10.11.1.0/24')), remove(remote('10.11.2.0/24'))], signal)
    t.same(elementsOf(await collect(nft)), ['remote4_16 10.2.0.0', 'remote4_16 10.4.0.0'])
  })

  await t.test('a restarted agent knows its table, and a changed one', async (t) => {
    const again = await open()
    t.notOk(await again.unchanged(), 'elements are not remembered')
    t.equal(digestOf(await collect(again)), second.digest)
    t.ok(await again.unchanged())
    run('nft', 'add rule inet linkspan forward counter')
    t.notOk(await again.unchanged())
    t.equal(digestOf(await collect(again)), 'foreign')
    await again.apply([{ verb: 'replace', object: second, before: second }], signal)
    t.equal(digestOf(await collect(again)), second.digest)
    run('nft', 'delete element inet linkspan remote4_16 { 10.4.0.0 }')
    t.notOk(await again.unchanged())
    t.same(elementsOf(await collect(again)), ['remote4_16 10.2.0.0'])
    run('nft', 'flush ruleset')
    t.same(await collect(again), [])
    writeFileSync(path.join(directory, 'nft.json'), '{"dig')
    const torn = await open()
    await torn.apply([add(second)], signal)
    t.equal(digestOf(await collect(torn)), second.digest)
    again.close()
    torn.close()
  })

  await t.test("somebody else's change right after ours", async (t) => {
    const meddling: Exec = {
      stream: (...args) => exec.stream(...args),
      run: async (...args) => {
        const said = await exec.run(...args)
        run('nft', 'add rule inet linkspan forward counter')
        return said
      },
    }
    const disturbed = await openNft({ addon: addon(), exec: meddling, stateDirectory: directory })
    await collect(disturbed)
    await disturbed.apply([{ verb: 'replace', object: second, before: second }], signal)
    t.notOk(await disturbed.unchanged())
    t.equal(digestOf(await collect(disturbed)), 'foreign')
    disturbed.close()
  })

  await t.test('removal', async (t) => {
    t.equal((await nft.apply([remove(second)], signal))[0]?.error, undefined)
    t.equal((await nft.apply([remove(second)], signal))[0]?.error, undefined, 'gone already is done')
    t.same(await collect(nft), [])
  })

  await t.test('a ruleset that nft refuses', async (t) => {
    const refused: Ruleset = {
      ...first,
      chains: [
        {
          name: 'x',
          hook: 'input',
          priority: 0,
          policy: 'accept',
          rules: [{ text: '', expr: [{ nonsense: 1 }] }],
        },
      ],
    }
    const [result] = await nft.apply([add(refused)], signal)
    t.match(result?.error, { code: 'exec', object: 'nft table inet linkspan' })
    t.same(await collect(nft), [], 'nothing of it is there')
  })

  await t.test('figures', async (t) => {
    const many = Array.from({ length: 100_000 }, (_, i) =>
      remote(`${11 + (i >> 15)}.${(i >> 7) & 255}.${(i & 127) << 1}.0/24`),
    )
    const time = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      const before = performance.now()
      await work()
      t.comment(`${name}: ${(performance.now() - before).toFixed(1)} ms`)
    }
    await time('ruleset', () => nft.apply([add(second)], signal))
    await time('100,000 elements', () => nft.apply(many.map(add), signal))
    await time('one element more', () => nft.apply([add(remote('1.2.3.0/24'))], signal))
    await time('one element less', () => nft.apply([remove(remote('1.2.3.0/24'))], signal))
    await time('unchanged', () => nft.unchanged())
    await time('observe', async () => t.equal((await collect(nft)).length, 100_001))
    await time('ruleset replaced', () =>
      nft.apply([{ verb: 'replace', object: first, before: second }], signal),
    )
    await time('ruleset replaced again', () =>
      nft.apply([{ verb: 'replace', object: second, before: first }], signal),
    )
  })
  nft.close()
})
