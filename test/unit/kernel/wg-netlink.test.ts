/** The bytes of WG_CMD_SET_DEVICE, read back attribute by attribute, and what happens when the kernel refuses some. */
import t from 'tap'
import type { Addon, Failure, NetlinkSocket } from '../../../agent/kernel/addon.ts'
import { forEachAttribute, forEachMessage, MessageWriter, u32At } from '../../../agent/kernel/message.ts'
import type { PeerChange } from '../../../agent/kernel/peer-change.ts'
import { NetlinkChannel } from '../../../agent/kernel/wg-netlink.ts'
import type { PublicKey } from '../../../agent/model/key.ts'
import { prefix } from '../../../agent/model/prefix.ts'

const signal = new AbortController().signal
const key = (byte: number): PublicKey => Buffer.alloc(32, byte).toString('base64') as PublicKey

interface SentPeer {
  readonly key: number
  readonly flags: number
  readonly endpoint: string
  readonly keepalive: number | undefined
  readonly allowed: readonly string[]
}

/** A kernel that knows the family 0x1d and refuses as told; `sent` is one list of peers a message. */
function fake(refuse: (peers: readonly SentPeer[]) => number): {
  readonly addon: Addon
  readonly sent: SentPeer[][]
} {
  const sent: SentPeer[][] = []
  const socket: NetlinkSocket = {
    portId: 1,
    query: () => {
      const writer = new MessageWriter()
      writer.begin(0x10, 0)
      writer.u32(0)
      writer.attrU16(1, 0x1d)
      writer.end()
      return Promise.resolve(writer.take())
    },
    request: (messages) => {
      const failures: Failure[] = []
      let index = 0
      forEachMessage(messages, (type, _flags, _seq, _pid, start, end) => {
        t.equal(type, 0x1d)
        t.same([...messages.subarray(start, start + 4)], [1, 1, 0, 0], 'WG_CMD_SET_DEVICE, version 1')
        const peers = peersOf(messages, start + 4, end)
        sent.push(peers)
        const errno = refuse(peers)
        if (errno !== 0) failures.push({ index, errno, message: '' })
        index++
      })
      return Promise.resolve(failures)
    },
    dump: () => Promise.reject(new Error('no dump here')),
    close: () => undefined,
  }
  const addon: Addon = {
    openSocket: () => socket,
    subscribe: () => ({ close: () => undefined }),
    notify: () => 0,
  }
  return { addon, sent }
}

function peersOf(bytes: Uint8Array, start: number, end: number): SentPeer[] {
  const peers: SentPeer[] = []
  forEachAttribute(bytes, start, end, (type, from, to) => {
    if (type === 2) t.equal(Buffer.from(bytes.subarray(from, to)).toString(), 'ls-wg0\0')
    if (type !== 8) return
    forEachAttribute(bytes, from, to, (_type, from, to) => {
      let key = 0
      let flags = 0
      let endpoint = ''
      let keepalive: number | undefined
      const allowed: string[] = []
      forEachAttribute(bytes, from, to, (type, from, to) => {
        const value = Buffer.from(bytes.subarray(from, to))
        if (type === 1) key = value[0] ?? -1
        else if (type === 3) flags = u32At(bytes, from)
        else if (type === 4) endpoint = value.toString('hex')
        else if (type === 5) keepalive = value.readUInt16LE()
        else if (type === 9)
          forEachAttribute(bytes, from, to, (_type, from, to) => allowed.push(allowedOf(bytes, from, to)))
        else t.fail(`attribute ${type}`)
      })
      peers.push({ key, flags, endpoint, keepalive, allowed })
    })
  })
  return peers
}

function allowedOf(bytes: Uint8Array, start: number, end: number): string {
  const words: string[] = []
  forEachAttribute(bytes, start, end, (type, from, to) => {
    words.push(`${type}=${Buffer.from(bytes.subarray(from, to)).toString('hex')}`)
  })
  return words.join(' ')
}

