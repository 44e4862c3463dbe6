/**
 * What every errno means for every op, as a table: the driver against a kernel that refuses. A failure is a value with code,
 * object, reason and next step, in the place of its op; ops beside it are done; what is gone already has been removed.
 *
 * The kernel is a socket that answers as told, so this runs without root. Whether the agent reaches its end once a fault
 * is over is the business of test/property/errno.test.ts.
 */
import fsPromises from 'node:fs/promises'
import { mkdirSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { constants } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { LinkspanError } from '../../../agent/errors.ts'
import type { Reason } from '../../../agent/errors.ts'
import { applyBatch } from '../../../agent/kernel/apply.ts'
import { LinkOps } from '../../../agent/kernel/link-op.ts'
import { Links } from '../../../agent/kernel/links.ts'
import { applyElements } from '../../../agent/kernel/nft-element.ts'
import { openNft } from '../../../agent/kernel/nft.ts'
import { RouteSocket } from '../../../agent/kernel/route-socket.ts'
import { openSysctls } from '../../../agent/kernel/sysctl.ts'
import { openWireGuard } from '../../../agent/kernel/wg.ts'
import { linkGroup } from '../../../agent/model/kernel-number.ts'
import type { KernelObject } from '../../../agent/model/kernel-object.ts'
import type { PublicKey } from '../../../agent/model/key.ts'
import type { Op, OpResult } from '../../../agent/model/op.ts'
import { address, prefix } from '../../../agent/model/prefix.ts'
import { cells, wrong } from '../../support/errno-table.ts'
import { FakeSocket, fakeAddon } from '../../support/fake-socket.ts'

/**
 * `fail`: a failure of code netlink that names the errno. `perm`: of code permission, with what to do. `taken`: of code
 * conflict. `done`: no failure, the kernel is as the op wanted it.
 */
const table = `
                            EPERM ENOENT ESRCH EINTR ENXIO EAGAIN ENOMEM EBUSY EEXIST ENODEV EINVAL ENOSPC EOPNOTSUPP EAFNOSUPPORT EADDRNOTAVAIL ENOBUFS ETIMEDOUT
  add address               perm  fail   fail  fail  fail  fail   fail   fail  done   fail   fail   fail   fail       fail         fail          fail    fail
  replace address           perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove address            perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add port                  perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace port              perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove port               perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add fdb                   perm  fail   fail  fail  fail  fail   fail   fail  done   fail   fail   fail   fail       fail         fail          fail    fail
  replace fdb               perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove fdb                perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add nexthop               perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace nexthop           perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove nexthop            perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add group                 perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace group             perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove group              perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add route                 perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace route             perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove route              perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add rule                  perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace rule              perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove rule               perm  done   done  fail  done  fail   fail   fail  fail   done   fail   fail   fail       fail         done          fail    fail
  add link: made            perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  add link: set             perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  add link: no address      perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   done       done         fail          fail    fail
  add link: up              perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  replace link: set         perm  fail   fail  fail  fail  fail   fail   fail  taken  fail   fail   fail   fail       fail         fail          fail    fail
  remove link               perm  fail   fail  fail  fail  fail   fail   fail  taken  done   fail   fail   fail       fail         fail          fail    fail
  add element               perm  fail   fail  fail  fail  fail   fail   fail  done   fail   fail   fail   fail       fail         fail          fail    fail
  remove element            perm  done   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  add peer                  perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  replace peer              perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove peer               perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  add allowed-ip            perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  replace allowed-ip        perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove allowed-ip         perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  add sysctl                perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  replace sysctl            perm  fail   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove sysctl             perm  done   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  add ruleset: table        perm  done   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
  remove ruleset: table     perm  done   fail  fail  fail  fail   fail   fail  fail   fail   fail   fail   fail       fail         fail          fail    fail
`

const signal = new AbortController().signal
const numbers: Readonly<Record<string, number>> = constants.errno
const key = (n: number): PublicKey => Buffer.alloc(32, n).toString('base64') as PublicKey
const names = ['ls-wg1', 'ls-wg2', 'ls-wg3', 'ls-vx1']

/** Three objects of a kind; the second is the one the kernel dislikes. */
const objects: Readonly<Record<string, (n: number) => KernelObject>> = {
  link: (n) => ({
    kind: 'link',
    name: `ls-wg${n}`,
    type: 'wireguard',
    mtu: 1420,
    up: true,
    group: linkGroup,
  }),
  address: (n) => ({ kind: 'address', link: `ls-wg${n}`, address: '100.127.0.1/32' }),
  port: (n) => ({ kind: 'port', link: `ls-wg${n}`, master: 'ls-vx1' }),
  fdb: (n) => ({ kind: 'fdb', link: 'ls-vx1', mac: `00:00:00:00:00:0${n}`, dst: address('100.127.0.2') }),
  nexthop: (n) => ({ kind: 'nexthop', id: 0x4c000000 + n, family: 6, device: `ls-wg${n}` }),
  group: (n) => ({ kind: 'group', id: 0x4c001000 + n, members: [{ id: 0x4c000000, weight: 1 }] }),
  route: (n) => ({
    kind: 'route',
    table: 19539,
    prefix: prefix(`10.${n}.0.0/16`),
    type: 'unicast',
    nexthop: 0x4c001000,
  }),
  rule: (n) => ({ kind: 'rule', family: 4, priority: 19528 + n, action: 'lookup', table: 19539 }),
  element: (n) => ({ kind: 'element', set: 'remote4_16', key: `10.${n}.0.0` }),
  peer: (n) => ({ kind: 'peer', device: 'ls-wg1', publicKey: key(n), keepalive: 25 }),
  'allowed-ip': (n) => ({
    kind: 'allowed-ip',
    device: 'ls-wg1',
    publicKey: key(n),
    prefix: prefix(`10.${n}.0.0/16`),
  }),
  sysctl: (n) => ({ kind: 'sysctl', name: `net/ipv4/conf/eth${n}/rp_filter`, value: '2' }),
  ruleset: () => ({ kind: 'ruleset', table: 'linkspan', sets: [], chains: [], counters: [], digest: 'x' }),
}

function opsOf(verb: string, kind: string): readonly Op[] {
  const make = objects[kind]
  if (make === undefined) throw new TypeError(kind)
  return [1, 2, 3].map((n): Op => {
    const object = make(n)
    if (verb === 'replace') return { verb, object, before: object }
    return { verb: verb === 'add' ? 'add' : 'remove', object }
  })
}

type Results = readonly (Reason | undefined)[]

/** Which of a link's messages is refused, counted over three links. */
const steps: Readonly<Record<string, number>> = {
  'add link: made': 4,
  'add link: set': 5,
  'add link: no address': 6,
  'add link: up': 7,
  'replace link: set': 3,
  'remove link': 1,
}

/** What the driver makes of three ops, when the kernel answers the second with this errno each time. */
async function apply(row: string, errno: string, directory: string): Promise<Results> {
  const [verb = '', kind = ''] = row.replace(/:.*/, '').split(' ')
  const ops = opsOf(verb, kind)
  const number = numbers[errno] ?? 0
  const socket = new FakeSocket(names)
  switch (kind) {
    case 'link':
      socket.refuse = (_bytes, _index, request) => (request === steps[row] ? number : 0)
      return errorsOf(
        await new LinkOps(new RouteSocket(socket), await linksOf(socket), nobody).apply(ops, signal),
      )
    case 'element':
      socket.elements = verb === 'remove' ? ['10.1.0.0', '10.2.0.0', '10.3.0.0'] : []
      socket.refuse = holding(Uint8Array.of(10, 2, 0, 0), number)
      return await elements(socket, ops)
    case 'peer':
    case 'allowed-ip': {
      socket.refuse = holding(kind === 'peer' ? Buffer.alloc(32, 2) : Uint8Array.of(10, 2, 0, 0), number)
      const wg = await openWireGuard({ ...noExec, addon: fakeAddon(socket), stateDirectory: directory })
      return errorsOf(await wg.apply(ops, signal))
    }
    case 'sysctl':
      return await sysctls(ops, errno, directory)
    case 'ruleset': {
      socket.refuseTable = number
      const nft = await openNft({ ...noExec, addon: fakeAddon(socket), stateDirectory: directory })
      return errorsOf(await nft.apply(ops.slice(0, 1), signal))
    }
    default:
      socket.refuse = (_bytes, index) => (index === 1 ? number : 0)
      return errorsOf(await applyBatch(new RouteSocket(socket), await linksOf(socket), ops, signal))
  }
}

function errorsOf(results: readonly OpResult[]): Results {
  return results.map(({ error }) => error)
}

const nobody = {
  names: new Set<string>(),
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  forget: () => Promise.resolve(),
}
const noExec = {
  exec: { run: () => Promise.resolve(''), stream: () => none() },
  privateKey: () => '',
}

async function* none(): AsyncGenerator<never, void> {
  // nothing
}

async function linksOf(socket: FakeSocket): Promise<Links> {
  const links = new Links(new RouteSocket(socket))
  await links.refresh()
  return links
}

async function elements(socket: FakeSocket, ops: readonly Op[]): Promise<Results> {
  const list = ops.flatMap(({ verb, object }) =>
    object.kind === 'element' ? [{ verb: verb === 'remove' ? verb : ('add' as const), element: object }] : [],
  )
  return [...(await applyElements(socket, list, signal)).errors]
}

function holding(bytes: Uint8Array, errno: number): (message: Uint8Array) => number {
  return (message) => (Buffer.from(message).includes(Buffer.from(bytes)) ? errno : 0)
}

/** /proc/sys is a folder here; the write to eth2 fails. */
async function sysctls(ops: readonly Op[], errno: string, directory: string): Promise<Results> {
  const root = path.join(directory, 'sys')
  for (const { object } of ops) {
    const file = path.join(root, object.kind === 'sysctl' ? object.name : '')
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, '1\n')
  }
  const opened = await openSysctls(path.join(directory, 'state'), root)
  const run = async (verb: 'set' | 'restore'): Promise<Results> => {
    const results: (Reason | undefined)[] = []
    for (const { object } of ops) {
      if (object.kind === 'sysctl') results.push(await opened.apply(verb, object))
    }
    return results
  }
  const isRemoval = ops[0]?.verb === 'remove'
  if (isRemoval) await run('set')
  const { writeFile } = fsPromises
  fsPromises.writeFile = async (...args: Parameters<typeof writeFile>) => {
    if (typeof args[0] === 'string' && args[0].includes('/sys/net/ipv4/conf/eth2/')) {
      throw Object.assign(new Error(`${errno}: injected`), { code: errno })
    }
    await writeFile(...args)
  }
  syncBuiltinESMExports()
  try {
    return await run(isRemoval ? 'restore' : 'set')
  } finally {
    fsPromises.writeFile = writeFile
    syncBuiltinESMExports()
  }
}

