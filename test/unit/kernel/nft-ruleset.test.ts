import t from 'tap'
import { removal, replacement } from '../../../agent/kernel/nft-ruleset.ts'
import { keyType } from '../../../agent/kernel/nft-table.ts'
import type { Table } from '../../../agent/kernel/nft-table.ts'
import type { Ruleset } from '../../../agent/model/kernel-object.ts'

const ruleset: Ruleset = {
  kind: 'ruleset',
  table: 'linkspan',
  sets: [
    { name: 'remote4_16', type: 'ipv4_addr' },
    { name: 'remote6_48', type: 'ipv6_addr' },
  ],
  chains: [
    {
      name: 'input',
      hook: 'input',
      priority: -300,
      policy: 'accept',
      rules: [{ text: 'drop', expr: [{ drop: null }] }],
    },
    { name: 'forward', hook: 'forward', priority: 0, policy: 'accept', rules: [] },
  ],
  counters: ['carried'],
  digest: '',
}

/** `verb kind name` of every command. */
function commands(present: Table | undefined): string[] {
  const { nftables } = JSON.parse(replacement(ruleset, present)) as {
    nftables: Record<
      string,
      Record<string, { name?: string; chain?: string; family: string; table?: string }>
    >[]
  }
  return nftables.map((command) => {
    const [verb = '', object = {}] = Object.entries(command)[0] ?? []
    const [kind = '', body] = Object.entries(object)[0] ?? []
    t.equal(body?.family, 'inet')
    if (kind !== 'table') t.equal(body?.table, 'linkspan')
    return `${verb} ${kind} ${body?.name ?? body?.chain ?? ''}`
  })
}

const makes = [
  'add set remote4_16',
  'add set remote6_48',
  'add counter carried',
  'add chain input',
  'add chain forward',
  'add rule input',
]

await t.test('from nothing', (t) => {
  t.same(commands(undefined), ['add table linkspan', ...makes])
  t.end()
})

await t.test('over a table: what stays is not deleted, rules go before what they hold', (t) => {
  const present: Table = {
    fingerprint: '',
    sets: [
      { name: 'remote4_16', keyType: keyType.ipv4 },
      { name: 'remote6_48', keyType: keyType.ipv4 },
      { name: 'remote4_24', keyType: keyType.ipv4 },
    ],
    chains: [
      { name: 'input', hook: 1, priority: -300, policy: 1 },
      { name: 'forward', hook: 2, priority: 5, policy: 1 },
      { name: 'egress' },
    ],
  }
  t.same(commands(present), [
    'add table linkspan',
    'flush chain input',
    'flush chain forward',
    'flush chain egress',
    'delete chain forward',
    'delete chain egress',
    'delete set remote6_48',
    'delete set remote4_24',
    ...makes,
  ])
  t.end()
})

await t.test('removal names the table and nothing else', (t) => {
  t.same(JSON.parse(removal('linkspan')), {
    nftables: [{ delete: { table: { family: 'inet', name: 'linkspan' } } }],
  })
  t.end()
})
