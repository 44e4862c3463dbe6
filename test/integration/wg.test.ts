/** The WireGuard driver against wireguard-go, and against the kernel's WireGuard where there is one. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { addon } from '../../agent/kernel/addon.ts'
import { exec } from '../../agent/kernel/exec.ts'
import { openWireGuard } from '../../agent/kernel/wg.ts'
import type { WireGuard } from '../../agent/kernel/wg.ts'
import { keyOf } from '../../agent/model/kernel-object.ts'
import type { AllowedIP, Device, KernelObject, Peer } from '../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../agent/model/key.ts'
import type { Op } from '../../agent/model/op.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { run, runIn } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'

const signal = new AbortController().signal

function newKeys(): { readonly secret: string; readonly publicKey: PublicKey } {
  const secret = run('wg', 'genkey').trim()
  return {
    secret,
    publicKey: execFileSync('wg', ['pubkey'], { input: secret, encoding: 'utf8' }).trim() as PublicKey,
  }
}

const secrets = Array.from({ length: 3 }, newKeys)
const [own, far, other] = secrets as [(typeof secrets)[0], (typeof secrets)[0], (typeof secrets)[0]]

function device(name: string, listenPort = 51820): Device {
  return { kind: 'device', name, publicKey: own.publicKey, listenPort, fwmark: 0x4c5300 }
}

function peer(publicKey: PublicKey, endpoint?: string, name = 'ls-wg0'): Peer {
  return {
    kind: 'peer',
    device: name,
    publicKey,
    keepalive: 25,
    ...(endpoint === undefined ? {} : { endpoint }),
  }
}

function allowed(text: string, publicKey: PublicKey, name = 'ls-wg0'): AllowedIP {
  return { kind: 'allowed-ip', device: name, prefix: prefix(text), publicKey }
}

const add = (object: KernelObject): Op => ({ verb: 'add', object })
const remove = (object: KernelObject): Op => ({ verb: 'remove', object })

async function collect(wg: WireGuard, ...links: readonly string[]): Promise<KernelObject[]> {
  const found: KernelObject[] = []
  for await (const part of wg.observe(new Set(links), signal)) found.push(...part)
  return found
}

/** `prefix peer` of every AllowedIP; peers by name. */
function cryptokeyRoutes(objects: readonly KernelObject[]): string[] {
  const names = new Map([
    [far.publicKey, 'far'],
    [other.publicKey, 'other'],
  ])
  return objects
    .filter((object) => object.kind === 'allowed-ip')
    .map((object) => `${object.prefix} ${names.get(object.publicKey) ?? 'stranger'}`)
    .sort()
}

async function done(wg: WireGuard, ops: readonly Op[]): Promise<void> {
  const failed = (await wg.apply(ops, signal)).filter(({ error }) => error !== undefined)
  t.same(failed, [], `${ops.length} ops`)
}

const flavours = ['wireguard-go', ...(hasKernel() ? ['kernel'] : [])]

function hasKernel(): boolean {
  try {
    run('ip', 'link', 'add', 'lstprobe', 'type', 'wireguard')
    run('ip', 'link', 'delete', 'dev', 'lstprobe')
    return true
  } catch {
    return false
  }
}

