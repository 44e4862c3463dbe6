/** What others have on the host: near our names, ids, tables and priorities, and not in our way. */
import { overlayTable } from '../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../agent/model/kernel-object.ts'
import { prefix } from '../../agent/model/prefix.ts'

const link = { kind: 'link', type: 'other', mtu: 1500, up: true, group: 0 } as const

export const bystanders: readonly KernelObject[] = [
  { ...link, name: 'wg0' },
  // Under one of our names, but of an underlay that no world has: nobody is in the way of anybody.
  { ...link, name: 'ls-wg31' },
  { kind: 'address', link: 'ls-wg31', address: '10.200.0.1/24' },
  { kind: 'device', name: 'ls-wg31', publicKey: `${'B'.repeat(43)}=` as never, listenPort: 1, fwmark: 0 },
  { kind: 'nexthop', id: 7, family: 4, device: 'eth0', protocol: 186 },
  { kind: 'nexthop', id: 0x4cff0000, family: 4, device: 'eth0', protocol: 186 },
  { kind: 'group', id: 0x4cff0001, members: [{ id: 0x4cff0000, weight: 1 }], protocol: 186 },
  { kind: 'route', table: 254, prefix: prefix('10.0.0.0/8'), type: 'unicast', nexthop: 7 },
  {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('198.19.0.0/16'),
    type: 'unicast',
    nexthop: 7,
    protocol: 4,
  },
  { kind: 'rule', family: 4, priority: 5210, fwmark: 0x80000, action: 'lookup', table: 52, protocol: 3 },
]
