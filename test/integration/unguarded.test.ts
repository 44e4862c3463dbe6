/**
 * A firewall that cannot be loaded: the program `nft` fails on a whole gateway. What only the firewall keeps closed does not
 * open, whatever the registry says meanwhile; what ran before runs on; `status` says why; and when nft works again all of it
 * comes up by itself.
 *
 * /run/broken/nft stands in front of the real one and fails where it is asked to load something.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Trouble } from '../../agent/daemon/trouble.ts'
import type { Document } from '../../agent/model/document.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { certificateDocument, recordDocument, tunnelKeysOf } from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest, publish, startSettled } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { wanFabric } from '../support/lab.ts'
import { Meter } from '../support/meter.ts'
import { addLan, lanConfig, lanFabric, makePair } from '../support/pair.ts'

const said = 'Operation not supported, says the test'
const wrapper = `#!/bin/sh
case " $* " in
  *" -f "*) [ -e /run/broken/now ] && { echo "${said}" >&2; exit 1; } ;;
esac
exec nft.real "$@"
`
const site2 = { name: 'site-2', provider: '', region: '', labels: {} }
const fabric = [...wanFabric, ...lanFabric]

await isolated(import.meta.url, async (directory) => {
  process.env['PATH'] = `/run/broken:${process.env['PATH'] ?? ''}`
  const { lab, left, right, leftHost, rightHost } = await makePair(directory, {
    fabric: lanFabric,
    config: lanConfig,
    before: async (pair) => {
      const { machine } = pair.left
      mkdirSync(machine.path('/run/broken'))
      const real = machine.run('sh', '-c', 'command -v nft').trim()
      machine.run('ln', '-s', real, '/run/broken/nft.real')
      writeFileSync(machine.path('/run/broken/nft'), wrapper, { mode: 0o755 })
      await addLan(pair)
    },
  })
  const { machine } = left
  const breakNft = (): void => {
    writeFileSync(machine.path('/run/broken/now'), '')
  }
  const mendNft = (): void => {
    rmSync(machine.path('/run/broken/now'))
  }

  await t.test('at the first start: no tunnel, no route, no forwarding, until nft works', async (t) => {
    await left.stop()
    t.equal(left.cli('down').status, 0, 'a host where no agent ever ran')
    breakNft()
    await startSettled(left)
    t.strictSame(opened(), [])
    const failure = await untilFailing(1)
    t.match(failure, { code: 'exec', object: 'nft table inet linkspan' })
    t.match(failure?.reason, said, 'with the words of nft')
    const { status, stdout } = left.cli('status')
    t.equal(status, 3, 'degraded')
    t.match(stdout, said)

    // The second is a pass over the shares of a network, a site and a gateway: it has no ruleset to try.
    for (const [i, networks] of [[], [{ name: 'lan' }]].entries()) {
      const from = left.log.length
      await publish(lab.registry, paper(50, { serial: 1 + i, prefixes: ['10.50.0.0/17'], networks }))
      await untilTrue(() => left.log.includes('pass shares', from))
      t.strictSame(opened(), [], 'news opens nothing either')
      t.equal(left.cli('plan').status, 0, 'nor does a look at the plan')
    }
    await untilFailing(4)
    t.strictSame(opened(), [], 'nor do more tries')

    mendNft()
    await untilOk()
    t.ok(leftHost.pings('10.2.0.10'), 'traffic flows')
    const lines = dump(machine)
    for (const line of [/^link\tls-vx7001/, /^route4.*10\.50\.0\.0\/17/, /^rule4\t19531/, /^nft.*"egress"/])
      t.ok(
        lines.some((each) => line.test(each)),
        line.source,
      )
  })

  await t.test('while prefixes are added: what runs keeps running, nothing new opens', async (t) => {
    const whole = dump(machine)
    const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: guest ? 100 : 500 })
    breakNft()
    // /25 is a length of its own, and needs a new set and new rules.
    await publish(lab.registry, paper(51, { prefixes: ['10.51.0.0/25', '10.52.0.0/16'] }))
    const failure = await untilFailing(1)
    t.match(failure?.reason, said)
    const lost = (): readonly string[] => dumpDiff(whole, dump(machine)).filter((line) => /^- /.test(line))
    const come = (): readonly string[] =>
      dumpDiff(whole, dump(machine)).filter((line) => /^\+ (?!nft\telement)/.test(line))
    t.strictSame(come(), [], 'no route, no peer')
    t.strictSame(lost(), [])

    // News that needs no new set, while the old one is missing still.
    const from = left.log.length
    await publish(lab.registry, paper(51, { serial: 2, prefixes: ['10.51.0.0/25', '10.53.0.0/16'] }))
    await untilTrue(() => left.log.includes('pass shares', from))
    t.strictSame(come(), [], 'nothing after another change')

    // Another gateway for a prefix in use: its routes should move to a new group, and the old one should go.
    const again = left.log.length
    const prefixes = ['10.2.0.0/16', 'fd00:2::/48', '10.54.0.0/26']
    await publish(lab.registry, paper(52, { site: site2, plane: 1, prefixes }))
    await untilTrue(() => left.log.includes('pass shares', again))
    t.strictSame(lost(), [], 'no route went with its group')
    t.strictSame(come(), [])

    // What is taken away is taken away.
    await lab.writeFabric([...fabric, 'removed: [ g52, g50 ]'])
    await untilTrue(() => !dump(machine).some((line) => /^(route|wg).*10\.50\.0\.0/.test(line)))
    t.strictSame(come(), [])
    const { sent, lost: missing } = await meter.stop()
    t.equal(missing, 0, `lost of ${sent}`)

    mendNft()
    await untilOk()
    const lines = dump(machine)
    for (const line of [/^route4.*10\.51\.0\.0\/25/, /^nft.*remote4_25/, /^wg\tpeer.*10\.53\.0\.0\/16/])
      t.ok(
        lines.some((each) => line.test(each)),
        line.source,
      )
    t.notOk(
      lines.some((line) => /10\.54\.0\.0|10\.50\.0\.0/.test(line)),
      'what was removed is gone',
    )
    t.ok(leftHost.pings('10.2.0.10'), 'traffic flows')
  })

  await t.test('a table that somebody deleted: nothing is added beside what stands', async (t) => {
    const whole = dump(machine).filter((line) => !/^(nft|element)/.test(line))
    breakNft()
    machine.run('nft', 'delete', 'table', 'inet', 'linkspan')
    await untilFailing(1)
    const from = left.log.length
    await publish(lab.registry, paper(53, { prefixes: ['10.55.0.0/16'] }))
    await untilTrue(() => left.log.includes('pass shares', from))
    t.strictSame(dumpDiff(whole, dump(machine)), [])
    mendNft()
    await untilOk()
    t.ok(dump(machine).some((line) => /^route4.*10\.55\.0\.0\/16/.test(line)))
  })
  t.equal(await left.stop(), 0)
  t.equal(await right.stop(), 0)

  /** What would let packets in or through. */
  function opened(): readonly string[] {
    return dump(machine).filter((line) =>
      /^(link|address|wg|fdb)\t.*\bls-(wg|vx|br)|\b19539\b|^rule.\t195(29|30)|^nexthop\tid 12750|\/site0\/forwarding:1|ipv6\/conf\/all\/forwarding:1/.test(
        line,
      ),
    )
  }

  /** Waits until the table could not be loaded so many times in a row, or more. */
  async function untilFailing(times: number): Promise<Trouble | undefined> {
    let found: Trouble | undefined
    await untilTrue(async () => {
      const status = await left.status()
      found = status?.failures.find(({ object }) => object === 'nft table inet linkspan')
      return found !== undefined && found.times >= times
    })
    return found
  }

  /** Tries are up to 30 s apart. */
  async function untilOk(): Promise<void> {
    await untilTrue(async () => (await left.status())?.failures.length === 0)
    await left.untilUp(1)
  }

  async function untilTrue(isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (const end = performance.now() + (guest ? 300_000 : 60_000); !(await isSo());) {
      if (performance.now() > end) throw new Error(`patience ended: ${isSo.toString()}\n${left.log}`)
      await pause(50)
    }
  }
})

/** Documents of a gateway `g<number>` that is not there; nobody answers at its address. */
function paper(
  number: number,
  {
    serial = 1,
    prefixes,
    site = { name: `site-${number}`, provider: '', region: '', labels: {} },
    plane = 0,
    networks = [],
  }: {
    readonly serial?: number
    readonly prefixes: readonly string[]
    readonly site?: typeof site2
    readonly plane?: number
    readonly networks?: readonly { readonly name: string }[]
  },
): readonly Document[] {
  const ranges = prefixes.map((text) => prefix(text))
  return [
    certificateDocument(number, {
      fabric: 'lab',
      serial,
      site,
      plane,
      networks,
      prefixes: ranges.map((range) => ({ prefix: range })),
    }),
    recordDocument(number, {
      fabric: 'lab',
      serial,
      tunnelKeys: tunnelKeysOf(`g${number}`),
      endpoints: [{ underlay: 'wan', address: address(`192.0.2.${number}`), port: 51820 }],
      prefixes: ranges,
      networks,
    }),
  ]
}
