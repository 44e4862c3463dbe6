/** WireGuard links through the whole driver: wireguard-go's, and the kernel's where there is one. */
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { diff } from '../../agent/diff/diff.ts'
import { openLinux } from '../../agent/kernel/linux.ts'
import type { Change, Kernel } from '../../agent/kernel/port.ts'
import { linkGroup, nexthopId } from '../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const ending = new AbortController()
const { signal } = ending
const secrets = Array.from({ length: 3 }, () => run('wg', 'genkey').trim())
const publicKey = (i: number): PublicKey =>
  execFileSync('wg', ['pubkey'], { input: secrets[i] ?? '', encoding: 'utf8' }).trim() as PublicKey

function wanted(type: 'wireguard' | 'tun'): KernelObject[] {
  return [0, 8].flatMap((i, n): KernelObject[] => {
    const name = `ls-wg${i}`
    return [
      {
        kind: 'link',
        name,
        type,
        mtu: 1420,
        up: true,
        group: linkGroup,
        alias: 'linkspan: underlay internet',
      },
      { kind: 'device', name, publicKey: publicKey(n), listenPort: 51820 + i, fwmark: 0x4c5300 + n },
      { kind: 'address', link: name, address: '100.127.0.1/32' },
      { kind: 'address', link: name, address: 'fe80::1/64' },
      { kind: 'peer', device: name, publicKey: publicKey(2), keepalive: 25, endpoint: '192.0.2.7:51820' },
      { kind: 'allowed-ip', device: name, prefix: prefix('10.2.0.0/16'), publicKey: publicKey(2) },
      { kind: 'allowed-ip', device: name, prefix: prefix('fe80::2/128'), publicKey: publicKey(2) },
      { kind: 'nexthop', id: nexthopId.device(i), family: 6, device: name },
    ]
  })
}

async function observed(kernel: Kernel): Promise<KernelObject[]> {
  const found: KernelObject[] = []
  for await (const part of kernel.observe({ sysctls: [] }, signal)) found.push(...part)
  return found
}

/** Makes the kernel as desired; the ops it took. */
async function converge(kernel: Kernel, desired: readonly KernelObject[]): Promise<string[]> {
  const { ops, conflicts } = diff(desired, await observed(kernel), { nowSeconds: Date.now() / 1000 })
  t.same(conflicts, [])
  const results = await kernel.apply(ops, signal)
  t.same(
    results.flatMap(({ error }) => (error === undefined ? [] : [error])),
    [],
  )
  return ops.map(({ verb, object }) => `${verb} ${object.kind}`)
}

t.setTimeout(300_000) // the emulated guest is slow

await isolated(import.meta.url, async (stateDirectory) => {
  const open = (): Promise<Kernel> => openLinux({ stateDirectory, privateKey: (i) => secrets[i / 8] ?? '' })
  const kernel = await open()
  const { features } = await kernel.facts([], signal)
  const desired = wanted(features.wireguard ? 'wireguard' : 'tun')
  const heard: Change[] = []
  const listening = (async () => {
    for await (const change of kernel.changes(signal)) heard.push(change)
  })()

  await t.test('made in one go, seen as desired, without a hint', async (t) => {
    await observed(kernel)
    await sleep(200)
    heard.length = 0
    await converge(kernel, desired)
    t.same(await converge(kernel, desired), [])
    await sleep(300)
    t.same(heard, [])
    const facts = await kernel.facts([], signal)
    t.same(facts.links, [], 'no facts of the host')
    t.match(run('ip', '-details', 'link', 'show', 'dev', 'ls-wg8'), /addrgenmode none/)
    t.equal(run('wg', 'show', 'ls-wg8', 'fwmark').trim(), '0x4c5301')
  })

  await t.test('a second start finds all as desired', async (t) => {
    const again = await open()
    t.same(await converge(again, desired), [])
    await again.close()
  })

  await t.test('a deleted link comes back whole, the other is left alone', async (t) => {
    const before = run('ip', '-oneline', 'link', 'show', 'dev', 'ls-wg0')
    run('ip', 'link', 'delete', 'dev', 'ls-wg8')
    await sleep(200)
    t.ok(heard.includes('objects'))
    await converge(kernel, desired)
    t.same(await converge(kernel, desired), [])
    t.equal(run('ip', '-oneline', 'link', 'show', 'dev', 'ls-wg0'), before)
  })

  await t.test('a link that goes down and up again is repaired', async (t) => {
    run('ip', 'link', 'set', 'dev', 'ls-wg0', 'down')
    run('ip', 'link', 'set', 'dev', 'ls-wg0', 'up')
    t.ok((await converge(kernel, desired)).includes('add nexthop'))
    t.same(await converge(kernel, desired), [])
  })

  await t.test('a start that died half way', async (t) => {
    run('ip', 'link', 'set', 'dev', 'ls-wg0', 'down', 'alias', '', 'mtu', '1280', 'group', 'default')
    run('ip', 'address', 'flush', 'dev', 'ls-wg0')
    const again = await open()
    const { conflicts } = diff(desired, await observed(again), { nowSeconds: 0 })
    if (features.wireguard) t.equal(conflicts.length, 1, 'the kernel’s are born in the group')
    else {
      await converge(again, desired)
      t.same(await converge(again, desired), [])
    }
    run('ip', 'link', 'set', 'dev', 'ls-wg0', 'group', String(linkGroup))
    await again.close()
  })

  await t.test('down', async (t) => {
    await converge(kernel, [])
    t.same(
      (await observed(kernel)).filter(({ kind }) => kind !== 'sysctl'),
      [],
    )
    t.equal(run('ip', '-oneline', 'link', 'show').trim().split('\n').length, 1, 'nothing but lo')
  })
  ending.abort()
  await listening
  await kernel.close()
})
