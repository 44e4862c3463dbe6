/** The version of this package, from its package.json. */
import { readFileSync } from 'node:fs'

export function packageVersion(): string {
  // Sources and compiled files differ in depth.
  for (const folder of ['../../', '../../../']) {
    try {
      const text = readFileSync(new URL(`${folder}package.json`, import.meta.url), 'utf8')
      const { name, version } = JSON.parse(text) as { readonly name?: string; readonly version?: string }
      if (name === 'linkspan' && version !== undefined) return version
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
  }
  return 'unknown'
}
