/**
 * The control socket: HTTP on /run/linkspan/linkspan.sock, for the CLI and for programs. Who may open it is the file's
 * mode: 0660, group `linkspan` where there is one. It reads; the two things it can be asked to do are an audit and a stop.
 */
import { chmod, chown, mkdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Server } from 'node:http'
import { formatOp } from '../model/op-text.ts'
import { httpServer, json, listen } from './http.ts'
import type { Events } from './event.ts'
import type { Reconciler } from './reconciler.ts'
import { schema } from './status.ts'
import type { StatusView } from './status.ts'

export const socketName = 'linkspan.sock'

export interface ControlOptions {
  readonly runDirectory: string
  readonly reconciler: Reconciler
  readonly view: StatusView
  readonly events: Events
  readonly stop: () => void
}

export async function openControl(options: ControlOptions): Promise<Server> {
  const { runDirectory, reconciler, view, events, stop } = options
  const server = httpServer({
    'GET /status': async () => json(await view.status()),
    'GET /peers': async () => json({ schema, peers: await view.peers() }),
    'GET /routes': () => json({ schema, routes: view.routes() }),
    'GET /events': (query) => json({ schema, events: events.since(Number(query.get('since') ?? 0)) }),
    'GET /plan': async () => {
      const { ops, conflicts } = await reconciler.preview(AbortSignal.timeout(30_000))
      return json({ schema, ops: ops.map((op) => ({ ...op, text: formatOp(op) })), conflicts })
    },
    'POST /audit': () => {
      reconciler.schedule.auditNow()
      return json({ schema })
    },
    'POST /stop': () => {
      setImmediate(stop)
      return json({ schema })
    },
  })
  const file = path.join(runDirectory, socketName)
  await mkdir(runDirectory, { recursive: true, mode: 0o750 })
  // We hold the lock of the namespace, so a socket that is there is a dead one's.
  await rm(file, { force: true })
  await listen(server, { path: file })
  await chmod(file, 0o660)
  const group = await groupId('linkspan')
  if (group !== undefined) {
    await chown(file, process.geteuid?.() ?? 0, group)
    await chown(runDirectory, process.geteuid?.() ?? 0, group)
  }
  server.unref()
  return server
}

/** From /etc/group: the group is a local one, made by the package (sysusers.d). */
async function groupId(name: string): Promise<number | undefined> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '')
  const line = groups.split('\n').find((each) => each.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(':')[2])
}
