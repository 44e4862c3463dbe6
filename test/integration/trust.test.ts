/**
 * Whoever controls the registry can delay news and nothing more: documents that are forged, rolled back, replayed, emptied
 * or deleted change nothing that runs, and no packet is lost. A gateway boots without a registry, from what it knew. A
 * certificate that ended closes what it led to.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import type { Document } from '../../agent/model/document.ts'
import type { Certificate, Fabric } from '../../agent/model/fabric.ts'
import { prefix } from '../../agent/model/prefix.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import {
  certificateDocument,
  identityKeyOf,
  identityOf,
  keyOf,
  recordDocument,
  sealed,
} from '../support/documents.ts'
import { dump, dumpDiff } from '../support/dump.ts'
import { guest } from '../support/fault.ts'
import { isolated } from '../support/isolate.ts'
import { Meter } from '../support/meter.ts'
import { makePair } from '../support/pair.ts'

const seconds = guest ? 120 : 30

await isolated(import.meta.url, async (directory) => {
  const { lab, left, leftHost, rightHost } = await makePair(directory)
  for (let i = 0; i < 100 && !leftHost.pings('10.2.0.10'); i++) await pause(100)
  await pause(500)
  const whole = dump(left.machine)
  const at = (...names: readonly string[]): string => path.join(lab.registry, ...names)
  const put = (name: string, bytes: Uint8Array): void => {
    mkdirSync(path.dirname(at(name)), { recursive: true })
    writeFileSync(`${at(name)}.tmp`, bytes)
    renameSync(`${at(name)}.tmp`, at(name))
  }
  const good = path.join(directory, 'good')
  cpSync(lab.registry, good, { recursive: true })
  const restore = (): void => {
    for (const name of readdirSync(lab.registry)) rmSync(at(name), { recursive: true })
    cpSync(good, lab.registry, { recursive: true })
  }
  const inForce = (name: string): Document => {
    const parsed = parseDocument({ origin: name, bytes: readFileSync(path.join(good, name)) })
    if (isRefusal(parsed)) throw new Error(parsed.reason)
    return parsed.document
  }
  const certificate = inForce('certificates/gw-2.jws').payload as Certificate
  const fabric = inForce('fabric.jws').payload as Fabric
  const until = async (what: string, holds: (status: Status) => boolean): Promise<Status> => {
    let status: Status | undefined
    for (let i = 0; i < seconds * 10; i++) {
      status = await left.status()
      if (status !== undefined && holds(status)) return status
      await pause(100)
    }
    throw new Error(`not within ${seconds} s: ${what}\n${JSON.stringify(status, undefined, 1)}\n${left.log}`)
  }
  const refusedBy =
    (rule: string) =>
    ({ refusals }: Status): boolean =>
      refusals.some((refusal) => refusal.rule === rule)
  const serial = Date.now() + 1000
  const mallory = keyOf('mallory')

  const attacks: readonly (readonly [what: string, rule: string, attack: () => void])[] = [
    [
      'a certificate that another key signed',
      'authority',
      () => {
        const document: Document = { type: 'certificate', payload: { ...certificate, serial } }
        put('certificates/gw-2.jws', sealed(document, mallory))
      },
    ],
    [
      'a whole gateway that another key signed',
      'authority',
      () => {
        const claim = { fabric: lab.fabric, serial, prefixes: [{ prefix: prefix('10.1.0.0/16') }] }
        put('certificates/g7.jws', sealed(certificateDocument(7, claim), mallory))
        put('records/g7.jws', sealed(recordDocument(7, { fabric: lab.fabric, serial })))
      },
    ],
    [
      'a fabric document that another key signed',
      'authority',
      () => {
        const removed = ['gw-2']
        put('fabric.jws', sealed({ type: 'fabric', payload: { ...fabric, serial, removed } }, mallory))
      },
    ],
    [
      "a record of the peer's that another identity signed",
      'signer',
      () => {
        const document = recordDocument(2, { fabric: lab.fabric, gateway: 'gw-2', serial, prefixes: [] })
        put('records/gw-2.jws', sealed(document, identityKeyOf('mallory')))
      },
    ],
    [
      'a record of the peer with one bit turned',
      'signature',
      () => {
        const bytes = readFileSync(path.join(good, 'records/gw-2.jws'))
        const middle = bytes.indexOf(0x2e) + 40
        bytes[middle] = bytes[middle] === 0x41 ? 0x42 : 0x41
        put('records/gw-2.jws', bytes)
      },
    ],
    [
      'an older certificate of the authority',
      'rollback',
      () => {
        const payload = { ...certificate, serial: certificate.serial - 1, identity: identityOf('old') }
        put('certificates/gw-2.jws', sealed({ type: 'certificate', payload }))
      },
    ],
    [
      'another certificate with the same serial',
      'equivocation',
      () => {
        put(
          'certificates/gw-2.jws',
          sealed({ type: 'certificate', payload: { ...certificate, prefixes: [] } }),
        )
      },
    ],
  ]
  for (const [what, rule, attack] of attacks) {
    await t.test(what, async (t) => {
      const meter = await Meter.start(leftHost, rightHost, '10.2.0.10', { perSecond: 100 })
      attack()
      const status = await until(`refused by ${rule}`, refusedBy(rule))
      t.equal(status.peers.length, 1)
      await pause(300)
      t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'nothing was written')
      restore()
      await until('no refusal', ({ refusals }) => refusals.length === 0)
      const { sent, lost } = await meter.stop()
      t.equal(lost, 0, `lost of ${sent}`)
      t.match(left.log, new RegExp(`document-refused .*rule=${rule}`), 'an event says so')
    })
  }

  await t.test('an emptied registry changes nothing, and status says what vanished', async (t) => {
    for (const name of readdirSync(lab.registry)) rmSync(at(name), { recursive: true })
    const { vanished } = await until('vanished', (status) => status.vanished.length >= 5)
    t.match(
      vanished.map(({ object }) => object),
      ['certificate gw-1', 'certificate gw-2', 'fabric lab', 'record gw-1', 'record gw-2'],
    )
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
    restore()
    await until('all back', (status) => status.vanished.length === 0)
  })

  await t.test('fault 9: a gateway boots and carries traffic with the registry gone', async (t) => {
    await left.stop('SIGKILL')
    renameSync(lab.registry, `${lab.registry}.away`)
    left.cli('down')
    t.notOk(leftHost.pings('10.2.0.10'), 'control: nothing is set up')
    left.start()
    const status = await left.untilUp(1, seconds)
    t.equal(status.peers.length, 1)
    for (let i = 0; i < 50 && !leftHost.pings('10.2.0.10'); i++) await pause(100)
    t.ok(leftHost.pings('10.2.0.10'))
    t.ok((await until('said', ({ registry }) => registry.unreadable.length > 0)).registry.unreadable[0])
    renameSync(`${lab.registry}.away`, lab.registry)
    await until('the registry is back', ({ registry }) => registry.unreadable.length === 0)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
  })

  await t.test('fault 19: what was rolled back while the agent was away stays out', async (t) => {
    await left.stop()
    const payload = { ...certificate, serial: certificate.serial - 1, prefixes: [] }
    put('certificates/gw-2.jws', sealed({ type: 'certificate', payload }))
    left.start()
    await until('refused', refusedBy('rollback'))
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
    restore()
    await until('no refusal', ({ refusals }) => refusals.length === 0)
  })

  await t.test('fault 59: a torn store is said, and the registry tells the rest', async (t) => {
    await left.stop()
    const store = left.machine.path('/var/lib/linkspan/known/documents')
    const bytes = readFileSync(store)
    writeFileSync(store, bytes.subarray(0, bytes.length - 100))
    left.log = ''
    left.start()
    await left.untilLogged('known-documents-damaged', seconds)
    await until('settled', ({ health }) => health === 'ok')
    t.strictSame(dumpDiff(whole, dump(left.machine)), [])
  })

  await t.test('a revoked gateway has no peers, and lets nothing out in clear', async (t) => {
    const own = inForce('certificates/gw-1.jws').payload as Certificate
    const revoked = { serials: [own.serial], identities: [] }
    put('fabric.jws', sealed({ type: 'fabric', payload: { ...fabric, serial: fabric.serial + 1, revoked } }))
    const status = await until('no peers', ({ peers }) => peers.length === 0)
    t.ok(refusedBy('revoked')(status))
    for (let i = 0; i < 50 && /^wg\tpeer/m.test(dump(left.machine).join('\n')); i++) await pause(100)
    const lines = dump(left.machine).join('\n')
    t.notMatch(lines, /^wg\tpeer/m, 'its peers are gone')
    t.match(lines, /^route4\t\d+ 10\.2\.0\.0\/16 nhid/m, 'the route stays')
    t.match(lines, /^nexthop\tid 1275068670 blackhole/m)
    const group = /^route4\t\d+ 10\.2\.0\.0\/16 nhid (\d+)/m.exec(lines)?.[1] ?? ''
    t.match(lines, new RegExp(`^nexthop\\tid ${group} group 1275068670`, 'm'), 'and leads nowhere')
    t.notOk(leftHost.pings('10.2.0.10'))
    put('fabric.jws', sealed({ type: 'fabric', payload: { ...fabric, serial: fabric.serial + 2 } }))
    await left.untilUp(1, seconds)
    t.strictSame(dumpDiff(whole, dump(left.machine)), [], 'all comes back with it')
  })
})
