/** What every errno means for every dump, as a table; errno.test.ts is the one for ops. */
import { constants } from 'node:os'
import t from 'tap'
import { reasonOf } from '../../../agent/errors.ts'
import type { Reason } from '../../../agent/errors.ts'
import { Links } from '../../../agent/kernel/links.ts'
import { openNft } from '../../../agent/kernel/nft.ts'
import { observe } from '../../../agent/kernel/observe.ts'
import { RouteSocket } from '../../../agent/kernel/route-socket.ts'
import { message } from '../../../agent/kernel/rtnetlink.ts'
import { openSysctls } from '../../../agent/kernel/sysctl.ts'
import { openWireGuard } from '../../../agent/kernel/wg.ts'
import type { KernelObject, Kind } from '../../../agent/model/kernel-object.ts'
import { cells, wrong } from '../../support/errno-table.ts'
import { FakeSocket, fakeAddon } from '../../support/fake-socket.ts'

/** A dump that fails fails whole, but for a table that never had a route. A torn one is asked for again. */
const dumps = `
                              EPERM EINTR EAGAIN ENOMEM EBUSY EINVAL ENOENT ENOBUFS ETIMEDOUT torn
  link                        perm  fail  fail   fail   fail  fail   fail   fail    fail      again
  address                     perm  fail  fail   fail   fail  fail   fail   fail    fail      again
  nexthop                     perm  fail  fail   fail   fail  fail   fail   fail    fail      again
  rule                        perm  fail  fail   fail   fail  fail   fail   fail    fail      again
  fdb                         perm  fail  fail   fail   fail  fail   fail   fail    fail      again
  route                       perm  fail  fail   fail   fail  fail   done   fail    fail      again
  element                     perm  fail  fail   fail   fail  fail   done   fail    fail      again
`

const signal = new AbortController().signal
const numbers: Readonly<Record<string, number>> = constants.errno
const names = ['ls-wg1', 'ls-wg2', 'ls-vx1']

const noExec = {
  exec: { run: () => Promise.resolve(''), stream: () => none() },
  privateKey: () => '',
}

async function* none(): AsyncGenerator<never, void> {
  // nothing
}

const dumpTypes: Readonly<Record<string, number>> = {
  link: message.getLink,
  address: message.getAddress,
  nexthop: message.getNexthop,
  rule: message.getRule,
  fdb: message.getNeighbour,
  route: message.getRoute,
  element: (10 << 8) | 13,
}

void t.test('dumps', async (t) => {
  for (const [kind, errno, cell] of cells(dumps)) {
    const socket = new FakeSocket(names)
    const type = dumpTypes[kind] ?? 0
    const undisturbed = await seen(new FakeSocket(names), kind)
    if (errno === 'torn') socket.torn.set(type, 2)
    else socket.dumpErrnos.set(type, numbers[errno] ?? 0)
    let found: readonly KernelObject[] = []
    let error: Reason | undefined
    try {
      found = await seen(socket, kind)
    } catch (thrown) {
      error = reasonOf(thrown, kind)
    }
    if (cell === 'again') {
      t.same([error, found], [undefined, undisturbed], `${kind}: torn: dumped again, nothing twice`)
      t.equal(socket.torn.get(type), 0, 'twice more')
    } else t.equal(wrong(cell, errno, error), '', `${kind}: ${errno}`)
  }
})

async function seen(socket: FakeSocket, kind: string): Promise<readonly KernelObject[]> {
  const found: KernelObject[] = []
  const stateDirectory = t.testdir()
  const nft = await openNft({ ...noExec, addon: fakeAddon(socket), stateDirectory })
  socket.hasTable = kind === 'element'
  socket.elements = ['10.1.0.0', '10.2.0.0']
  if (kind === 'element') {
    for await (const part of nft.observe(signal)) found.push(...part)
    return found
  }
  const wg = await openWireGuard({ ...noExec, addon: fakeAddon(socket), stateDirectory })
  const sources = {
    socket: new RouteSocket(socket),
    links: new Links(new RouteSocket(socket)),
    sysctls: await openSysctls(stateDirectory),
    wg,
    nft,
  }
  const kinds = new Set([kind as Kind])
  for await (const part of observe(sources, { sysctls: [], kinds }, signal)) found.push(...part)
  return found
}
