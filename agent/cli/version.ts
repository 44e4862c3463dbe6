/** The version of this package, from its package.json. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { errnoOf } from '../errors.ts'

export function packageVersion(): string {
  // Sources, compiled files and test builds differ in depth.
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); ; folder = path.dirname(folder)) {
    const found = versionIn(path.join(folder, 'package.json'))
    if (found !== undefined) return found
    if (folder === path.dirname(folder)) return 'unknown'
  }
}

function versionIn(file: string): string | undefined {
  try {
    const parsed = JSON.parse(readFileSync(file, 'utf8')) as {
      readonly name?: string
      readonly version?: string
    }
    return parsed.name === 'linkspan' ? parsed.version : undefined
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