void t.test('ops', async (t) => {
  let count = 0
  const faults = new Map<string, string[]>()
  for (const [row, errno, cell] of cells(table)) {
    const list = faults.get(row) ?? []
    faults.set(row, list)
    const results = await apply(row, errno, t.testdir())
    const middle = results.length >> 1
    const fault = wrong(cell, errno, results[middle])
    if (fault !== '') list.push(`${errno}: ${fault}`)
    const beside = results.find((result, i) => i !== middle && result !== undefined)
    if (beside !== undefined) list.push(`${errno}: its neighbour as well: ${beside.reason}`)
    count++
  }
  for (const [row, list] of faults) t.same(list, [], row)
  t.equal(count, 680, 'cells')
})

void t.test('answers that were lost are failures of every op of the batch', async (t) => {
  for (const errno of ['ENOBUFS', 'ETIMEDOUT'] as const) {
    const socket = new FakeSocket(names)
    socket.refuse = () => numbers[errno] ?? 0
    const ops = opsOf('add', 'route')
    const results = await applyBatch(new RouteSocket(socket), await linksOf(socket), ops, signal)
    t.same(
      errorsOf(results).map((error) => error?.reason),
      [errno, errno, errno],
    )
  }
})

void t.test('a socket that breaks is an error, and no op counts as done', async (t) => {
  const socket = new FakeSocket(names)
  socket.request = () =>
    Promise.reject(new LinkspanError({ code: 'netlink', object: 'netlink request', reason: 'EBADF' }))
  const links = await linksOf(socket)
  await t.rejects(applyBatch(new RouteSocket(socket), links, opsOf('add', 'route'), signal), {
    code: 'netlink',
    reason: 'EBADF',
  })
  const results = await new LinkOps(new RouteSocket(socket), links, nobody).apply(
    opsOf('add', 'link'),
    signal,
  )
  t.same(
    errorsOf(results).map((error) => error?.reason),
    ['EBADF', 'EBADF', 'EBADF'],
  )
})

