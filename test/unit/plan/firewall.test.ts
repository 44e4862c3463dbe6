import t from 'tap'
import type { NftChain, Ruleset } from '../../../agent/model/kernel-object.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { guardElement, lengthsOf, hasLength, prefixElement } from '../../../agent/plan/firewall-element.ts'
import { lengthsInUse, ruleset } from '../../../agent/plan/firewall.ts'
import type { FirewallInput } from '../../../agent/plan/firewall.ts'
import { linkWith, ownWith } from '../../support/plan-input.ts'
import { smallSnapshot } from '../../support/small-fabric.ts'

function input(change: Partial<FirewallInput['own']> = {}, ...remote: readonly string[]): FirewallInput {
  return {
    snapshot: smallSnapshot(
      [
        { name: 'here', prefixes: ['10.1.0.0/16', 'fd00:1::/48'] },
        { name: 'far', prefixes: ['10.2.0.0/16', '10.1.7.0/24', ...remote] },
      ],
      [
        { name: 'lan', vni: 7001, kind: 'l2' },
        { name: 'dmz', vni: 7002, kind: 'l2' },
      ],
    ),
    own: ownWith('here-a', 'here', change),
    facts: { links: [linkWith('eth0 192.0.2.9/27')] },
  }
}

function rules({ chains }: Ruleset, name: string): readonly string[] {
  const chain = chains.find((each): each is NftChain => each.name === name)
  return chain?.rules.map(({ text }) => text) ?? []
}

/** Position of the first rule that has the text; fails where there is none. */
function at(list: readonly string[], text: string): number {
  const found = list.findIndex((rule) => rule.includes(text))
  t.ok(found >= 0, text)
  return found
}

await t.test('elements', (t) => {
  t.same(prefixElement('remote', prefix('10.2.0.0/16')), {
    kind: 'element',
    set: 'remote4_16',
    key: '10.2.0.0',
  })
  t.same(prefixElement('own', prefix('fd00:1::/48')), { kind: 'element', set: 'own6_48', key: 'fd00:1::' })
  t.same(guardElement(address('100.127.0.2'), 7001), {
    kind: 'element',
    set: 'vxlan4_7001',
    key: '100.127.0.2',
  })
  const lengths = lengthsOf([prefix('0.0.0.0/0'), prefix('::/128')])
  t.same(
    [
      hasLength(lengths, 4, 0),
      hasLength(lengths, 6, 128),
      hasLength(lengths, 4, 128),
      hasLength(lengths, 6, 0),
    ],
    [true, true, false, false],
  )
  t.end()
})

await t.test('every prefix finds its set', (t) => {
  const names = new Set(ruleset(input({ exclude: [prefix('172.16.0.0/12')] })).sets.map(({ name }) => name))
  for (const name of [
    'remote4_16',
    'remote4_24',
    'remote6_48',
    'local4_16',
    'local4_12',
    'local4_27',
    'local6_48',
    'own4_16',
    'own6_48',
  ]) {
    t.ok(names.has(name), name)
  }
  t.notOk(names.has('own4_24'), 'a length of another site')
  t.end()
})

await t.test('the longest match goes first, and of one length the exception', (t) => {
  for (const [name, verdict] of [
    ['egress', 'reject with icmpx no-route'],
    ['output', 'reject with icmpx no-route'],
    ['postrouting', 'drop'],
  ] as const) {
    const list = rules(ruleset(input()), name)
    const order = [
      '@local4_27 accept',
      `@remote4_24 ${verdict}`,
      '@local4_16 accept',
      `@remote4_16 ${verdict}`,
    ].map((text) => at(list, text))
    t.same(
      order,
      [...order].sort((a, b) => a - b),
      name,
    )
    t.ok(at(list, 'oifname "ls-wg*" accept') < (order[0] ?? 0), name)
  }
  t.end()
})

await t.test("only WireGuard's mark and the registry leave in clear, and only from here", (t) => {
  const whole = ruleset(input({ registryAddresses: [address('10.2.0.99'), address('2001:db8::9')] }))
  for (const name of ['output', 'postrouting']) {
    const list = rules(whole, name)
    t.ok(list.includes('meta mark & 0xffffff00 == 0x4c5300 accept'), name)
    t.ok(list.includes('ip daddr { 10.2.0.99 } accept'), name)
    t.ok(list.includes('ip6 daddr { 2001:db8::9 } accept'), name)
  }
  t.notMatch(rules(whole, 'egress').join('\n'), /mark|10\.2\.0\.99/)
  t.end()
})

await t.test('input out of tunnels: a short list, then nothing', (t) => {
  const list = rules(ruleset(input({ services: [{ protocol: 'tcp', port: 8080 }] })), 'input')
  const gate = at(list, 'iifname != "ls-wg*" accept')
  t.same(list.slice(gate + 1), [
    'icmp type { 5, 9 } drop',
    'icmpv6 type { 133, 134, 135, 136, 137 } drop',
    'meta l4proto { icmp, ipv6-icmp } accept',
    'udp dport 18620 accept',
    'udp dport 4789 drop',
    'tcp dport 8080 accept',
    'ct state established,related accept',
    'drop',
  ])
  t.end()
})

await t.test('forward out of tunnels: own prefixes, stateless', (t) => {
  const list = rules(ruleset(input()), 'forward')
  const gate = at(list, 'iifname != "ls-wg*" accept')
  t.same(list.slice(gate + 1), [
    'oifname "ls-wg*" drop',
    'ip daddr 169.254.0.0/16 drop',
    'ip6 daddr fe80::/10 drop',
    'ip6 daddr { fd00:ec2::254, fd20:ce::254 } drop',
    'ip daddr & 255.255.0.0 @own4_16 accept',
    'ip6 daddr & ffff:ffff:ffff:: @own6_48 accept',
    'drop',
  ])
  t.notMatch(list.join('\n'), 'ct ')
  t.end()
})

await t.test('VXLAN is guarded for the networks this gateway joined', (t) => {
  t.notMatch(rules(ruleset(input()), 'input').join('\n'), '@th')
  const whole = ruleset(input({ networks: [{ name: 'lan', interfaces: [] }] }))
  t.same(rules(whole, 'input').slice(0, 3), [
    'iifname != "ls-wg*" udp dport 4789 @th,96,24 7001 drop',
    'udp dport 4789 @th,96,24 7001 ip saddr @vxlan4_7001 accept',
    'udp dport 4789 @th,96,24 7001 ip6 saddr @vxlan6_7001 accept',
  ])
  t.ok(whole.sets.some(({ name }) => name === 'vxlan4_7001'))
  t.notOk(whole.sets.some(({ name }) => name === 'vxlan4_7002'))
  t.end()
})

await t.test('a prefix changes the ruleset only where its length is new', (t) => {
  const before = ruleset(input())
  t.equal(ruleset(input({}, '10.77.0.0/16')).digest, before.digest)
  t.not(ruleset(input({}, '10.77.0.0/17')).digest, before.digest)
  t.same(lengthsInUse(input()), lengthsInUse(input({}, '10.78.1.0/24')))
  t.end()
})

await t.test('protocols are told by number: a minimal Debian has no /etc/protocols', (t) => {
  const { chains } = ruleset(input({ services: [{ protocol: 'tcp', port: 8080 }] }))
  const compared = JSON.stringify(chains).match(/"key":"l4proto"\}\},"right":\{"set":\[[^\]]*\]/g) ?? []
  t.ok(compared.length > 0, 'the ruleset compares l4proto')
  for (const text of compared) t.match(text, /\[[0-9,]+\]$/)
  t.end()
})
