/**
 * Sysctls under /proc/sys. What a value was before linkspan first wrote it is kept in the state directory, on disk before
 * the write: `down` puts it back. A sysctl of a link that is gone needs nothing: it went with the link.
 */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Reason } from '../errors.ts'
import type { Sysctl } from '../model/kernel-object.ts'
import type { Op } from '../model/op.ts'
import { readState, writeState } from './state-file.ts'

export interface Sysctls {
  /** Those named and those remembered, as far as they exist. */
  observe(names: readonly string[]): Promise<readonly Sysctl[]>
  apply(op: Op & { readonly object: Sysctl }): Promise<Reason | undefined>
}

export async function openSysctls(stateDirectory: string, root = '/proc/sys'): Promise<Sysctls> {
  const file = path.join(stateDirectory, 'sysctl.json')
  const previous = new Map(Object.entries(valuesOf(await readState(file))))

  async function read(name: string): Promise<string | undefined> {
    try {
      return (await readFile(path.join(root, name), 'utf8')).trim()
    } catch (error) {
      if (isGone(error)) return undefined
      throw error
    }
  }

  async function save(): Promise<void> {
    await writeState(file, Object.fromEntries([...previous].sort()))
  }

  async function restore(name: string): Promise<void> {
    const value = previous.get(name)
    if (value === undefined) return
    try {
      await writeFile(path.join(root, name), value)
    } catch (error) {
      if (!isGone(error)) throw error
    }
    previous.delete(name)
    await save()
  }

  async function set(name: string, value: string): Promise<void> {
    if (!previous.has(name)) {
      const found = await read(name)
      if (found !== undefined) {
        previous.set(name, found)
        await save()
      }
    }
    await writeFile(path.join(root, name), value)
  }

  return {
    async observe(names) {
      const found: Sysctl[] = []
      for (const name of new Set([...names, ...previous.keys()])) {
        const value = await read(name)
        const before = previous.get(name)
        if (value === undefined) {
          // Its link is gone: remembered for nobody. A link of that name made later starts anew.
          if (before !== undefined) {
            previous.delete(name)
            await save()
          }
          continue
        }
        found.push({ kind: 'sysctl', name, value, ...(before === undefined ? {} : { previous: before }) })
      }
      return found
    },
    async apply(op) {
      const { name, value } = op.object
      try {
        await (op.verb === 'remove' ? restore(name) : set(name, value))
        return undefined
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        return { code: 'netlink', object: `sysctl ${name.replaceAll('/', '.')}`, reason }
      }
    },
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}

function valuesOf(content: unknown): Readonly<Record<string, string>> {
  if (typeof content !== 'object' || content === null) return {}
  return Object.fromEntries(
    Object.entries(content).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}
