/**
 * Sysctls under /proc/sys. What a value was before linkspan first wrote it is kept in the state directory, on disk before
 * the write: `down` puts it back, in the same boot. A sysctl of a link that is gone needs nothing: it went with the link.
 *
 * Writing net.ipv6.conf.all.forwarding writes every link's forwarding along (net/ipv6/addrconf.c
 * addrconf_fixup_forwarding), back as well as forth; links that differed from `all` are remembered beside it. The
 * kernel deletes default routes that came by router advertisement when forwarding goes on, save on links with accept_ra 2.
 * So accept_ra comes first in the op list, and as removals run backward `down` restores it last.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { errnoOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import type { Sysctl } from '../model/kernel-object.ts'
import { readState, writeState } from './state-file.ts'

export interface Sysctls {
  /** Those named and those remembered, as far as they exist. */
  observe(names: readonly string[]): Promise<readonly Sysctl[]>
  /** Writes the value, or the remembered one back. */
  apply(verb: 'set' | 'restore', sysctl: Sysctl): Promise<Reason | undefined>
  /** True where every value is still what was last observed or written. */
  unchanged(): Promise<boolean>
}

const bootId = 'kernel/random/boot_id'

const spreading = /^net\/ipv([46])\/conf\/all\/forwarding$/

/** What a sysctl was, and what else changed with it. */
interface Before {
  readonly value: string
  readonly beside?: Readonly<Record<string, string>>
}

export async function openSysctls(stateDirectory: string, root = '/proc/sys'): Promise<Sysctls> {
  const file = path.join(stateDirectory, 'sysctl.json')
  const boot = await readFile(path.join(root, bootId), 'utf8').then(
    (text) => text.trim(),
    () => '', // then it is never another one
  )
  const previous = new Map(Object.entries(parse(await readState(file), boot)))
  const told = new Map<string, string>()

  async function read(name: string): Promise<string | undefined> {
    try {
      return (await readFile(path.join(root, name), 'utf8')).trim()
    } catch (error) {
      if (isGone(error)) return undefined
      throw error
    }
  }

  async function write(name: string, value: string): Promise<void> {
    await writeFile(path.join(root, name), value)
    told.set(name, value)
  }

  async function save(): Promise<void> {
    const sorted = [...previous].sort(([a], [b]) => (a < b ? -1 : 1))
    await writeState(file, { boot, ...Object.fromEntries(sorted) })
  }

  async function forget(name: string): Promise<void> {
    previous.delete(name)
    await save()
  }

  async function restore(name: string): Promise<void> {
    const before = previous.get(name)
    if (before === undefined) return
    for (const [each, value] of [[name, before.value] as const, ...Object.entries(before.beside ?? {})]) {
      try {
        await write(each, value)
      } catch (error) {
        if (!isGone(error)) throw error
      }
    }
    told.delete(name)
    await forget(name)
  }

  async function set(name: string, value: string): Promise<void> {
    if (!previous.has(name)) {
      const found = await read(name)
      if (found !== undefined) {
        const beside = await besideOf(name, found)
        previous.set(name, { value: found, ...(beside === undefined ? {} : { beside }) })
        await save()
      }
    }
    await write(name, value)
  }

  /** Values that a write to `name` and back would not bring back. */
  async function besideOf(name: string, value: string): Promise<Record<string, string> | undefined> {
    const family = spreading.exec(name)?.[1]
    if (family === undefined) return undefined
    const folder = `net/ipv${family}/conf`
    const beside: Record<string, string> = {}
    for (const link of (await readdir(path.join(root, folder))).sort()) {
      const each = `${folder}/${link}/forwarding`
      const found = each === name ? undefined : await read(each)
      if (found !== undefined && found !== value) beside[each] = found
    }
    return beside
  }

  return {
    async observe(names) {
      const found: Sysctl[] = []
      told.clear()
      for (const name of new Set([...names, ...previous.keys()])) {
        const value = await read(name)
        const before = previous.get(name)
        if (value === undefined) {
          // Its link is gone: remembered for nobody. The file follows with the next write: looking changes nothing.
          previous.delete(name)
          continue
        }
        told.set(name, value)
        found.push({
          kind: 'sysctl',
          name,
          value,
          ...(before === undefined ? {} : { previous: before.value }),
        })
      }
      return found
    },
    async apply(verb, { name, value }) {
      try {
        await (verb === 'restore' ? restore(name) : set(name, value))
        return undefined
      } catch (error) {
        const denied = hasCode(error, 'EACCES') || hasCode(error, 'EPERM') || hasCode(error, 'EROFS')
        return {
          code: denied ? 'permission' : 'netlink',
          object: `sysctl ${name.replaceAll('/', '.')}`,
          reason: error instanceof Error ? error.message : String(error),
          ...(denied ? { next: 'the agent must be allowed to write below /proc/sys/net' } : {}),
        }
      }
    },
    async unchanged() {
      for (const [name, value] of told) {
        const found = await read(name)
        if (found !== undefined && found !== told.get(name) && value === told.get(name)) return false
      }
      return true
    },
  }
}

function isGone(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')
}

function hasCode(error: unknown, code: string): boolean {
  return errnoOf(error) === code
}

/**
 * What is not of this form is left out: a foreign value must never be written to /proc/sys. After a reboot nothing is left
 * of what was written, nor of what was before: the values of the new boot are the ones to put back.
 */
function parse(content: unknown, boot: string): Readonly<Record<string, Before>> {
  const parsed: Record<string, Before> = {}
  const { boot: written, ...names } = recordOf(content)
  if (written !== boot) return parsed
  for (const [name, before] of Object.entries(names)) {
    const { value, beside } = recordOf(before)
    if (typeof value !== 'string' || !isName(name)) continue
    const values = Object.entries(recordOf(beside)).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string' && isName(entry[0]),
    )
    parsed[name] = { value, ...(beside === undefined ? {} : { beside: Object.fromEntries(values) }) }
  }
  return parsed
}

function isName(name: string): boolean {
  return name.startsWith('net/') && !name.split('/').includes('..')
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