await isolated(import.meta.url, async (directory) => {
  const wg = await openWireGuard({
    addon: addon(),
    exec,
    privateKey: (i) => secrets[i]?.secret ?? '',
    stateDirectory: directory,
  })
  const start = async (flavour: string, name: string): Promise<void> => {
    if (flavour === 'wireguard-go') await wg.go.start(name)
    else run('ip', 'link', 'add', name, 'type', 'wireguard')
  }
  const stop = async (flavour: string, name: string): Promise<void> => {
    if (flavour === 'wireguard-go') await wg.go.stop(name)
    else run('ip', 'link', 'delete', 'dev', name)
  }

  for (const flavour of flavours) {
    await t.test(flavour, async (t) => {
      await start(flavour, 'ls-wg0')
      await done(wg, [add(device('ls-wg0'))])
      t.same(await collect(wg, 'ls-wg0', 'ls-wg9'), [device('ls-wg0')], 'a device; one that is gone is none')

      await done(wg, [
        add(peer(far.publicKey, '192.0.2.1:51820')),
        add(peer(other.publicKey, '[2001:db8::1]:51821')),
        add(allowed('10.2.0.0/16', far.publicKey)),
        add(allowed('fe80::2/128', far.publicKey)),
        add(allowed('10.3.0.0/16', other.publicKey)),
        add(allowed('::ffff:0:0/96', other.publicKey)),
      ])
      let found = await collect(wg, 'ls-wg0')
      const peers = found.filter((object) => object.kind === 'peer')
      t.same(
        peers
          .map(({ publicKey, endpoint, keepalive, latestHandshake }) => [
            publicKey,
            endpoint,
            keepalive,
            latestHandshake,
          ])
          .sort(),
        [
          [far.publicKey, '192.0.2.1:51820', 25, 0],
          [other.publicKey, '[2001:db8::1]:51821', 25, 0],
        ].sort(),
      )
      t.same(cryptokeyRoutes(found), [
        '10.2.0.0/16 far',
        '10.3.0.0/16 other',
        '::ffff:0:0/96 other',
        'fe80::2/128 far',
      ])

      // One more, one moved; then the peer's settings, which leave its prefixes alone.
      await done(wg, [
        add(allowed('10.4.0.0/16', far.publicKey)),
        {
          verb: 'replace',
          object: allowed('10.3.0.0/16', far.publicKey),
          before: allowed('10.3.0.0/16', other.publicKey),
        },
        {
          verb: 'replace',
          object: { ...peer(far.publicKey, '192.0.2.9:51820'), keepalive: 0 },
          before: peer(far.publicKey),
        },
      ])
      found = await collect(wg, 'ls-wg0')
      t.same(cryptokeyRoutes(found), [
        '10.2.0.0/16 far',
        '10.3.0.0/16 far',
        '10.4.0.0/16 far',
        '::ffff:0:0/96 other',
        'fe80::2/128 far',
      ])
      t.match(
        found.find((object) => object.kind === 'peer' && object.publicKey === far.publicKey),
        { endpoint: '192.0.2.9:51820', keepalive: 0 },
      )

      await done(wg, [
        remove(allowed('10.4.0.0/16', far.publicKey)),
        remove(allowed('fe80::2/128', far.publicKey)),
      ])
      found = await collect(wg, 'ls-wg0')
      t.same(
        cryptokeyRoutes(found),
        ['10.2.0.0/16 far', '10.3.0.0/16 far', '::ffff:0:0/96 other'],
        'two taken away',
      )
      t.equal(found.filter((object) => object.kind === 'peer').length, 2, 'no throw-away peer is left')

      // A prefix that was given away just now is not taken from its new peer.
      await done(wg, [
        add(allowed('10.2.0.0/16', other.publicKey)),
        remove(allowed('10.2.0.0/16', far.publicKey)),
      ])
      t.same(cryptokeyRoutes(await collect(wg, 'ls-wg0')), [
        '10.2.0.0/16 other',
        '10.3.0.0/16 far',
        '::ffff:0:0/96 other',
      ])

      await done(wg, [
        remove(allowed('10.3.0.0/16', far.publicKey)),
        remove(peer(far.publicKey)),
        remove(peer(far.publicKey)),
      ])
      t.same(cryptokeyRoutes(await collect(wg, 'ls-wg0')), ['10.2.0.0/16 other', '::ffff:0:0/96 other'])
      await stop(flavour, 'ls-wg0')
    })

    await t.test(`${flavour}: one bad peer hides nothing`, async (t) => {
      await start(flavour, 'ls-wg0')
      await done(wg, [add(device('ls-wg0'))])
      const bad = 'AAAA' as PublicKey
      const results = await wg.apply(
        [
          add(peer(far.publicKey)),
          add(peer(bad, '192.0.2.1:1')),
          add(peer(other.publicKey)),
          add(allowed('10.2.0.0/16', far.publicKey)),
          add(allowed('10.9.0.0/16', bad)),
          add(allowed('10.3.0.0/16', other.publicKey)),
          add(peer(far.publicKey, '192.0.2.1:1', 'ls-wg7')),
          add(device('ls-wg7')),
        ],
        signal,
      )
      t.same(
        results.map(({ error }) => error !== undefined),
        [false, true, false, false, true, false, true, true],
      )
      t.match(results[1]?.error?.object, `wg ls-wg0 peer ${bad}`)
      t.same(cryptokeyRoutes(await collect(wg, 'ls-wg0')), ['10.2.0.0/16 far', '10.3.0.0/16 other'])
      await stop(flavour, 'ls-wg0')
    })

    await t.test(`${flavour}: packets of a live peer`, async (t) => {
      // Both ends are devices of this process's namespace moved apart.
      await start(flavour, 'ls-wg0')
      await start(flavour, 'ls-wg1')
      await done(wg, [
        add(device('ls-wg0')),
        add({ ...device('ls-wg1', 51821), publicKey: far.publicKey }),
        add(peer(far.publicKey, '127.0.0.1:51821')),
        add(allowed('10.0.0.2/32', far.publicKey)),
        add(peer(own.publicKey, '127.0.0.1:51820', 'ls-wg1')),
        add(allowed('10.0.0.1/32', own.publicKey, 'ls-wg1')),
        add(peer(other.publicKey)),
      ])
      run('ip', 'netns', 'add', `${flavour}-far`)
      run('ip', 'link', 'set', 'dev', 'ls-wg1', 'netns', `${flavour}-far`)
      run('ip', 'address', 'add', '10.0.0.1/24', 'dev', 'ls-wg0')
      run('ip', 'link', 'set', 'dev', 'ls-wg0', 'up')
      runIn(`${flavour}-far`, 'ip', 'address', 'add', '10.0.0.2/24', 'dev', 'ls-wg1')
      runIn(`${flavour}-far`, 'ip', 'link', 'set', 'dev', 'ls-wg1', 'up')
      run('ping', '-n', '-c', '1', '-W', '3', '10.0.0.2')
      const pings = exec.run('ping', ['-n', '-q', '-i', '0.002', '-c', '500', '-W', '2', '10.0.0.2'])
      for (let i = 0; i < 20; i++) {
        const extra = Array.from({ length: 50 }, (_, n) => allowed(`10.77.${n}.0/24`, far.publicKey))
        await done(wg, [...extra.map(add), add(allowed('10.0.0.2/32', far.publicKey))])
        await done(wg, extra.map(remove))
      }
      t.match(await pings, /500 packets transmitted, 500 received/, 'adding and taking away loses nothing')
      t.ok(
        (await collect(wg, 'ls-wg0')).some(
          (object) => object.kind === 'peer' && (object.latestHandshake ?? 0) > 0,
        ),
      )
      await stop(flavour, 'ls-wg0')
      runIn(`${flavour}-far`, 'ip', 'link', 'delete', 'dev', 'ls-wg1')
      await wg.go.stop('ls-wg1')
    })

    await t.test(`${flavour}: a thousand peers, a hundred thousand prefixes`, async (t) => {
      await start(flavour, 'ls-wg0')
      await done(wg, [add(device('ls-wg0'))])
      const keys = Array.from(
        { length: 1000 },
        (_, i) => Buffer.alloc(32, `peer ${i} `).toString('base64') as PublicKey,
      )
      const ops = [
        ...keys.map((key) => add(peer(key, '192.0.2.1:51820'))),
        ...keys.flatMap((key, i) =>
          Array.from({ length: 100 }, (_, n) =>
            add(
              allowed(
                `10.${((i * 100 + n) >> 8) & 255}.${(i * 100 + n) & 255}.${((i * 100 + n) >> 16) * 16}/32`,
                key,
              ),
            ),
          ),
        ),
      ]
      let longest = 0
      let last = performance.now()
      const watch = setInterval(() => {
        longest = Math.max(longest, performance.now() - last)
        last = performance.now()
      }, 1)
      let before = performance.now()
      const results = await wg.apply(ops, signal)
      t.comment(`apply: ${(performance.now() - before).toFixed()} ms, longest stall ${longest.toFixed()} ms`)
      t.same(
        results.filter(({ error }) => error !== undefined),
        [],
      )
      before = performance.now()
      longest = 0
      const found = await collect(wg, 'ls-wg0')
      t.comment(
        `observe: ${(performance.now() - before).toFixed()} ms, longest stall ${longest.toFixed()} ms`,
      )
      clearInterval(watch)
      t.equal(found.length, 1 + 1000 + 100_000)
      t.same(new Set(found.map(keyOf)), new Set([...ops.map(({ object }) => keyOf(object)), 'ls-wg0']))
      await stop(flavour, 'ls-wg0')
    })
  }

  await t.test('wireguard-go: processes and names', async (t) => {
    const listed = (): unknown => JSON.parse(readFileSync(path.join(directory, 'wireguard-go.json'), 'utf8'))
    await Promise.all(['ls-wg0', 'ls-wg1', 'ls-wg2'].map((name) => wg.go.start(name)))
    t.same(listed(), ['ls-wg0', 'ls-wg1', 'ls-wg2'])
    for (const name of ['ls-wg0', 'ls-wg1', 'ls-wg2']) t.match(run('ip', 'link', 'show', 'dev', name), name)
    const again = await openWireGuard({
      addon: addon(),
      exec,
      privateKey: () => '',
      stateDirectory: directory,
    })
    t.same([...again.go.names], ['ls-wg0', 'ls-wg1', 'ls-wg2'], 'known after a restart')
    // A killed process leaves its socket behind; a new start under the name replaces it.
    const pid = run('pgrep', '-f', '^wireguard-go ls-wg0$').trim()
    process.kill(Number(pid), 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 100))
    t.ok(existsSync('/run/wireguard/ls-wg0.sock'))
    t.match(
      (await wg.apply([add(peer(far.publicKey))], signal))[0]?.error?.object,
      `wg ls-wg0`,
      'says what it could not reach',
    )
    await wg.go.start('ls-wg0')
    await done(wg, [add(device('ls-wg0'))])
    await Promise.all(['ls-wg0', 'ls-wg1', 'ls-wg2'].map((name) => wg.go.stop(name)))
    t.same(listed(), [])
    t.notOk(existsSync('/run/wireguard/ls-wg0.sock'))
    await wg.go.stop('ls-wg0')
    again.close()
  })

  await t.test('no key in an error', async (t) => {
    const bad = await openWireGuard({
      addon: addon(),
      exec,
      privateKey: () => 'c2VjcmV0',
      stateDirectory: directory,
    })
    await bad.go.start('ls-wg0')
    const [result] = await bad.apply([add(device('ls-wg0'))], signal)
    t.match(result?.error, { code: 'exec', object: 'wg ls-wg0' })
    t.notMatch(JSON.stringify(result), 'c2VjcmV0')
    await bad.go.stop('ls-wg0')
    bad.close()
  })
  wg.close()
})
