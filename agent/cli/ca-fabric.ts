/**
 * `ca fabric`: the fabric document, from a YAML file or, without one, as it is in force with new dates. What would not be
 * accepted by running gateways is refused here; what says nothing new is written only when its time is nearly up.
 */
import { isDeepStrictEqual } from 'node:util'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import type { Fabric } from '../model/fabric.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { formatRefusal } from '../trust/refusal.ts'
import { succession } from '../trust/rule.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { refusalsOf } from './authority-view.ts'
import { dayMs, integerOf } from './ca-option.ts'
import type { SigningOptions } from './ca-option.ts'
import { fabricOf } from './fabric-file.ts'
import { print, say } from './output.ts'
import { YamlFile } from './yaml.ts'

export interface FabricOptions extends SigningOptions {
  readonly file?: string
  readonly 'fresh-days': string
}

export async function issueFabric(options: FabricOptions): Promise<void> {
  const days = integerOf('--fresh-days', options['fresh-days'], 1, 3650)
  const yaml = options.file === undefined ? undefined : await YamlFile.read(options.file)
  // What is wrong by itself makes no directory, and asks for no passphrase.
  const alone = yaml === undefined ? undefined : fabricOf(yaml, undefined, { serial: 0, freshUntil: 0 })
  const work = (authority: Authority): Promise<void> => replaceFabric(options, authority, yaml, days)
  await withAuthority(options, work, {
    create: true,
    ...(alone === undefined ? {} : { fabric: alone.fabric }),
  })
}

async function replaceFabric(
  options: FabricOptions,
  authority: Authority,
  yaml: YamlFile | undefined,
  days: number,
): Promise<void> {
  const { state, book, view } = authority
  for (const reason of view.bag.unreadable) if (view.bag.complete) say(`unreadable: ${formatReason(reason)}`)
  refuseOthers(authority)
  const nowMs = Date.now()
  const incumbent = book.fabric?.document.payload
  const issue = { serial: authority.serial(nowMs), freshUntil: nowMs + days * dayMs }
  const payload = yaml === undefined ? { ...authority.fabric, ...issue } : fabricOf(yaml, incumbent, issue)
  if (payload.fabric !== state.fabric) {
    const reason = `this is the authority of the fabric ${state.fabric}`
    const problem = {
      path: ['fabric'],
      part: 'value',
      reason,
      hint: 'name another by --ca DIRECTORY',
    } as const
    throw (
      yaml?.error([problem]) ?? new LinkspanError({ code: 'config-invalid', object: payload.fabric, reason })
    )
  }
  if (incumbent !== undefined) {
    const refusal = succession(options.file ?? 'the fabric document', incumbent, payload)
    if (refusal !== undefined) throw new LinkspanError({ ...refusal, code: 'config-invalid' })
    sayKept(payload, yaml)
    if (isCurrent(authority, incumbent, payload, nowMs, days)) {
      const until = new Date(incumbent.freshUntil).toISOString().slice(0, 10)
      const text = `unchanged: the fabric document in force says the same, serial ${incumbent.serial}, fresh until ${until}`
      print(options, { type: 'fabric', payload: incumbent, unchanged: true }, text)
      return
    }
  }
  const [written] = await authority.commit([{ type: 'fabric', payload }])
  for (const refusal of refusalsOf(authority.book, state.fabric, nowMs)) say(formatRefusal(refusal))
  const underlays = payload.underlays.map(({ name }) => name).join(', ')
  const path = written?.place ?? ''
  print(
    options,
    { path, type: 'fabric', payload },
    `wrote ${path}: fabric ${payload.fabric}, serial ${payload.serial}, underlays ${underlays}`,
  )
}

/** It says the same, is signed by the key that signs now, is in the registry, and fresh for a third of its time. */
function isCurrent(
  authority: Authority,
  incumbent: Fabric,
  payload: Fabric,
  nowMs: number,
  days: number,
): boolean {
  const { book, view } = authority
  const issued = book.fabric
  const same = isDeepStrictEqual(
    { ...incumbent, serial: 0, freshUntil: 0 },
    { ...payload, serial: 0, freshUntil: 0 },
  )
  const isThere = view.there.some(({ hash, kid }) => hash === issued?.hash && kid === issued.kid)
  return same && isThere && issued?.kid === book.signer && incumbent.freshUntil - nowMs > (days * dayMs) / 3
}

/** What an older command ended stays ended; somebody may have meant to undo it by taking it out of the file. */
function sayKept({ removed, revoked }: Fabric, yaml: YamlFile | undefined): void {
  if (yaml === undefined) return
  const given = fabricOf(yaml, undefined, { serial: 0, freshUntil: 0 })
  for (const gateway of removed.filter((name) => !given.removed.includes(name))) {
    say(
      `note: ${gateway} stays removed, though the file does not list it: linkspan ca remove ${gateway} --undo`,
    )
  }
  const more =
    revoked.serials.length +
    revoked.identities.length -
    given.revoked.serials.length -
    given.revoked.identities.length
  if (more > 0)
    say(`note: ${more} revocations stay, though the file does not list them: a revocation is for good`)
}

/** Somebody else's fabric document is not written over; one that is broken is. */
function refuseOthers({ book, view }: Authority): void {
  const isFabric = ({ origin }: Delivered): boolean => /(^|\/)fabric(\.jws)?$/.test(origin)
  for (const delivered of view.bag.documents.filter(isFabric)) {
    const parsed = parseDocument(delivered)
    if (isRefusal(parsed)) say(`replacing a fabric document that is refused:\n${formatRefusal(parsed)}`)
    else if (!book.authorities.trusted.has(parsed.kid) && !book.authorities.retired.has(parsed.kid)) {
      const reason = `is signed by another authority, ${parsed.kid}; this is ${book.signer}`
      const next = 'use a registry of its own for each fabric, or delete that document'
      throw new LinkspanError({ code: 'conflict', object: delivered.origin, reason, next })
    }
  }
}
