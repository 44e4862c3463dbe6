/**
 * wireguard-go: WireGuard as a process per device, where the kernel has none.
 *
 * The process holds the link and its routes, so it must outlive the agent: it runs in a systemd scope of its own, or, with
 * no systemd, in a session of its own. `wireguard-go NAME` makes the link and its socket, hands both to a child and ends:
 * when it has ended without error, both are there. The child sets the link's MTU once more before it answers on the socket
 * (tun.CreateTUNFromFile), so a link is ours to change only after its first answer. It cannot be born in our link group; so
 * the name is on disk before the process starts, and a tun of a listed name is ours.
 */
import { existsSync, watch } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Exec } from './exec.ts'

export const socketDirectory = '/run/wireguard'
const listFile = 'wireguard-go.json'
const patienceMs = 2000

export interface WireGuardGo {
  /** Names whose tun links are ours. */
  readonly names: ReadonlySet<string>
  /** Makes the link; it is down, in the default group, with MTU 1420. Throws LinkspanError `exec`. */
  start(name: string, signal?: AbortSignal): Promise<void>
  /** Removes the link, which ends the process. Done where there is none. */
  stop(name: string, signal?: AbortSignal): Promise<void>
}

export interface WireGuardGoOptions {
  readonly exec: Exec
  readonly stateDirectory: string
}

export async function openWireGuardGo({ exec, stateDirectory }: WireGuardGoOptions): Promise<WireGuardGo> {
  const file = path.join(stateDirectory, listFile)
  const names = new Set(await readNames(file))
  let written = Promise.resolve()

  /** One write after the other; resolves when `names` as it is now is on disk. */
  function save(): Promise<void> {
    const next = written.then(() => writeNames(file, [...names].sort()))
    written = next.catch(() => undefined)
    return next
  }

  async function start(name: string, signal?: AbortSignal): Promise<void> {
    names.add(name)
    await save()
    await mkdir(socketDirectory, { recursive: true, mode: 0o755 })
    const options = {
      object: `link ${name}`,
      detached: true,
      complaints: 'stdout' as const,
      ...(signal === undefined ? {} : { signal }),
    }
    if (existsSync('/run/systemd/system')) {
      // A scope keeps our namespaces and sandbox; only the cgroup is another.
      const unit = `linkspan-${name}-${process.pid}-${Date.now()}`
      const scope = ['--scope', '--quiet', '--collect', `--unit=${unit}`, 'wireguard-go', name]
      try {
        await exec.run('systemd-run', scope, options)
        await answered(name)
        return
      } catch (error) {
        if (!(error instanceof LinkspanError)) throw error
        // No manager answers (a container, another user): without a scope then. Any other trouble shows itself again.
      }
    }
    await exec.run('wireguard-go', [name], options)
    await answered(name)
  }

  async function stop(name: string, signal?: AbortSignal): Promise<void> {
    try {
      await exec.run('ip', ['link', 'delete', 'dev', name], {
        object: `link ${name}`,
        ...(signal === undefined ? {} : { signal }),
      })
    } catch (error) {
      if (!(error instanceof LinkspanError && error.reason.includes('Cannot find device'))) throw error
    }
    await gone(path.join(socketDirectory, `${name}.sock`))
    names.delete(name)
    await save()
  }

  return { names, start, stop }
}

/** Waits for the child's first answer. None: what is asked of it next will say why. */
function answered(name: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(path.join(socketDirectory, `${name}.sock`))
    const end = (): void => {
      socket.destroy()
      resolve()
    }
    socket.setTimeout(patienceMs, end)
    for (const event of ['data', 'error', 'close'] as const) socket.once(event, end)
    socket.write('get=1\n\n')
  })
}

/** Waits until the process has taken its socket away; one that was killed leaves it behind, and it is removed. */
async function gone(socket: string): Promise<void> {
  if (!existsSync(socket)) return
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (!existsSync(socket)) finish()
    }
    const watcher = watch(path.dirname(socket), look)
    const timer = setTimeout(finish, patienceMs)
    function finish(): void {
      clearTimeout(timer)
      watcher.close()
      resolve()
    }
    look()
  })
  await rm(socket, { force: true })
}

async function readNames(file: string): Promise<readonly string[]> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (isMissing(error)) return []
    throw unreadable(file, error)
  }
  try {
    const names: unknown = JSON.parse(text)
    if (Array.isArray(names)) return names.filter((name) => typeof name === 'string')
  } catch (error) {
    throw unreadable(file, error)
  }
  throw unreadable(file, new TypeError('not a list of names'))
}

async function writeNames(file: string, names: readonly string[]): Promise<void> {
  const directory = path.dirname(file)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const next = `${file}.next`
  const handle = await open(next, 'w', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify(names)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(next, file)
  const folder = await open(directory, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function unreadable(file: string, cause: unknown): LinkspanError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new LinkspanError({ code: 'state-unreadable', object: file, reason }, { cause })
}
