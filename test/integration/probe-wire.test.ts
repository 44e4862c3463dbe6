/**
 * The probe engine's packets, octet by octet, against ends written from RFC 8762 and RFC 8972 (test/support/stamp.ts): its
 * reflector answers our sender, its sender is satisfied by our reflector. And what hostile ends get: nothing.
 */
import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { run } from '../support/command.ts'
import { isolated } from '../support/isolate.ts'
import { back, device, farOfBoth, joinBy, Near, pathTo, port, quiet, until } from '../support/probe-lab.ts'
import {
  baseLength,
  flag,
  ntpNow,
  ntpToMs,
  readReflected,
  readSender,
  readTlvs,
  reflectedBytes,
  senderBytes,
  wordTlv,
} from '../support/stamp.ts'
import type { Tlv } from '../support/stamp.ts'

interface Arrived {
  readonly bytes: Buffer
  readonly from: RemoteInfo
}

async function open(
  at: number,
  host: string,
  type: 'udp4' | 'udp6' = 'udp6',
): Promise<{ socket: Socket; got: Arrived[] }> {
  const socket = createSocket({ type, ipv6Only: type === 'udp6' })
  const got: Arrived[] = []
  socket.on('message', (bytes, from) => got.push({ bytes, from }))
  socket.bind(at, host)
  await once(socket, 'listening')
  return { socket, got }
}

function question(tlvs: readonly Tlv[], sequence = 41): Buffer {
  return senderBytes({ sequence, timestamp: ntpNow(), errorEstimate: 0x8a03, ssid: 0xbeef, tlvs })
}

