/** `ca issue`: from a gateway's request to its certificate in the registry. */
import { formatReason, LinkspanError } from '../errors.ts'
import type { Document, Voucher } from '../model/document.ts'
import type { Certificate } from '../model/fabric.ts'
import { identityPattern } from '../trust/payload.ts'
import { grantsOf, vouchersOf } from './authority-book.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import type { GrantOptions, SigningOptions } from './ca-option.ts'
import { readRequest } from './certificate-request.ts'
import { certify, grantsWanted, stands } from './certify.ts'
import type { CertifyOptions } from './certify.ts'
import { print, say } from './output.ts'
import { count } from './table.ts'
import { unseenCertificates } from './unseen-certificate.ts'

export interface IssueOptions extends SigningOptions, GrantOptions {
  readonly request: string
  readonly identity: string | undefined
  readonly replace: boolean
}

export async function issueCertificate(options: IssueOptions): Promise<void> {
  const { identity } = options
  if (identity !== undefined && !identityPattern.test(identity)) {
    const reason = 'expected an Ed25519 public key: 43 characters of base64url'
    throw new LinkspanError({ code: 'usage', object: '--identity', reason, next: 'linkspan keys show' })
  }
  const wanted = { ...grantsWanted(options), replace: options.replace }
  await withAuthority(options, async (authority) => {
    const { book, state, view } = authority
    const { fabric } = authority
    const open = vouchersOf(book)
    const { voucher, ...request } = await readRequest(options.request, view.bag.documents, identity, open)
    tellUnreadable(authority)
    // What its voucher grants is its own.
    const isOther = ({ gateway }: Certificate): boolean =>
      gateway !== request.gateway || book.certificate(gateway) !== undefined
    const certificates = grantsOf(book).filter(isOther)
    const nowMs = Date.now()
    const { certificate, warnings } = certify(
      {
        fabric,
        certificates,
        numbers: state.numbers,
        ...(state.above === undefined ? {} : { above: state.above }),
      },
      request,
      { ...grantedBy(voucher), ...wanted },
      { serial: authority.serial(nowMs), nowMs },
    )
    const document: Document = { type: 'certificate', payload: certificate }
    // The gateways' own judgement before anything is written: what they would refuse is refused here.
    const [refused] = authority.refusals([document], nowMs)
    if (refused !== undefined) throw new LinkspanError({ ...refused, code: 'usage' })
    for (const warning of warnings) say(`note: ${warning}`)
    const before = book.certificate(certificate.gateway)?.document.payload
    if (before !== undefined && before.identity !== certificate.identity && stands(fabric, before, nowMs)) {
      const until = new Date(before.notAfter).toISOString().slice(0, 10)
      say(
        `note: the keys that ${before.gateway} had until now are certified until ${until}. If anybody else may have them: ` +
          `linkspan ca revoke --identity ${before.identity}`,
      )
    }
    authority.number(certificate.gateway, certificate.number)
    const [written] = await authority.commit([document])
    const path = written?.place ?? ''
    print(options, { path, ...document }, described(path, certificate))
  })
}

/** As the voucher has it, where nothing else is wanted. */
function grantedBy(voucher: Voucher | undefined): Partial<CertifyOptions> {
  if (voucher === undefined) return {}
  const { plane, prefixes, networks, grants } = voucher
  return { plane, prefixes, networks, grants }
}

/**
 * Tells what of the registry cannot be made out. Whoever writes there must not be able to hold up the authority: all that it
 * issued stands in its own copies, and a certificate that it does not know was signed elsewhere with the same key, if at
 * all. Where those copies are lost it is refused instead (authority-recovery.ts).
 */
function tellUnreadable({ book, view }: Authority): void {
  const unseen = unseenCertificates(view.bag)
    .filter(({ gateway }) => gateway === undefined || book.certificate(gateway) === undefined)
    .map(({ reason }) => reason)
  for (const reason of view.bag.unreadable)
    if (!unseen.includes(reason)) say(`unreadable: ${formatReason(reason)}`)
  if (unseen.length === 0) return
  say(
    `note: ${count(unseen.length, 'certificate')} in the registry cannot be made out. What this authority issued stands in ` +
      'its own copies, and nothing of it is given out twice; did another machine sign with this key?',
  )
  for (const reason of unseen) say(`  ${formatReason(reason)}`)
}

function described(path: string, { gateway, number, plane, site, ...rest }: Certificate): string {
  const prefixes = rest.prefixes.map(({ prefix }) => prefix).join(', ')
  const until = new Date(rest.notAfter).toISOString().slice(0, 10)
  return [
    `wrote ${path}: gateway ${gateway}, number ${number}, site ${site.name}, plane ${plane}, prefixes ${prefixes || 'none'}`,
    `  identity ${rest.identity}: \`linkspan keys show\` on ${gateway} must show the same`,
    `  valid until ${until}, serial ${rest.serial}`,
  ].join('\n')
}
