import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { recordToPublish, requestOf } from '../../../agent/daemon/announce.ts'
import type { GatewayRecord } from '../../../agent/model/fabric.ts'
import type { Standing } from '../../../agent/daemon/announce.ts'
import { Publisher } from '../../../agent/daemon/publisher.ts'
import { Surroundings } from '../../../agent/daemon/surroundings.ts'
import type { Config } from '../../../agent/model/config.ts'
import type { Document, Voucher } from '../../../agent/model/document.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import type { Registry } from '../../../agent/registry/port.ts'
import { isRefusal, parseDocument, sealDocument } from '../../../agent/trust/parse.ts'
import { kidOf } from '../../../agent/trust/envelope.ts'
import { claimProof } from '../../../agent/trust/voucher.ts'
import {
  certificateDocument,
  certificateOf,
  fabricDocument,
  fabricOf,
  identityKeyOf,
  identityOf,
  recordDocument,
  voucherDocument,
  voucherKeyOf,
} from '../../support/documents.ts'
import { linkWith } from '../../support/plan-input.ts'
import { ownConfig, ownKeys } from '../../support/announcing.ts'
import { Rig } from '../../support/rig.ts'

const keys = {
  ...ownKeys,
  claimProof: ({ fabric, gateway, key }: Voucher) => claimProof(fabric, gateway, key, identityKeyOf('g1')),
}
const plain = ownConfig({ registry: { kind: 'file', directory: '/r' } })
const config: Config = {
  ...plain,
  site: { ...plain.site, provider: 'aws' },
  own: { ...plain.own, networks: [{ name: 'lan', interfaces: ['tap0'] }] },
  prefixes: [prefix('10.1.0.0/16'), prefix('10.99.0.0/16')],
}
const standing: Standing = {
  config,
  keys,
  fabric: fabricOf(),
  certificate: certificateOf(1),
  record: undefined,
  own: { ...config.own, endpoints: [{ underlay: 'internet', address: address('192.0.2.1'), port: 51820 }] },
  facts: {
    links: [linkWith('eth0 192.0.2.1/24 mtu=1400 default')],
    routes: [],
    ipv6: true,
    features: { wireguard: true },
  },
  isDraining: false,
  nowMs: 1000,
}

/** A registry that is empty; what is published goes into `said`. */
function registryOf(said: Document[]): Registry {
  return {
    // eslint-disable-next-line @typescript-eslint/require-await
    watch: async function* () {
      yield* []
    },
    publish: (bytes) => {
      const parsed = parseDocument({ origin: 'published', bytes })
      if (!isRefusal(parsed)) said.push(parsed.document)
      return Promise.resolve()
    },
  }
}

void t.test('the record', (t) => {
  const made = recordToPublish(standing)
  t.match(made?.payload, {
    gateway: 'g1',
    serial: 1000,
    endpoints: [{ underlay: 'internet', address: '192.0.2.1', port: 51820, mtu: 1400 }],
    networks: [],
    state: 'active',
  })
  if (made?.type !== 'record') throw new Error('no record')
  t.same(made.payload.prefixes, ['10.1.0.0/16'], 'only what is certified is advertised')
  t.equal(Object.keys(made.payload.tunnelKeys).length, 8)

  t.equal(recordToPublish({ ...standing, record: made.payload }), undefined, 'nothing new, nothing said')
  const stateOf = (isDraining: boolean, state: GatewayRecord['state']): string | undefined => {
    const said = recordToPublish({ ...standing, isDraining, record: { ...made.payload, state } })
    return said?.type === 'record' ? said.payload.state : undefined
  }
  t.equal(stateOf(true, 'active'), 'draining')
  t.equal(stateOf(true, 'draining'), undefined)
  t.equal(stateOf(false, 'draining'), 'active')
  t.equal(stateOf(false, 'withdrawn'), undefined, 'who left does not come back by itself')
  const moved = recordToPublish({
    ...standing,
    record: { ...made.payload, serial: 5000, weight: 3 },
    own: { ...standing.own, endpoints: [{ underlay: 'internet', port: 51820 }] },
  })
  t.match(moved?.payload, { serial: 5001, weight: 3, endpoints: [{ underlay: 'internet', port: 51820 }] })

  const all = recordToPublish({
    ...standing,
    config: { ...config, prefixes: [] },
    certificate: certificateOf(1, { networks: [{ name: 'lan' }] }),
  })
  t.match(all?.payload, { prefixes: ['10.1.0.0/16'], networks: [{ name: 'lan' }] })

  const elsewhere = recordToPublish({
    ...standing,
    own: { ...standing.own, endpoints: [{ underlay: 'moon', port: 1 }] },
  })
  t.match(elsewhere?.payload, { endpoints: [] }, 'an underlay that the fabric does not have')
  t.end()
})

