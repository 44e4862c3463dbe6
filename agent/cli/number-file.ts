/** numbers.json: every number ever given out, so that none is given twice although certificates get deleted. */
import { join } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { LinkspanError } from '../errors.ts'
import type { Name } from '../model/fabric.ts'
import { parseJson } from '../trust/json.ts'
import { readBounded } from './bounded-file.ts'

/** 65,534 numbers with names of 63 characters. */
const maxBytes = 8 * 1024 * 1024

/** By gateway; none where there is no file. Throws `config-invalid` where it is damaged. */
export async function readNumbers(directory: string): Promise<Map<Name, number>> {
  const path = join(directory, 'numbers.json')
  let text: string
  try {
    text = (await readBounded(path, maxBytes)).toString()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return new Map()
    throw error
  }
  const parsed = parseJson(text)
  if ('value' in parsed && typeof parsed.value === 'object' && parsed.value !== null) {
    const entries = Object.entries(parsed.value as Record<string, unknown>)
    if (entries.every((entry): entry is [Name, number] => typeof entry[1] === 'number'))
      return new Map(entries)
  }
  const next =
    'restore it, or delete it: then numbers of gateways whose certificates are gone are given out again'
  throw new LinkspanError({ code: 'config-invalid', object: path, reason: 'is damaged', next })
}

export async function writeNumbers(directory: string, numbers: ReadonlyMap<Name, number>): Promise<void> {
  const inOrder = [...numbers].sort(([, a], [, b]) => a - b)
  await writeAtomically(
    join(directory, 'numbers.json'),
    `${JSON.stringify(Object.fromEntries(inOrder), null, 2)}\n`,
  )
}
