/** The directory of `linkspan ca` with the key that documents.ts signs with, so that a test can sign what no command would. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { authority, authorityKey } from './documents.ts'

/** Makes it, as `linkspan ca init --no-passphrase` would. */
export function makeAuthority(directory: string, fabric: string): void {
  mkdirSync(directory, { mode: 0o700 })
  const pem = authorityKey.export({ format: 'pem', type: 'pkcs8' })
  writeFileSync(path.join(directory, `key-${authority}.pem`), pem, { mode: 0o600 })
  const state = { version: 1, fabric, root: authority, serial: 0, numbers: {}, pending: [] }
  writeFileSync(path.join(directory, 'state.json'), JSON.stringify(state), { mode: 0o600 })
}
