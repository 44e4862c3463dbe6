/** `ca issue`: from a gateway's request to its certificate in the registry. */
import { formatReason, LinkspanError } from '../errors.ts'
import type { Document, Request } from '../model/document.ts'
import type { Certificate } from '../model/fabric.ts'
import { identityPattern } from '../trust/payload.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { integerOf } from './ca-option.ts'
import type { SigningOptions } from './ca-option.ts'
import { readRequest } from './certificate-request.ts'
import { certify, parseGrant, parseNetwork, parseSpecial, stands } from './certify.ts'
import { print, say } from './output.ts'
import { unseenCertificates, unseenError } from './unseen-certificate.ts'

export interface IssueOptions extends SigningOptions {
  readonly request: string
  readonly identity: string | undefined
  readonly plane: string | undefined
  readonly number: string | undefined
  readonly prefix: readonly string[] | undefined
  readonly network: readonly string[] | undefined
  readonly grant: readonly string[] | undefined
  readonly days: string
  readonly replace: boolean
}

export async function issueCertificate(options: IssueOptions): Promise<void> {
  const { identity } = options
  if (identity !== undefined && !identityPattern.test(identity)) {
    const reason = 'expected an Ed25519 public key: 43 characters of base64url'
    throw new LinkspanError({ code: 'usage', object: '--identity', reason, next: 'linkspan keys show' })
  }
  const wanted = {
    replace: options.replace,
    days: integerOf('--days', options.days, 1, 3650),
    ...(options.plane === undefined ? {} : { plane: integerOf('--plane', options.plane, 0, 3) }),
    ...(options.number === undefined ? {} : { number: integerOf('--number', options.number, 1, 65_534) }),
    ...(options.prefix === undefined ? {} : { prefixes: options.prefix.map(parseGrant) }),
    ...(options.network === undefined ? {} : { networks: options.network.map(parseNetwork) }),
    ...(options.grant === undefined ? {} : { grants: parseSpecial(options.grant) }),
  }
  await withAuthority(options, async (authority) => {
    const { book, state, view } = authority
    for (const reason of view.bag.unreadable) say(`unreadable: ${formatReason(reason)}`)
    const { fabric } = authority
    const request = await readRequest(options.request, view.bag.documents, identity)
    refuseUnseen(authority, request, options)
    const certificates = book.all('certificate').map(({ document }) => document.payload)
    const nowMs = Date.now()
    const { certificate, warnings } = certify(
      {
        fabric,
        certificates,
        numbers: state.numbers,
        ...(state.above === undefined ? {} : { above: state.above }),
      },
      request,
      wanted,
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

/**
 * Refuses while the registry holds certificates that nobody can make out. Of gateways that our own copies tell of nothing is
 * unknown, and that of the gateway itself may be replaced; another may have been signed elsewhere with the same key.
 */
function refuseUnseen({ book, view }: Authority, { gateway }: Request, { replace }: IssueOptions): void {
  const unseen = unseenCertificates(view.bag).filter(
    ({ gateway: of }) =>
      of === undefined || !(book.certificate(of) !== undefined || (replace && of === gateway)),
  )
  if (unseen.length > 0)
    throw unseenError(view.registry.place, 'a certificate needs all that there are', unseen)
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
