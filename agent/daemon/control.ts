/**
 * The control socket: HTTP on /run/linkspan/linkspan.sock, for the CLI and for programs. Who may open it is the file's
 * mode: 0660, group `linkspan` where there is one. It reads; what it can be asked to do is an audit, a drain, a rotation of
 * keys and a stop.
 */
import { chown, mkdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Server } from 'node:http'
import { LinkspanError } from '../errors.ts'
import type { Kernel } from '../kernel/port.ts'
import type { Op } from '../model/op.ts'
import { formatOp } from '../model/op-text.ts'
import type { PathEntry } from '../probe/table.ts'
import { pieces } from './breath.ts'
import type { Drain } from './drain.ts'
import type { Events } from './event.ts'
import { httpServer, json, jsonList, listen, socketName } from './http.ts'
import { pathViews } from './path-view.ts'
import type { Reconciler } from './reconciler.ts'
import type { Rotation, RotationView } from './rotation.ts'
import { routeViews } from './route-view.ts'
import { schema } from './status.ts'
import type { StatusView } from './status.ts'

const socketMode = 0o660
/** sun_path of unix(7), less the final zero; what is longer would be cut off silently. */
const maxSocketPath = 107

export interface ControlOptions {
  readonly runDirectory: string
  readonly reconciler: Reconciler
  readonly view: StatusView
  readonly events: Events
  readonly kernel: Kernel
  readonly drain: Drain
  /** Gateways of the site that could take over. */
  readonly others: () => number
  readonly rotation: Pick<Rotation, 'begin' | 'view'>
  /** What is probed. */
  readonly paths: () => Iterable<PathEntry>
  /** It was drained, or put back into service. */
  readonly onDrain: () => void
  readonly stop: () => void
}

/** Of `/keys`. */
export interface KeysView extends RotationView {
  readonly schema: number
  /** Of a request to rotate: this one began it. */
  readonly begun?: boolean
}

/** Of `/drain`. */
export interface DrainView {
  readonly schema: number
  readonly draining: boolean
  /** What hosts sent by this gateway so far, both ways. */
  readonly packets: number
  /** Gateways of the site that could take over from this one. */
  readonly others: number
}

/** Items turned into JSON at once. */
const pieceSize = 1000

/** Call it with the lock of the namespace held: a socket that is there is then a dead agent's. */
export async function openControl(options: ControlOptions): Promise<Server> {
  const { runDirectory, reconciler, view, events, kernel, drain, others, rotation, paths, stop } = options
  const drainView = async (signal: AbortSignal): Promise<DrainView> => {
    const { packets } = await kernel.carried(signal)
    return { schema, draining: drain.isOn, packets, others: others() }
  }
  const server = httpServer({
    'GET /status': async () => json(await view.status()),
    'GET /peers': async () => json({ schema, peers: await view.peers() }),
    'GET /paths': () => json({ schema, paths: pathViews(paths(), reconciler.desired) }),
    'GET /routes': () => jsonList({ schema }, 'routes', pieces(routeViews(reconciler.desired), pieceSize)),
    'GET /events': (query) => json({ schema, events: events.since(Number(query.get('since') ?? 0)) }),
    'GET /plan': async (_query, signal) => {
      const found = await reconciler.preview(signal)
      if (found === undefined) throw nothingYet((await view.status()).summary)
      return jsonList({ schema, conflicts: found.conflicts }, 'ops', pieces(withText(found.ops), pieceSize))
    },
    'POST /audit': async (_query, signal) => {
      const ops = await reconciler.auditNow(signal)
      if (ops === undefined) throw nothingYet((await view.status()).summary)
      return jsonList({ schema }, 'ops', pieces(withText(ops), pieceSize))
    },
    'GET /drain': async (_query, signal) => json(await drainView(signal)),
    'POST /drain': async (query, signal) => {
      if (drain.set(query.get('undo') === null)) {
        events.emit('notice', drain.isOn ? 'draining' : 'in-service', {})
        options.onDrain()
      }
      return json(await drainView(signal))
    },
    'GET /keys': () => json({ schema, ...rotation.view } satisfies KeysView),
    'POST /keys/rotate': async () => {
      const begun = await rotation.begin()
      return json({ schema, begun, ...rotation.view } satisfies KeysView)
    },
    'POST /stop': () => {
      setImmediate(stop)
      return json({ schema })
    },
  })
  const file = path.join(runDirectory, socketName)
  if (Buffer.byteLength(file) > maxSocketPath) {
    const reason = `is longer than the ${maxSocketPath} bytes that a socket's name may have`
    throw new LinkspanError({ code: 'usage', object: file, reason, next: 'choose another --run-directory' })
  }
  await mkdir(runDirectory, { recursive: true, mode: 0o750 })
  const group = await groupId('linkspan')
  await server.keepListening(async () => {
    await rm(file, { force: true })
    // bind(2) happens within listen(), so the socket is never wider open than this.
    const umask = process.umask(0o777 & ~socketMode)
    const listening = listen(server, { path: file })
    process.umask(umask)
    await listening
    if (group !== undefined) {
      await chown(file, process.geteuid?.() ?? 0, group)
      await chown(runDirectory, process.geteuid?.() ?? 0, group)
    }
  })
  return server
}

function* withText(ops: readonly Op[]): Generator<Op & { readonly text: string }> {
  for (const op of ops) yield { ...op, text: formatOp(op) }
}

function nothingYet(reason: string): LinkspanError {
  return new LinkspanError({ code: 'registry-unreadable', object: 'plan', reason })
}

/** From /etc/group: the group is a local one, made by the package (sysusers.d). */
async function groupId(name: string): Promise<number | undefined> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '')
  const line = groups.split('\n').find((each) => each.startsWith(`${name}:`))
  const id = Number(line?.split(':')[2])
  return Number.isInteger(id) ? id : undefined
}