void t.test('a transaction that fails once is repeated in parts', async (t) => {
  for (const errno of ['EINTR', 'EAGAIN', 'EBUSY', 'ENOMEM', 'ENOBUFS', 'ETIMEDOUT', 'EEXIST']) {
    const socket = new FakeSocket(names)
    socket.refuse = (_bytes, index, request) => (request === 0 && index === 0 ? (numbers[errno] ?? 0) : 0)
    t.same(await elements(socket, opsOf('add', 'element')), [, , ,], `elements: ${errno}`)
    const other = new FakeSocket(names)
    other.refuse = (_bytes, _index, request) => (request === 0 ? (numbers[errno] ?? 0) : 0)
    const wg = await openWireGuard({ ...noExec, addon: fakeAddon(other), stateDirectory: t.testdir() })
    const results = await wg.apply(opsOf('add', 'peer'), signal)
    t.ok(
      results.every(({ error }) => error === undefined),
      `peers: ${errno}`,
    )
  }
})

void t.test('elements of a set that is not there', async (t) => {
  const socket = new FakeSocket(names)
  socket.refuse = (_bytes, index) => (index === 1 ? constants.errno.ENOENT : 0)
  socket.dumpErrnos.set((10 << 8) | 13, constants.errno.ENOENT)
  const results = await elements(socket, opsOf('add', 'element'))
  t.same(new Set(results.map((result) => result?.reason)), new Set(['there is no such set']))
  t.same(await elements(socket, opsOf('remove', 'element')), [, , ,], 'are removed already')
})

