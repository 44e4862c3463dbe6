/**
 * wireguard-go: WireGuard as a process per device, where the kernel has none.
 *
 * The process holds the link and its routes, so it must outlive the agent: it runs in a systemd scope of its own, since
 * whoever stops the agent's cgroup would end it, too. Only where no systemd manager answers, in a container say, it runs in
 * a session of its own; a manager that refuses is an error.
 *
 * `wireguard-go NAME` makes the link and its socket, hands both to a child and ends: when it has ended without error, both
 * are there. The child sets the link's MTU once more before it answers on the socket (tun.CreateTUNFromFile), so a link is
 * ours to change only after its first answer. It cannot be born in our link group; so the name is on disk before the
 * process starts, and a tun of a listed name is ours.
 */
import { existsSync, watch } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Exec, RunOptions } from './exec.ts'
import { readState, writeState } from './state-file.ts'
import { isWithoutManager, systemdRuns } from './systemd.ts'
import { sendLines, socketDirectory } from './wg-socket.ts'

const listFile = 'wireguard-go.json'
/** A process whose link is gone has this long, in ms, to take its socket away. */
const patienceMs = 2000
/** Says once what an operator should know and no error tells. */
export type Log = (event: string, fields: Readonly<Record<string, string>>) => void

export interface WireGuardGo {
  /** Names whose tun links are ours. */
  readonly names: ReadonlySet<string>
  /** Makes the link; it is down, in the default group, with MTU 1420. Throws LinkspanError `exec`. */
  start(name: string, signal?: AbortSignal): Promise<void>
  /** Removes the link, which ends the process. Done where there is none. */
  stop(name: string, signal?: AbortSignal): Promise<void>
  /** The link under this name is the kernel's own, or there is none. */
  forget(name: string): Promise<void>
}

export interface WireGuardGoOptions {
  readonly exec: Exec
  readonly stateDirectory: string
  readonly log?: Log
}

export async function openWireGuardGo(options: WireGuardGoOptions): Promise<WireGuardGo> {
  const { exec, stateDirectory, log } = options
  const file = path.join(stateDirectory, listFile)
  const names = new Set(namesIn(await readState(file), file))
  let told = false
  let written = Promise.resolve()

  /** One write after the other; resolves when `names` as it is now is on disk. */
  function save(): Promise<void> {
    const next = written.then(() => writeState(file, [...names].sort()))
    written = next.catch(() => undefined)
    return next
  }

  async function start(name: string, signal?: AbortSignal): Promise<void> {
    names.add(name)
    await save()
    await mkdir(socketDirectory, { recursive: true, mode: 0o755 })
    const options: RunOptions = {
      object: `link ${name}`,
      detached: true,
      complaints: 'stdout',
      ...(signal === undefined ? {} : { signal }),
    }
    const unmanaged = await inScope(name, options)
    if (unmanaged !== undefined) {
      if (!told) log?.('wireguard-go-unscoped', { object: `link ${name}`, reason: unmanaged })
      told = true
      await exec.run('wireguard-go', [name], options)
    }
    // An empty change brings no key into this process. No answer: what is asked of it next will say why.
    await sendLines(name, '')
  }

  /** Why there is no manager to make a scope; undefined where one has. */
  async function inScope(name: string, options: RunOptions): Promise<string | undefined> {
    if (!systemdRuns()) return 'systemd does not run here'
    // A scope keeps our namespaces and sandbox; only the cgroup is another.
    const unit = `linkspan-${name}-${process.pid}-${Date.now()}`
    const scope = ['--scope', '--quiet', '--collect', `--unit=${unit}`, 'wireguard-go', name]
    try {
      await exec.run('systemd-run', scope, options)
      return undefined
    } catch (error) {
      if (!(error instanceof LinkspanError)) throw error
      const { code, object, reason, next } = error
      if (isWithoutManager(error)) return reason
      throw new LinkspanError(
        { code, object, reason, next: next ?? `see \`journalctl --unit=${unit}.scope\`` },
        { cause: error },
      )
    }
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
    await forget(name)
  }

  async function forget(name: string): Promise<void> {
    names.delete(name)
    await save()
  }

  return { names, start, stop, forget }
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

function namesIn(content: unknown, file: string): readonly string[] {
  if (content === undefined) return []
  if (Array.isArray(content) && content.every((name) => typeof name === 'string')) return content
  throw new LinkspanError({
    code: 'state-unreadable',
    object: file,
    reason: 'is not a list of names',
    next: 'restore the file or remove it',
  })
}