void t.test('the publisher', async (t) => {
  const rig = new Rig()
  const said: Document[] = []
  let failing = 0
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const publisher = new Publisher({
    config,
    keys,
    registry: {
      // eslint-disable-next-line @typescript-eslint/require-await
      watch: async function* () {
        yield* []
      },
      publish: (bytes) => {
        if (failing-- > 0) return Promise.reject(new Error('EROFS: read-only file system'))
        const parsed = parseDocument({ origin: 'published', bytes })
        if (isRefusal(parsed)) return Promise.reject(new Error(parsed.reason))
        t.equal(parsed.kid, keys.identity, 'signed by our identity')
        said.push(parsed.document)
        return Promise.resolve()
      },
    },
    inputs: rig.reconciler.inputs,
    surroundings: new Surroundings(),
    events: rig.events,
    tally: rig.reconciler.tally,
    signal: stop.signal,
  })
  const look = async (): Promise<void> => {
    publisher.look()
    await pause(10)
  }

  await look()
  t.same(said, [], 'nothing is said before the registry was read')
  rig.deliver([], [{ code: 'registry-unreadable', object: '/r', reason: 'gone' }])
  await rig.turn()
  await look()
  t.same(said, [], 'or while it cannot be')

  failing = 2
  rig.deliver([fabricDocument()])
  await rig.turn()
  const before = Date.now()
  await look()
  t.match(publisher.trouble, { reason: /EROFS/, times: 1 })
  const since = publisher.trouble?.sinceMs ?? 0
  t.ok(since >= before && since <= Date.now())
  await look()
  t.match(publisher.trouble, { sinceMs: since, times: 2 }, 'since the first time')
  await pause(700)
  t.equal(publisher.trouble, undefined, 'tried again')
  t.equal(said.length, 1)
  t.same(said[0], requestOf(config, keys))
  await look()
  t.equal(said.length, 1, 'and said once')

  rig.deliver([fabricDocument(), certificateDocument(1, { identity: identityOf('other') })])
  await rig.turn()
  await look()
  t.match(publisher.trouble, { object: 'certificate g1', reason: /another identity/ })
  t.ok(rig.told.includes('identity-mismatch'))
  t.equal(said.length, 1)

  rig.deliver([fabricDocument(), certificateDocument(1, { serial: 2 })])
  await rig.turn()
  await look()
  t.equal(publisher.trouble, undefined)
  const [, record] = said
  if (record?.type !== 'record') throw new Error('no record was said')
  t.equal(record.payload.gateway, 'g1')
  await look()
  t.equal(said.length, 2, 'until it comes back')
  rig.change(recordDocument(1, { ...record.payload, state: 'draining' }))
  await rig.turn()
  await look()
  t.equal(said.length, 2, 'what the record says of its state is left alone')
})

void t.test('what the cloud says', async (t) => {
  const rig = new Rig()
  const said: Document[] = []
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const surroundings = new Surroundings(true)
  const bare = { ...config, prefixes: [] }
  const publisher = new Publisher({
    config: bare,
    keys,
    registry: registryOf(said),
    inputs: rig.reconciler.inputs,
    surroundings,
    events: rig.events,
    tally: rig.reconciler.tally,
    signal: stop.signal,
  })
  const look = async (): Promise<void> => {
    publisher.look()
    await pause(10)
  }
  const trouble = { code: 'unsupported', object: 'metadata service of aws', reason: 'silent' } as const
  const cloud = {
    provider: 'aws',
    region: 'us-east-1',
    zone: '',
    instance: '',
    addresses: [],
    prefixes: [],
    request: { ...bare, site: { ...config.site, region: 'us-east-1' }, prefixes: [prefix('10.7.0.0/16')] },
  }
  rig.deliver([fabricDocument()])
  await rig.turn()
  await look()
  t.same(said, [], 'nothing while it is asked')
  surroundings.failed(trouble)
  await look()
  t.match(
    said.at(-1)?.payload,
    { prefixes: ['10.1.0.0/24'], site: { region: '' } },
    'the site links, without it',
  )
  surroundings.learned(cloud)
  await look()
  t.match(said.at(-1)?.payload, { prefixes: ['10.7.0.0/16'], site: { region: 'us-east-1' } })
})

void t.test('with a voucher', async (t) => {
  const rig = new Rig()
  const said: { document: Document; kid: string }[] = []
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const secret = voucherKeyOf('g1')
  const publisher = new Publisher({
    config,
    keys,
    voucher: {
      file: '/etc/linkspan/voucher',
      key: kidOf(secret),
      seal: (document) => sealDocument(document, secret),
    },
    registry: {
      // eslint-disable-next-line @typescript-eslint/require-await
      watch: async function* () {
        yield* []
      },
      publish: (bytes) => {
        const parsed = parseDocument({ origin: 'published', bytes })
        if (!isRefusal(parsed)) said.push(parsed)
        return Promise.resolve()
      },
    },
    inputs: rig.reconciler.inputs,
    surroundings: new Surroundings(false),
    events: rig.events,
    tally: rig.reconciler.tally,
    signal: stop.signal,
  })
  const look = async (): Promise<void> => {
    publisher.look()
    await pause(10)
  }
  const inAnHour = { notBefore: Date.now(), until: Date.now() + 3_600_000 }
  rig.deliver([fabricDocument()])
  await rig.turn()
  await look()
  t.equal(said.at(-1)?.document.type, 'request', 'while no voucher is there')

  rig.change(voucherDocument(1, { ...inAnHour, key: kidOf(voucherKeyOf('other')) }))
  await rig.turn()
  await look()
  t.equal(said.length, 1, 'a voucher of another key is not ours')
  t.ok(rig.told.includes('voucher-unusable'))

  const voucher = { ...inAnHour, serial: 2 }
  rig.change(voucherDocument(1, voucher))
  await rig.turn()
  await look()
  t.match(said.at(-1), { kid: kidOf(secret), document: { type: 'claim', payload: { voucher: 2 } } })
  const claim = said.at(-1)?.document
  if (claim?.type !== 'claim') throw new Error('no claim')
  t.equal(claim.payload.identity, keys.identity)
  await look()
  t.equal(said.length, 2, 'said once')
  t.notOk(rig.told.includes('voucher-used'))

  rig.change(claim)
  await rig.turn()
  await look()
  t.match(said.at(-1), { kid: keys.identity, document: { type: 'record' } })
  t.ok(rig.told.includes('voucher-used'), 'what may be deleted now')

  rig.change(voucherDocument(1, { serial: 3, notBefore: Date.now() - 2000, until: Date.now() - 1000 }))
  await rig.turn()
  await look()
  t.equal(said.at(-1)?.document.type, 'request', 'one that has ended: by hand')
})
