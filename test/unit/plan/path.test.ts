import t from 'tap'
import type { Underlay } from '../../../agent/model/fabric.ts'
import { localOf } from '../../../agent/plan/local.ts'
import { pathsTo } from '../../../agent/plan/path.ts'
import { gatewayWith, inputWith } from '../../support/plan-input.ts'
import type { GatewayText, InputText } from '../../support/plan-input.ts'

/** Paths from a to b, one line each, what is missing behind `no`. */
function lines(a: GatewayText, b: GatewayText, rest: Partial<InputText> = {}): readonly string[] {
  const peer = gatewayWith(2, 's2-a', b)
  const local = localOf(inputWith({ gateways: [gatewayWith(1, 's1-a', a), peer], ...rest }))
  if (local === undefined) throw new Error('no local')
  const { paths, missing } = pathsTo(local, peer)
  return [
    ...paths.map(
      ({ underlay, family, device, publicKey, endpoint, mtu }) =>
        `${underlay} v${family} device ${device} key ${publicKey} at ${endpoint === undefined ? '-' : `${endpoint.address} ${endpoint.port}`} mtu ${mtu}`,
    ),
    ...missing.map(({ underlay, reason }) => `no ${underlay}: ${reason}`),
  ]
}

const two: readonly Underlay[] = [{ name: 'internet' }, { name: 'dx', mtu: 8500 }]

void t.test('one underlay, IPv4', (t) => {
  t.same(lines({}, {}), ['internet v4 device 0 key s2-a/0 at 192.0.2.2 51820 mtu 1440'])
  t.end()
})

void t.test('the plane formula, from both ends', (t) => {
  // i = 32·e_G + 8·u + 4·e_D + plane_D; the far end's is 32·e_D + 8·u + 4·e_G + plane_G.
  const dx = { fabric: { underlays: two, prefer: ['dx'] } }
  t.same(
    lines(
      { plane: 1, generation: 3, endpoints: ['dx 10.9.0.1'] },
      { plane: 2, generation: 4, endpoints: ['dx 10.9.0.2 6000'] },
      dx,
    ),
    ['dx v4 device 42 key s2-a/13 at 10.9.0.2 6013 mtu 1440'],
  )
  t.same(
    lines(
      { plane: 2, generation: 4, endpoints: ['dx 10.9.0.2'] },
      { plane: 1, generation: 3, endpoints: ['dx 10.9.0.1'] },
      dx,
    ),
    ['dx v4 device 13 key s2-a/42 at 10.9.0.1 51862 mtu 1440'],
  )
  t.end()
})

void t.test('order of preference: `prefer`, then by number', (t) => {
  const text = { endpoints: ['internet 192.0.2.9', 'dx 10.9.0.9'] }
  const names = (prefer: readonly string[]): readonly string[] =>
    lines(text, text, { fabric: { underlays: two, prefer } }).map((line) => line.slice(0, line.indexOf(' ')))
  t.same(names(['dx', 'internet']), ['dx', 'internet'])
  t.same(names(['dx']), ['dx', 'internet'])
  t.same(names([]), ['internet', 'dx'])
  t.end()
})

void t.test('families: IPv4 if both have it, the one they share, or none', (t) => {
  const four = 'internet 192.0.2.7'
  const six = 'internet 2001:db8::7'
  const via = (a: readonly string[], b: readonly string[]): string | undefined =>
    lines({ endpoints: a }, { endpoints: b })[0]
  t.match(via([six, four], [six, four]), /^internet v4 .* at 192.0.2.7 51820 mtu 1440/)
  t.match(via([six, four], [six]), /^internet v6 .* at 2001:db8::7 51820 mtu 1420/)
  t.equal(via([four], [six]), 'no internet: no common family: we have IPv4, it has IPv6')
  t.same(
    lines({ endpoints: [six] }, { endpoints: [six] }, { facts: { ipv6: false } }),
    ['no internet: we have no endpoint there'],
    'a host without IPv6 has no IPv6 endpoint',
  )
  t.end()
})

void t.test('behind NAT: who lists an address is called', (t) => {
  const nat = { endpoints: ['internet -'] }
  t.same(lines(nat, {}), ['internet v4 device 0 key s2-a/0 at 192.0.2.2 51820 mtu 1440'])
  t.same(lines({}, nat), ['internet v4 device 0 key s2-a/0 at - mtu 1440'])
  t.same(lines({ endpoints: ['internet 2001:db8::1'] }, nat), [
    'internet v6 device 0 key s2-a/0 at - mtu 1420',
  ])
  t.same(lines(nat, nat), ['no internet: both ends are behind NAT: one must list an address'])
  t.same(
    lines(
      { endpoints: ['internet -', 'internet 2001:db8::1'] },
      { endpoints: ['internet 192.0.2.2', 'internet 2001:db8::2'] },
    ),
    ['internet v6 device 0 key s2-a/0 at 2001:db8::2 51820 mtu 1420'],
    'a family in which both list an address goes first',
  )
  t.end()
})

void t.test('no common underlay', (t) => {
  t.same(lines({ endpoints: ['dx 10.9.0.1'] }, {}, { fabric: { underlays: two } }), [
    'no dx: it has no endpoint there',
    'no internet: we have no endpoint there',
  ])
  t.end()
})

void t.test('a tunnel key is missing', (t) => {
  t.same(lines({}, { tunnelKeys: {} }), ['no internet: its record has no tunnel key for its device 0'])
  t.same(lines({ tunnelKeys: {} }, {}), ['no internet: our record has no tunnel key for device 0'])
  t.end()
})

void t.test('MTU: least of what the fabric, both links and both ends say, less 60 or 80', (t) => {
  const mtu = (a: string, b: string, links: readonly string[], underlay: Partial<Underlay> = {}): number => {
    const fabric = { underlays: [{ name: 'internet', ...underlay }] }
    return Number(
      /mtu (\d+)/.exec(lines({ endpoints: [a] }, { endpoints: [b] }, { fabric, links })[0] ?? '')?.[1],
    )
  }
  const a = 'internet 192.0.2.1'
  const b = 'internet 192.0.2.2'
  t.equal(mtu(a, b, ['eth0 192.0.2.1/24 mtu=9001']), 1440, 'no more than 1500 unless given')
  t.equal(mtu(a, b, ['eth0 192.0.2.1/24 mtu=1460']), 1400)
  t.equal(mtu(a, b, ['eth0 192.0.2.1/24 mtu=9001'], { mtu: 8500 }), 8440)
  t.equal(mtu(a, b, ['eth0 192.0.2.1/24 mtu=1500'], { mtu: 8500 }), 1440)
  t.equal(mtu(a, `${b} 51820 1380`, ['eth0 192.0.2.1/24 mtu=9001']), 1320)
  t.equal(mtu(`${a} 51820 1300`, b, ['eth0 192.0.2.1/24 mtu=9001']), 1240)
  t.equal(mtu(a, b, ['eth0 10.1.0.1/24 mtu=1460 default', 'eth1 10.2.0.1/24 mtu=1300']), 1400, '1:1 NAT')
  t.equal(mtu(a, b, ['eth0 10.1.0.1/24 mtu=1460', 'eth1 mtu=1200', 'eth2 10.2.0.1/24 mtu=1300']), 1240)
  t.equal(mtu('internet 2001:db8::1', 'internet 2001:db8::2', ['eth0 2001:db8::1/64']), 1420)
  t.end()
})
