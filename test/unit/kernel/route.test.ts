import t from 'tap'
import fc from 'fast-check'
import { forEachMessage, MessageWriter } from '../../../agent/kernel/message.ts'
import { encodeRoute, RouteDecoder } from '../../../agent/kernel/route.ts'
import { nexthopId, overlayTable } from '../../../agent/model/kernel-number.ts'
import type { Route } from '../../../agent/model/kernel-object.ts'
import { address, formatPrefix, maskBytes, prefix } from '../../../agent/model/prefix.ts'

const links = new Map([['eth0', 7]])
const ifindexOf = (name: string): number => links.get(name) ?? 0
const nameOf = (ifindex: number): string | undefined => [...links].find(([, each]) => each === ifindex)?.[0]

/**
 * What the kernel would list after taking the routes: it echoes the attributes. One thing it adds is done by the caller:
 * IPv6 routes without a metric get 1024.
 */
function roundTrip(routes: readonly Route[]): Route[] {
  const writer = new MessageWriter(64)
  for (const route of routes) {
    const six = route.prefix.includes(':')
    encodeRoute(writer, 'add', six ? { metric: 1024, ...route } : route, ifindexOf)
  }
  const bytes = writer.take()
  const decoder = new RouteDecoder(nameOf)
  const found: Route[] = []
  forEachMessage(bytes, (_type, _flags, _seq, _pid, start, end) => {
    const route = decoder.decode(bytes, start, end)
    if (route !== undefined) found.push(route)
  })
  return found
}

const anyPrefix = fc
  .oneof(
    fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 32 })),
    fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 0, max: 128 })),
  )
  .map(([bytes, length]) => formatPrefix(maskBytes(bytes, length), length))

const anyRoute: fc.Arbitrary<Route> = fc
  .record(
    {
      prefix: anyPrefix,
      mtu: fc.integer({ min: 576, max: 9000 }),
      nexthop: fc.integer({ min: nexthopId.firstGroup, max: nexthopId.last }),
      metric: fc.integer({ min: 1, max: 0xffffffff }).filter((metric) => metric !== 1024),
      source: fc.boolean(),
    },
    { requiredKeys: ['prefix', 'nexthop', 'source'] },
  )
  .map(({ source, ...rest }) => ({
    kind: 'route',
    table: overlayTable,
    type: 'unicast',
    ...rest,
    ...(source ? { src: address(rest.prefix.includes(':') ? 'fd00::1' : '10.0.0.1') } : {}),
  }))

void t.test('what is encoded is what is decoded, in any order of kinds', (t) => {
  fc.assert(
    fc.property(fc.array(anyRoute, { minLength: 1, maxLength: 20 }), (routes) => {
      t.strictSame(roundTrip(routes), routes)
    }),
    { numRuns: 300 },
  )
  t.end()
})

void t.test('routes without a nexthop', (t) => {
  const routes: Route[] = [
    { kind: 'route', table: overlayTable, prefix: prefix('10.0.0.0/8'), type: 'throw' },
    { kind: 'route', table: overlayTable, prefix: prefix('fd00::/8'), type: 'unreachable' },
    { kind: 'route', table: 19540, prefix: prefix('0.0.0.0/0'), type: 'blackhole', metric: 0xffffffff },
    {
      kind: 'route',
      table: 19540,
      prefix: prefix('0.0.0.0/0'),
      type: 'unicast',
      via: address('192.0.2.1'),
      link: 'eth0',
    },
    {
      kind: 'route',
      table: 19540,
      prefix: prefix('2001:db8::/64'),
      type: 'unicast',
      link: 'eth0',
      metric: 256,
    },
    {
      kind: 'route',
      table: 19540,
      prefix: prefix('::/0'),
      type: 'unicast',
      via: address('fe80::1'),
      link: 'eth0',
    },
  ]
  t.strictSame(roundTrip(routes), routes)
  t.end()
})

void t.test('a route of another protocol shows it, local and broadcast routes are nobody’s', (t) => {
  const writer = new MessageWriter(64)
  const route: Route = {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('10.1.2.0/24'),
    type: 'unicast',
    nexthop: nexthopId.firstGroup,
  }
  encodeRoute(writer, 'add', route, ifindexOf)
  const bytes = writer.take()
  const protocolAt = 16 + 5
  const typeAt = 16 + 7
  const decode = (): Route | undefined => new RouteDecoder(nameOf).decode(bytes, 16, bytes.length)
  t.strictSame(decode(), route)
  bytes[protocolAt] = 4
  t.strictSame(decode(), { ...route, protocol: 4 })
  bytes[typeAt] = 6
  t.equal(decode()?.type, 'unicast', 'a group that holds the blackhole')
  bytes[typeAt] = 2
  t.equal(decode(), undefined)
  t.end()
})

void t.test('a cut message is no route and no crash', (t) => {
  const writer = new MessageWriter(64)
  const route: Route = {
    kind: 'route',
    table: overlayTable,
    prefix: prefix('fd00:1::/32'),
    type: 'throw',
    mtu: 1400,
  }
  encodeRoute(writer, 'add', route, ifindexOf)
  const bytes = writer.take()
  for (let end = 16; end <= bytes.length; end++) {
    t.doesNotThrow(() => new RouteDecoder(nameOf).decode(bytes.subarray(0, end), 16, end))
  }
  t.end()
})