const set: PeerChange = {
  publicKey: key(1),
  verb: 'set',
  endpoint: '192.0.2.1:51820',
  keepalive: 25,
  prefixes: [],
  ops: [0],
}
const allow: PeerChange = {
  publicKey: key(1),
  verb: 'allow',
  prefixes: [prefix('10.2.0.0/16'), prefix('fd00::/8')],
  ops: [1, 2],
}
const disallow: PeerChange = {
  publicKey: key(2),
  verb: 'disallow',
  prefixes: [prefix('10.3.0.0/16')],
  ops: [3],
}
const remove: PeerChange = { publicKey: key(3), verb: 'remove', prefixes: [], ops: [4] }
const six: PeerChange = { ...set, publicKey: key(4), endpoint: '[2001:db8::1]:258', keepalive: 0, ops: [5] }

await t.test('attributes', async (t) => {
  const { addon, sent } = fake(() => 0)
  const answers = await new NetlinkChannel(addon).send('ls-wg0', [set, allow, remove, six], signal)
  t.same(answers, [undefined, undefined, undefined, undefined])
  t.same(sent, [
    [
      { key: 1, flags: 0, endpoint: `0200ca6cc0000201${'00'.repeat(8)}`, keepalive: 25, allowed: [] },
      {
        key: 1,
        flags: 4, // update only, and never replace (2)
        endpoint: '',
        keepalive: undefined,
        allowed: ['1=0200 2=0a020000 3=10', `1=0a00 2=fd${'00'.repeat(15)} 3=08`],
      },
      { key: 3, flags: 1, endpoint: '', keepalive: undefined, allowed: [] },
      {
        key: 4,
        flags: 0,
        endpoint: `0a0001020000000020010db8${'00'.repeat(11)}0100000000`,
        keepalive: 0,
        allowed: [],
      },
    ],
  ])
})

await t.test('taking a prefix away: by flag where the kernel knows it', async (t) => {
  const { addon, sent } = fake(() => 0)
  const channel = new NetlinkChannel(addon)
  t.same(await channel.send('ls-wg0', [disallow, disallow], signal), [undefined, undefined])
  t.same(
    sent.flat().map(({ key, flags, allowed }) => [key, flags, allowed]),
    [
      [2, 4, ['1=0200 2=0a030000 3=10 4=01000000']],
      [2, 4, ['1=0200 2=0a030000 3=10 4=01000000']],
    ],
  )
})

await t.test('taking a prefix away: by a throw-away peer where it does not', async (t) => {
  const { addon, sent } = fake((peers) =>
    peers.some(({ allowed }) => allowed.some((text) => text.includes('4='))) ? 22 : 0,
  )
  const channel = new NetlinkChannel(addon)
  t.same(await channel.send('ls-wg0', [set, disallow, allow], signal), [undefined, undefined, undefined])
  const last = sent.at(-1) ?? []
  t.same(
    last.map(({ flags, allowed }) => [flags, allowed]),
    [
      [0, ['1=0200 2=0a030000 3=10']],
      [1, []],
      [4, ['1=0200 2=0a020000 3=10', `1=0a00 2=fd${'00'.repeat(15)} 3=08`]],
    ],
  )
  t.equal(last[0]?.key, last[1]?.key)
  sent.length = 0
  await channel.send('ls-wg0', [disallow], signal)
  t.equal(sent.length, 1, 'the flag is tried once')
})

await t.test('a refused change is found alone', async (t) => {
  const { addon, sent } = fake((peers) => (peers.some(({ key }) => key === 3) ? 22 : 0))
  const answers = await new NetlinkChannel(addon).send('ls-wg0', [set, remove, six], signal)
  t.same(
    answers.map((answer) => answer?.object),
    [undefined, `wg ls-wg0 peer ${key(3)}`, undefined],
  )
  t.match(answers[1]?.reason, 'EINVAL')
  t.equal(sent.length, 4)
})

await t.test('messages stay below 64 KiB', async (t) => {
  const { addon, sent } = fake(() => 0)
  const prefixes = Array.from({ length: 1000 }, (_, i) => prefix(`fd00:${(i + 1).toString(16)}::/32`))
  const many = Array.from({ length: 100 }, (_, i) => ({
    ...allow,
    prefixes: prefixes.slice(i % 2 === 0 ? 220 : 0),
  }))
  const answers = await new NetlinkChannel(addon).send('ls-wg0', many, signal)
  t.same(new Set(answers), new Set([undefined]))
  t.equal(
    sent.flat().reduce((sum, { allowed }) => sum + allowed.length, 0),
    50 * 1780,
  )
})
