/** `ca init`: the key of a new authority, and the line by which gateways know it. */
import { LinkspanError } from '../errors.ts'
import { namePattern } from '../model/fabric.ts'
import { quoted } from '../trust/excerpt.ts'
import { nameHint, nameRule } from '../trust/payload.ts'
import { readIssued } from './authority-book.ts'
import { keyFiles, makeKey, writeKey } from './authority-key.ts'
import { openAuthorityRegistry } from './authority-registry.ts'
import { readState, writeState } from './authority-state.ts'
import { makeDirectory } from './authority-view.ts'
import { directoryOf, passphraseOf } from './ca-option.ts'
import type { KeyMakingOptions } from './ca-option.ts'
import { print, say } from './output.ts'
import { newPassphrase } from './passphrase.ts'
import { registryOf, registryOption } from './registry-option.ts'
import { withAuthorityLock } from './authority-lock.ts'

export interface InitOptions extends KeyMakingOptions {
  readonly fabric: string
}

export async function initAuthority(options: InitOptions): Promise<void> {
  const { fabric } = options
  if (!namePattern.test(fabric)) {
    const hint = nameHint(fabric)
    const reason = `expected ${nameRule}, found ${quoted(fabric)}`
    throw new LinkspanError({
      code: 'usage',
      object: 'FABRIC',
      reason,
      ...(hint === undefined ? {} : { next: hint }),
    })
  }
  const option = options.registry === undefined ? undefined : await registryOption(options.registry)
  if (option !== undefined) openAuthorityRegistry(registryOf(option, fabric))
  const directory = directoryOf(options)
  // Looked at before a passphrase is asked for, and again when nobody else can do the same.
  await refuseExisting(directory)
  const passphrase = await newPassphrase(passphraseOf(options), 'the key of the authority')
  await makeDirectory(directory)
  const { kid, path } = await withAuthorityLock(directory, async (lock) => {
    await refuseExisting(directory)
    const made = makeKey(directory)
    await lock.check()
    const state = { fabric, root: made.kid, serial: 0, numbers: new Map<string, number>(), pending: [] }
    // The state first: without its key it binds nobody, and is written over.
    await writeState(directory, option === undefined ? state : { ...state, registry: option.text })
    await writeKey(made.path, made.key, passphrase)
    return made
  })
  const encrypted = passphrase !== undefined
  passphrase?.fill(0)
  const text = [
    `made the authority of the fabric ${fabric}: ${path}`,
    'write this line into config.yml of every gateway:',
    '',
    `authority: ${kid}`,
  ].join('\n')
  print(options, { fabric, authority: kid, path, encrypted }, text)
  if (!encrypted)
    say(`note: the key is stored unencrypted: whoever can read ${path} can speak for the whole fabric`)
  say(
    `note: keep a copy of ${directory} in a safe place: without its key no gateway can be added, renewed or revoked`,
  )
}

/** Never over an existing key, nor over the memory of an authority whose key is kept elsewhere. */
async function refuseExisting(directory: string): Promise<void> {
  const [key] = await keyFiles(directory)
  const state = await readState(directory)
  const reason =
    key !== undefined
      ? `holds an authority already: ${key.kid}`
      : (state?.serial ?? 0) > 0 || (await readIssued(directory)).length > 0
        ? `holds the book of an authority whose key is not here: ${state?.root ?? 'key unknown'}`
        : undefined
  if (reason === undefined) return
  const next = 'name another directory for this one: --ca DIRECTORY'
  throw new LinkspanError({ code: 'conflict', object: directory, reason, next })
}
