/**
 * `ca rollover`: another key for the authority, while gateways keep the old one in their config.yml. The old key signs which
 * key comes next, and the next one signs that it follows. From then on the next key signs; when all that lives is signed by
 * it, it retires the old one, which from then on signs nothing new for who stole it.
 */
import { formatReason, LinkspanError } from '../errors.ts'
import { certificateBy } from '../trust/voucher.ts'
import { makeKey, writeKey } from './authority-key.ts'
import { nameOf } from './authority-book.ts'
import { readAuthority } from './authority-view.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { passphraseOf } from './ca-option.ts'
import type { KeyMakingOptions } from './ca-option.ts'
import { stands } from './certify.ts'
import { print, say } from './output.ts'
import { newPassphrase } from './passphrase.ts'

export interface RolloverOptions extends KeyMakingOptions {
  readonly finish: boolean
  readonly 'next-passphrase-file'?: string
}

/** Documents that are in the way, listed in a message. */
const listed = 20

export async function rollOver(options: RolloverOptions): Promise<void> {
  if (options.finish) await withAuthority(options, (authority) => finish(options, authority))
  else await begin(options)
}

async function begin(options: RolloverOptions): Promise<void> {
  refuseUnderWay((await readAuthority(options)).book.authorities.trusted)
  // The new passphrase after the old one: whoever has not the key need not think of one.
  await withAuthority(options, async (authority) => {
    const { book, view } = authority
    refuseUnderWay(book.authorities.trusted)
    refuseUnused(authority)
    const { none } = passphraseOf(options)
    const file = options['next-passphrase-file'] ?? (none ? undefined : options['passphrase-file'])
    const passphrase = await newPassphrase(
      { none, ...(file === undefined ? {} : { file }) },
      'the next key of the authority',
    )
    const next = makeKey(view.directory)
    await writeKey(next.path, next.key, passphrase)
    const encrypted = passphrase !== undefined
    passphrase?.fill(0)
    const current = book.signer
    const said = book.all('authority').find(({ kid }) => kid === current)?.document.payload
    const payload = {
      fabric: authority.state.fabric,
      serial: authority.serial(Date.now()),
      next: next.kid,
      proof: authority.proof(next.key),
      retired: said?.retired ?? [],
    }
    const [written] = await authority.commit([{ type: 'authority', payload }])
    const path = written?.place ?? ''
    const text = [
      `made the next key of the authority: ${next.path}`,
      `wrote ${path}: ${next.kid} follows ${current} and signs from now on`,
      '  gateways need no change: their `authority:` line leads to the new key',
      '  next: linkspan ca renew --all signs what is in force anew; when all gateways have read it: linkspan ca rollover --finish',
    ]
    print(options, { current, next: next.kid, path, key: next.path, encrypted }, text.join('\n'))
    if (!encrypted)
      say(`note: the key is stored unencrypted: whoever can read ${next.path} can speak for the whole fabric`)
  })
}

async function finish(options: RolloverOptions, authority: Authority): Promise<void> {
  const { book, state, view } = authority
  const older = [...book.authorities.trusted].filter((kid) => kid !== book.signer)
  if (older.length === 0) {
    const reason = 'no rollover is under way: one key is trusted'
    throw new LinkspanError({
      code: 'usage',
      object: 'ca rollover --finish',
      reason,
      next: 'linkspan ca rollover begins one',
    })
  }
  const missing = unsigned(authority)
  if (missing.length > 0) throw inTheWay(missing)
  // What cannot be read may be one of them.
  const [unreadable] = view.bag.unreadable
  if (unreadable !== undefined)
    throw new LinkspanError({
      ...unreadable,
      reason: `${formatReason(unreadable)}: it may be signed by the old key`,
    })
  const said = book.all('authority').find(({ kid }) => kid === book.signer)?.document.payload
  const payload = {
    ...(said ?? { fabric: state.fabric }),
    serial: authority.serial(Date.now()),
    retired: older,
  }
  const [written] = await authority.commit([{ type: 'authority', payload }])
  const path = written?.place ?? ''
  const files = view.keys.filter(({ kid }) => kid !== book.signer).map((file) => file.path)
  const text = [
    `retired ${older.join(', ')}: wrote ${path}, serial ${payload.serial}`,
    `  ${book.signer} is the only key of the authority; new gateways may have it as their \`authority:\` line`,
    '  keep the documents under authority/ in the registry: gateways with the old line find the new key by them',
    '  was the old key stolen? What it had signed by now stays: revoke identities of gateways that are not yours',
    ...(files.length > 0 ? [`  no longer needed, delete: ${files.join(', ')}`] : []),
  ]
  print(options, { retired: older, authority: book.signer, path, serial: payload.serial }, text.join('\n'))
}

/** What is in force and not signed by the new key, or not in the registry as it was signed. */
function unsigned({ book, view, fabric }: Authority): string[] {
  const there = new Set(view.there.map(({ hash, kid }) => `${kid} ${hash}`))
  const nowMs = Date.now()
  const live = book.documents.filter(({ document }) => {
    if (document.type === 'certificate') return stands(fabric, document.payload, nowMs)
    if (document.type === 'voucher' && book.certificate(document.payload.gateway) === undefined)
      return stands(fabric, certificateBy(document.payload, { identity: '' }), nowMs)
    return document.type === 'fabric'
  })
  return live.flatMap((issued) => {
    if (issued.kid !== book.signer) return [`${nameOf(issued)}: signed by the old key`]
    return there.has(`${issued.kid} ${issued.hash}`)
      ? []
      : [`${nameOf(issued)}: signed, but not in the registry`]
  })
}

function inTheWay(missing: readonly string[]): LinkspanError {
  const more = missing.length > listed ? `\n  and ${missing.length - listed} more` : ''
  const list = missing.slice(0, listed).map((line) => `\n  ${line}`)
  return new LinkspanError({
    code: 'conflict',
    object: 'ca rollover --finish',
    reason: `${missing.length} documents in force would be unknown to new gateways:${list.join('')}${more}`,
    next: 'linkspan ca renew --all',
  })
}

/** An authority that signed nothing yet can simply be made anew. */
function refuseUnused({ book }: Authority): void {
  if (book.fabric !== undefined) return
  const reason = 'this authority has signed no fabric document yet, so no gateway would follow'
  throw new LinkspanError({
    code: 'usage',
    object: 'ca rollover',
    reason,
    next: 'linkspan ca fabric FILE.yml',
  })
}

function refuseUnderWay(trusted: ReadonlySet<string>): void {
  if (trusted.size < 2) return
  const reason = 'a rollover is under way'
  const next = 'linkspan ca renew --all, then linkspan ca rollover --finish'
  throw new LinkspanError({ code: 'conflict', object: 'ca rollover', reason, next })
}
