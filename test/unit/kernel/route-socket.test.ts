import t from 'tap'
import type { Failure, NetlinkSocket } from '../../../agent/kernel/addon.ts'
import { MessageWriter } from '../../../agent/kernel/message.ts'
import { reasonOfFailure, RouteSocket } from '../../../agent/kernel/route-socket.ts'

type Answer = { readonly interrupted: boolean } | Failure

/** A socket whose dumps carry one message each and end as told. */
function socketOf(answers: readonly Answer[]): {
  readonly socket: RouteSocket
  readonly asked: () => number
} {
  let asked = 0
  const raw: NetlinkSocket = {
    portId: 1,
    request: () => Promise.resolve([]),
    query: () => Promise.resolve(new Uint8Array(0)),
    dump: (_message, onChunk) => {
      const writer = new MessageWriter(64)
      writer.begin(24, 0)
      writer.u32(asked)
      writer.end()
      onChunk(writer.take())
      return Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? { interrupted: false })
    },
    close: () => undefined,
  }
  return { socket: new RouteSocket(raw), asked: () => asked }
}

const decode = (bytes: Uint8Array, _type: number, start: number): number => bytes[start] ?? 0
const refused: Failure = { index: 0, errno: 2, message: 'FIB table does not exist' }

void t.test('a torn dump is made again, and what it held is forgotten', async (t) => {
  const { socket } = socketOf([{ interrupted: true }, { interrupted: true }, { interrupted: false }])
  t.same(await socket.collect(new Uint8Array(16), 'routes', decode), [2])
})

void t.test('one that is always torn is an error', async (t) => {
  const { socket, asked } = socketOf([{ interrupted: true }])
  await t.rejects(socket.collect(new Uint8Array(16), 'routes', decode), {
    code: 'netlink',
    object: 'dump of routes',
  })
  t.equal(asked(), 10)
})

void t.test('errors carry the kernel’s words; some mean that there is nothing', async (t) => {
  const { socket } = socketOf([refused])
  await t.rejects(socket.collect(new Uint8Array(16), 'routes', decode), {
    message: 'dump of routes: ENOENT: FIB table does not exist',
  })
  t.same(await socket.collect(new Uint8Array(16), 'routes', decode, [2]), [])
})

void t.test('reasons', (t) => {
  t.same(reasonOfFailure({ index: 0, errno: 1, message: '' }, 'x'), {
    code: 'permission',
    object: 'x',
    reason: 'EPERM',
    next: 'the agent needs CAP_NET_ADMIN',
  })
  t.same(reasonOfFailure({ index: 0, errno: 9999, message: '' }, 'x'), {
    code: 'netlink',
    object: 'x',
    reason: 'errno 9999',
  })
  t.end()
})