await isolated(import.meta.url, async () => {
  const { machine, far } = await farOfBoth()
  const { socket, got } = await open(0, `fe80::1%${device}`)

  /** Sends and waits for what comes back, undefined where nothing does for 300 ms. */
  async function ask(
    bytes: Buffer,
    to = `fe80::2%${device}`,
    from = { socket, got },
  ): Promise<Buffer | undefined> {
    const { length } = from.got
    from.socket.send(bytes, port, to)
    await until(() => from.got.length > length, 300)
    return from.got[length]?.bytes
  }

  await t.test('its reflector answers a plain sender', async (t) => {
    socket.setTTL(77)
    const before = Date.now()
    const asked = question([])
    const answer = await ask(asked)
    t.ok(answer !== undefined)
    if (answer === undefined) return
    t.equal(answer.length, baseLength)
    t.same(answer.subarray(0, 4), asked.subarray(0, 4), 'sequence number of a stateless reflector')
    t.same(answer.subarray(14, 16), asked.subarray(14, 16), 'SSID')
    t.same(answer.subarray(24, 36), asked.subarray(0, 12), 'sender sequence number and timestamp')
    t.same(answer.subarray(36, 38), asked.subarray(12, 14), 'sender error estimate')
    t.same([...answer.subarray(38, 40), ...answer.subarray(41, 44)], [0, 0, 0, 0, 0], 'must be zero')
    t.equal(answer[40], 77, 'the hop limit it came with')
    const { received, timestamp, errorEstimate } = readReflected(answer)
    t.ok(received <= timestamp, 'received, then sent')
    t.ok(ntpToMs(received) >= before - 1 && ntpToMs(timestamp) <= Date.now() + 1, 'NTP format, UTC')
    t.equal(errorEstimate & 0x4000, 0, 'Z: NTP format')
    t.not(errorEstimate & 0xff, 0, 'a multiplier is never 0')
    t.equal(got.at(-1)?.from.port, port)
    t.equal(got.at(-1)?.from.address, `fe80::2%${device}`)
  })

  await t.test('over IPv4 as well', async (t) => {
    const four = await open(0, '10.9.9.1', 'udp4')
    four.socket.setTTL(99)
    const asked = question([wordTlv(0, 0, 0, flag.unrecognised)])
    const answer = await ask(asked, '10.9.9.2', four)
    t.equal(answer?.length, asked.length)
    t.equal(answer?.[40], 99, 'the TTL it came with')
    t.equal(four.got[0]?.from.address, '10.9.9.2')
    four.socket.close()
  })

  await t.test('TLVs come back with their flags set', async (t) => {
    const padding = { flags: flag.unrecognised, type: 1, value: Buffer.alloc(1200, 0xaa) }
    const other = { flags: flag.unrecognised, type: 4, value: Buffer.from([1, 2, 3, 4]) }
    const sent = [other, wordTlv(1, 9, 12, flag.unrecognised), padding]
    const asked = question(sent)
    const answer = await ask(asked)
    t.equal(answer?.length, asked.length)
    t.same(readTlvs(answer?.subarray(baseLength) ?? Buffer.alloc(0)), [
      other,
      wordTlv(0, quiet.weight, quiet.serial, 0),
      { ...padding, flags: 0 },
    ])
    t.ok(
      await until(() =>
        far.news.some(({ word }) => word?.serial === 12 && word.draining && word.weight === 9),
      ),
    )

    const cutOff = question([other, { ...padding, value: Buffer.alloc(60, 7) }]).subarray(0, -30)
    const malformed = await ask(cutOff)
    t.equal(malformed?.length, cutOff.length)
    t.equal(malformed?.[baseLength], flag.unrecognised)
    t.equal(malformed?.[baseLength + 8], flag.malformed)
    t.same(malformed?.subarray(baseLength + 9), cutOff.subarray(baseLength + 9), 'the rest as it came')
    const wrongLength = { ...wordTlv(1, 5, 12, flag.unrecognised), value: Buffer.alloc(12) }
    const wrong = await ask(question([wrongLength, wordTlv(0, 0, 0, 0)]))
    t.equal(wrong?.[baseLength], flag.malformed)
    t.same(wrong?.subarray(baseLength + 1, baseLength + 16).subarray(3), wrongLength.value)
    t.equal(wrong?.[baseLength + 16], 0, 'nothing behind it is read')
    t.same(readTlvs(wrong?.subarray(baseLength + 16) ?? Buffer.alloc(0)), [wordTlv(0, 0, 0, 0)])
    const unknownCutOff = await ask(question([{ ...other, value: Buffer.alloc(9) }]).subarray(0, -1))
    t.equal(unknownCutOff?.[baseLength], flag.unrecognised | flag.malformed)
    const tail = await ask(Buffer.concat([question([]), Buffer.from([0xff])]))
    t.equal(tail?.[baseLength], flag.unrecognised | flag.malformed, 'not even a head')

    const before = far.news.length
    const foreign = wordTlv(1, 8, 13, flag.unrecognised, 32_473)
    const flagged = wordTlv(1, 8, 14, 0xff)
    const others = await ask(question([foreign, flagged]))
    t.same(readTlvs(others?.subarray(baseLength) ?? Buffer.alloc(0)), [
      foreign,
      wordTlv(0, quiet.weight, quiet.serial, 0),
    ])
    t.ok(
      await until(() => far.news.slice(before).some(({ word }) => word?.serial === 14)),
      'flags say nothing',
    )
    t.notOk(
      far.news.some(({ word }) => word?.serial === 13),
      'another vendor’s is not ours',
    )
  })

  await t.test('no answer is longer than its question, and what is too short gets none', async (t) => {
    const before = await far.counters()
    for (const length of [44, 45, 47, 48, 63, 65, 200, 1400]) {
      const asked = Buffer.alloc(length, length === 45 ? 0 : 0xff)
      t.equal((await ask(asked))?.length, length)
    }
    for (const length of [0, 1, 14, 43])
      t.equal(await ask(Buffer.alloc(length)), undefined, `${length} octets`)
    const after = await far.counters()
    t.equal((after['malformed'] ?? 0) - (before['malformed'] ?? 0), 4)
  })

  await t.test('nobody is answered who could turn the answer on somebody else', async (t) => {
    const before = await far.counters()
    t.equal(await ask(question([]), `ff02::1%${device}`), undefined, 'sent to a multicast address')
    const reflector = await open(port, `fe80::1%${device}`)
    reflector.socket.send(question([]), port, `fe80::2%${device}`)
    await pause(200)
    const probesOfFar = reflector.got.filter(({ from }) => from.port === port)
    t.same(probesOfFar, [], 'from the probe port: two reflectors would never end')
    reflector.socket.close()
    run('ip', 'address', 'add', '2001:db8::1/64', 'dev', device, 'nodad')
    const global = await open(0, '2001:db8::1')
    machine.ip(`address add 2001:db8::2/64 dev ${device} nodad`)
    t.equal(await ask(question([]), '2001:db8::2', global), undefined, 'an address that is not link-local')
    global.socket.close()
    const refused = ((await far.counters())['refused'] ?? 0) - (before['refused'] ?? 0)
    t.equal(refused, 3)
    joinBy('other0', machine, ['fe80::1/64', 'fe80::2/64'])
    const other = await open(0, 'fe80::1%other0')
    t.equal(await ask(question([]), 'fe80::2%other0', other), undefined, 'a device that is no tunnel')
    other.socket.close()
  })

  await t.test('a flood is answered at 200 a second, and delays no detection', async (t) => {
    const before = await far.counters()
    const { length } = got
    const from = performance.now()
    for (let i = 0; i < 20; i++) {
      for (let n = 0; n < 100; n++) socket.send(question([], n), port, `fe80::2%${device}`)
      await pause(20)
    }
    await pause(300)
    const answered = got.length - length
    const allowed = 100 + ((performance.now() - from) / 1000) * 200
    t.ok(answered >= 90 && answered <= allowed + 10, `${answered} of 2000, ${allowed.toFixed()} allowed`)
    t.ok(((await far.counters())['limited'] ?? 0) - (before['limited'] ?? 0) > 1000)
  })

  await t.test('its sender asks as the RFC draws it', async (t) => {
    const reflector = await open(port, `fe80::1%${device}`)
    t.ok(await until(() => reflector.got.length >= 6))
    reflector.socket.close()
    const packets = reflector.got.map(({ bytes }) => bytes)
    for (const bytes of packets) {
      t.equal(bytes.length, 64)
      t.ok(
        bytes.subarray(16, 44).every((octet) => octet === 0),
        'must be zero',
      )
    }
    const asked = packets.map(readSender)
    t.same(
      asked.map(({ sequence }) => sequence - (asked[0]?.sequence ?? 0)),
      asked.map((_, i) => i),
    )
    t.equal(new Set(asked.map(({ ssid }) => ssid)).size, 1)
    t.not(asked[0]?.ssid, 0)
    t.equal((asked[0]?.errorEstimate ?? 0) & 0x4000, 0)
    t.not((asked[0]?.errorEstimate ?? 0) & 0xff, 0)
    t.ok(Math.abs(ntpToMs(asked.at(-1)?.timestamp ?? 0n) - Date.now()) < 5000)
    t.same(asked[0]?.tlvs, [wordTlv(0, quiet.weight, quiet.serial, flag.unrecognised)])
    t.notSame(
      packets.map((bytes) => bytes.subarray(10, 12)),
      packets.map(() => packets[0]?.subarray(10, 12)),
      'the last bits are a nonce',
    )
  })

  /** Answers the far end's probes as `how` says; its news and round trips since. */
  async function reflect(how: (asked: Buffer) => Buffer, check: () => boolean): Promise<boolean> {
    const reflector = await open(port, `fe80::1%${device}`)
    reflector.socket.on('message', (bytes, from) => {
      reflector.socket.send(how(bytes), from.port, from.address)
    })
    await far.order({ paths: [] })
    far.news.length = 0
    await far.order({ paths: [back] })
    const fulfilled = await until(check, 5000)
    reflector.socket.close()
    return fulfilled
  }

  /** RFC 8762, figure 4, around the TLVs that a reflector gives back. */
  function reflection(bytes: Buffer, tlvs: readonly Tlv[], shift = 0n): Buffer {
    const asked = readSender(bytes)
    return reflectedBytes({
      sequence: asked.sequence,
      timestamp: ntpNow() + shift,
      errorEstimate: 1,
      ssid: asked.ssid,
      tlvs,
      received: ntpNow() - shift,
      senderSequence: asked.sequence,
      senderTimestamp: asked.timestamp,
      senderErrorEstimate: asked.errorEstimate,
      senderTtl: 255,
    })
  }
  const isUp = (): boolean => far.news.at(-1)?.state === 'up'

  await t.test('its sender is satisfied by any reflector', async (t) => {
    t.ok(await reflect((asked) => reflection(asked, []), isUp), 'one without TLVs')
    t.ok(far.news.every(({ word }) => word === undefined))
    t.ok(
      await reflect((asked) => reflection(asked, readSender(asked).tlvs), isUp),
      'one that returns them unread',
    )
    t.ok(
      far.news.every(({ word }) => word === undefined),
      'its own word is nobody else’s',
    )
    const word = [{ flags: 0, type: 9, value: Buffer.alloc(6) }, wordTlv(2, 5, 99, 0)]
    const told = (): boolean => isUp() && far.news.at(-1)?.word?.serial === 99
    t.ok(await reflect((asked) => reflection(asked, word), told), 'one with a word')
    t.match(far.news.at(-1)?.word, { draining: false, notForwarding: true, weight: 5 })
    const others = wordTlv(0, 5, 98, 0, 32_473)
    const nothing = (): boolean => isUp() && far.roundTripsMs.length > 0
    for (const [what, tlvs] of [
      ['not understood', [wordTlv(0, 5, 98, flag.unrecognised)]],
      ['malformed', [wordTlv(0, 5, 98, flag.malformed)]],
      ['behind what is malformed', [{ ...others, flags: flag.malformed }, wordTlv(0, 5, 98, 0)]],
      ['of another vendor', [others]],
      ['before one that failed verification', [wordTlv(0, 5, 98, 0), { ...others, flags: flag.integrity }]],
    ] as const) {
      far.roundTripsMs.length = 0
      t.ok(await reflect((asked) => reflection(asked, tlvs), nothing), what)
      t.ok(
        far.news.every(({ word: heard }) => heard === undefined),
        what,
      )
    }
    const huge = wordTlv(0, 0, 0, 0)
    huge.value.fill(0xff, 8)
    const largest = (): boolean => far.news.at(-1)?.word?.serial === Number.MAX_SAFE_INTEGER
    t.ok(await reflect((asked) => reflection(asked, [huge]), largest))
  })

  await t.test(
    'a question of size, padded as the RFC has it; what is shorter than it proves nothing',
    async (t) => {
      const asked: Buffer[] = []
      let trial = 0
      const verdictOn = async (how: (asked: Buffer) => Buffer): Promise<string | undefined> => {
        let isOrdered = false
        far.verdicts.length = 0
        asked.length = 0
        const large = (bytes: Buffer): Buffer => {
          if (bytes.length === 64) return reflection(bytes, [])
          asked.push(Buffer.from(bytes))
          return how(bytes)
        }
        await reflect(large, () => {
          if (isUp() && !isOrdered) {
            isOrdered = true
            void far.order({ ask: [{ id: back.id, trial: ++trial, size: 1400, tries: 3 }] })
          }
          return far.verdicts.length > 0
        })
        return far.verdicts.at(-1)
      }
      const whole = (bytes: Buffer): Buffer => reflection(bytes, readSender(bytes).tlvs)
      const late = (bytes: Buffer): Buffer => {
        const answer = whole(bytes)
        answer.writeUInt8((answer.readUInt8(35) + 1) % 256, 35)
        return answer
      }
      t.equal(await verdictOn(whole), 'answered')
      t.equal(asked.length, 1, 'one packet is enough')
      t.equal(
        await verdictOn((bytes) => reflection(bytes, [])),
        'lost',
        'of a reflector that cuts its answers short',
      )
      t.equal(await verdictOn(late), 'lost', 'of one that does not name the question')
      t.equal(asked.length, 3)
      for (const [i, bytes] of asked.entries()) {
        t.equal(bytes.length, 1400 - 48)
        const { sequence, ssid, tlvs } = readSender(bytes)
        t.equal(sequence - readSender(asked[0] ?? bytes).sequence, i)
        t.not(ssid, 0)
        t.match(tlvs, [{ type: 252 }, { flags: flag.unrecognised, type: 1 }])
        t.equal(tlvs[1]?.value.length, 1400 - 48 - 64 - 4)
      }
    },
  )

  await t.test('stamps of the other end never enter a round trip', async (t) => {
    const decade = 315_360_000n << 32n
    const measured = (): boolean => isUp() && far.roundTripsMs.length > 0
    for (const shift of [decade, -decade]) {
      far.roundTripsMs.length = 0
      t.ok(await reflect((asked) => reflection(asked, [], shift), measured))
      t.ok(
        far.roundTripsMs.every((ms) => ms > 0 && ms < 1000),
        far.roundTripsMs.join(', '),
      )
    }
  })

  await t.test('an answer must name the question, its time, and come from the probe port', async (t) => {
    const wrong: Readonly<Record<string, (answer: Buffer) => Buffer>> = {
      sequence: (answer) => (answer.writeUInt32BE(answer.readUInt32BE(24) + 1, 24), answer),
      time: (answer) => (answer.writeUInt8((answer.readUInt8(35) + 1) % 256, 35), answer),
      length: (answer) => answer.subarray(0, 43),
    }
    for (const [what, spoil] of Object.entries(wrong)) {
      const silent = (): boolean => far.news.at(-1)?.state === 'silent'
      t.ok(await reflect((asked) => spoil(reflection(asked, [])), silent), what)
      t.notOk(far.news.some(({ state }) => state === 'up'))
    }
    t.ok(((await far.counters())['unmatched'] ?? 0) > 10)
  })

  await t.test('probes and answers leave with a hop limit of 255', async (t) => {
    const near = new Near()
    run('nft', 'add table inet hops')
    run('nft', 'add chain inet hops input { type filter hook input priority -400; }')
    run('nft', `add rule inet hops input iifname ${device} meta l4proto udp ip6 hoplimit != 255 drop`)
    near.engine.setPaths([pathTo(device)])
    far.news.length = 0
    t.ok(await near.becomes(device, 'up'), 'answers')
    t.ok(await until(isUp), 'probes')
    run('nft', 'delete table inet hops')
    near.engine.stop()
  })
  socket.close()
  machine.end()
})
