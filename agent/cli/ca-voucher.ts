/**
 * `ca voucher`: a certificate for a gateway that does not exist yet. What it will be granted is allocated and signed now; in
 * place of its identity stands a key that is made here and used once. The gateway boots with that key and signs its identity
 * with it, and nobody need be at hand.
 */
import { randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { unlink } from 'node:fs/promises'
import { resolve } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Document, Voucher } from '../model/document.ts'
import { namePattern } from '../model/fabric.ts'
import type { Certificate, Name, Site } from '../model/fabric.ts'
import { defaultVoucherFile } from '../model/config.ts'
import { kidOf, privateKeyOf } from '../trust/envelope.ts'
import { nameHint, nameRule } from '../trust/payload.ts'
import { voucherBy } from '../trust/voucher.ts'
import { grantsOf } from './authority-book.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { integerOf } from './ca-option.ts'
import type { GrantOptions, SigningOptions } from './ca-option.ts'
import { certify, grantsWanted } from './certify.ts'
import { print, say } from './output.ts'
import { voucherText, writeVoucher } from './voucher-file.ts'

export interface VoucherOptions extends SigningOptions, GrantOptions {
  readonly gateway: string
  readonly site: string
  readonly provider: string | undefined
  readonly region: string | undefined
  readonly hours: string
  readonly replace: boolean
  readonly out: string | undefined
  readonly stdout: boolean
}

const hourMs = 3_600_000

export async function issueVoucher(options: VoucherOptions): Promise<void> {
  const { gateway, stdout } = options
  if (stdout && (options.json || options.out !== undefined)) {
    const reason = 'is for the key alone: it goes with neither --json nor --out'
    throw new LinkspanError({ code: 'usage', object: '--stdout', reason, next: 'leave one of them out' })
  }
  const hours = integerOf('--hours', options.hours, 1, 24)
  // There is no request to take them from.
  const wanted = { prefixes: [], networks: [], ...grantsWanted(options), replace: true }
  checkName('the gateway', gateway)
  checkName('--site', options.site)
  await withAuthority(options, async (authority) => {
    const { book, state, fabric } = authority
    refuseHeld(authority, options)
    const nowMs = Date.now()
    const privateKey = privateKeyOf(randomBytes(32))
    const key = kidOf(privateKey)
    const certificates = grantsOf(book)
    const site = siteOf(options, certificates)
    const request = { fabric: fabric.fabric, gateway, identity: key, site, prefixes: [], networks: [] }
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
    const voucher = voucherBy(certificate, key, nowMs + hours * hourMs)
    const document: Document = { type: 'voucher', payload: voucher }
    // What gateways would refuse of the certificate that it becomes is refused here.
    const [refused] = authority.refusals([{ type: 'certificate', payload: certificate }], nowMs)
    if (refused !== undefined) throw new LinkspanError({ ...refused, code: 'usage' })
    for (const warning of warnings) say(`note: ${warning}`)
    authority.number(gateway, voucher.number)
    const file = stdout ? undefined : resolve(options.out ?? `${gateway}.voucher`)
    const path = await bringOut(authority, document, privateKey, file)
    if (stdout) {
      say(described(path, voucher, 'the key on stdout'))
      process.stdout.write(voucherText(privateKey))
    } else {
      print(options, { path, file, ...document }, described(path, voucher, file ?? ''))
    }
  })
}

/** First the key: a voucher without one is worth nothing, and a key without its voucher is nothing. */
async function bringOut(
  authority: Authority,
  document: Document,
  key: KeyObject,
  file: string | undefined,
): Promise<string> {
  if (file !== undefined) await writeVoucher(file, key)
  try {
    const [written] = await authority.commit([document])
    return written?.place ?? ''
  } catch (error) {
    // What was signed is put into the registry by the next command, and then the key is wanted.
    const isSigned = authority.book
      .all('voucher')
      .some(({ document: { payload } }) => payload.key === kidOf(key))
    if (file !== undefined && !isSigned) await unlink(file)
    throw error
  }
}

/** Throws `usage` where the gateway has a certificate, which outranks all vouchers, or a voucher. */
function refuseHeld({ book }: Authority, { gateway, replace }: VoucherOptions): void {
  const refuse = (reason: string, next: string): LinkspanError =>
    new LinkspanError({ code: 'usage', object: `gateway ${gateway}`, reason, next })
  if (book.certificate(gateway) !== undefined) {
    const next = `certify it anew: linkspan ca issue --replace ${gateway}; or give the new one another name`
    throw refuse('has a certificate, which outranks a voucher', next)
  }
  const before = book.all('voucher').find(({ document }) => document.payload.gateway === gateway)
  if (before === undefined) return
  if (!replace)
    throw refuse(
      'has a voucher already',
      'give --replace for another one; who claimed that one counts no longer',
    )
  say(
    `note: the voucher ${before.document.payload.serial} of ${gateway} counts no longer, nor does who claimed it`,
  )
}

/** As other gateways of the site have it, as far as it is not said. */
function siteOf(
  { site: name, provider, region }: VoucherOptions,
  certificates: readonly Certificate[],
): Site {
  const known = certificates.find(({ site }) => site.name === name)?.site
  return {
    name,
    provider: provider ?? known?.provider ?? '',
    region: region ?? known?.region ?? '',
    labels: known?.labels ?? {},
  }
}

function checkName(object: string, text: Name): void {
  if (namePattern.test(text)) return
  const hint = nameHint(text)
  throw new LinkspanError({
    code: 'usage',
    object,
    reason: `expected ${nameRule}, found "${text}"`,
    ...(hint === undefined ? {} : { next: hint }),
  })
}

function described(path: string, voucher: Voucher, file: string): string {
  const { gateway, number, plane, site, until, notAfter } = voucher
  const prefixes = voucher.prefixes.map(({ prefix }) => prefix).join(', ')
  return [
    `wrote ${path}: gateway ${gateway}, number ${number}, site ${site.name}, plane ${plane}, prefixes ${prefixes || 'none'}`,
    `  its key: ${file}, for ${gateway} as ${defaultVoucherFile}, mode 0600. Whoever has it first is ${gateway}: delete it here then`,
    `  to be claimed until ${new Date(until).toISOString()}; valid until ${new Date(notAfter).toISOString().slice(0, 10)}, serial ${voucher.serial}`,
    `  gateways that join later do not know who claimed it: when ${gateway} is up, linkspan ca issue ${gateway}`,
  ].join('\n')
}