void t.test(
  'a failure that says nothing of it does not teach that the kernel can take prefixes away',
  async (t) => {
    const socket = new FakeSocket(names)
    const wg = await openWireGuard({ ...noExec, addon: fakeAddon(socket), stateDirectory: t.testdir() })
    const [op] = opsOf('remove', 'allowed-ip')
    const once = async (errno: number): Promise<unknown> => {
      let left = 1
      socket.refuse = () => (left-- > 0 ? errno : 0)
      const [result] = await wg.apply(op === undefined ? [] : [op], signal)
      return result?.error
    }
    t.equal(await once(constants.errno.EBUSY), undefined, 'a throw-away peer serves')
    t.equal(await once(constants.errno.EINVAL), undefined, 'an old kernel is found out later')
  },
)

void t.test('a program that fails, or is not there', async (t) => {
  const addon = fakeAddon(new FakeSocket(names))
  const stateDirectory = t.testdir()
  for (const reason of ['nft: exit code 1: Error: Could not process rule', 'spawn nft ENOENT']) {
    const run = (): Promise<string> =>
      Promise.reject(new LinkspanError({ code: 'exec', object: 'it', reason }))
    const options = { addon, stateDirectory, exec: { ...noExec.exec, run }, privateKey: () => 'secret' }
    const nft = await openNft(options)
    const [loaded] = await nft.apply(opsOf('add', 'ruleset').slice(0, 1), signal)
    t.match(loaded?.error, { code: 'exec', reason })
    const wg = await openWireGuard(options)
    const device: KernelObject = {
      kind: 'device',
      name: 'ls-wg1',
      publicKey: key(1),
      listenPort: 1,
      fwmark: 1,
    }
    const results = await wg.apply([{ verb: 'add', object: device }, ...opsOf('add', 'peer')], signal)
    t.match(results[0]?.error, { code: 'exec', reason })
    t.notMatch(JSON.stringify(results), /secret/)
    t.ok(
      results.slice(1).every(({ error }) => error === undefined),
      'peers are tried all the same',
    )
  }
})
