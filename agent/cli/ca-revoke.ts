/**
 * `ca revoke`: a key that must not speak for its gateway any more (the identity, which ends every certificate of it), or one
 * certificate by its serial. Written into the fabric document, which every gateway reads. A revocation is for good.
 */
import { LinkspanError } from '../errors.ts'
import type { Certificate } from '../model/fabric.ts'
import { identityPattern } from '../trust/payload.ts'
import { didYouMean } from '../trust/spelling.ts'
import { certificateBy } from '../trust/voucher.ts'
import { vouchersOf } from './authority-book.ts'
import { withAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import type { SigningOptions } from './ca-option.ts'
import { editFabric } from './fabric-edit.ts'
import { print } from './output.ts'

export interface RevokeOptions extends SigningOptions {
  readonly gateway: string | undefined
  readonly serial: string | undefined
  readonly identity: string | undefined
}

interface Target {
  readonly kind: 'serials' | 'identities'
  readonly value: number | string
  /** What ends by it, as far as the book says. */
  readonly certificate: Certificate | undefined
}

export async function revoke(options: RevokeOptions): Promise<void> {
  const given = [options.gateway, options.serial, options.identity].filter((value) => value !== undefined)
  if (given.length !== 1) {
    const reason = 'expected one of a gateway, --serial and --identity'
    throw new LinkspanError({ code: 'usage', object: 'ca revoke', reason, next: 'linkspan ca revoke --help' })
  }
  await withAuthority(options, async (authority) => {
    const target = targetOf(authority, options)
    const { revoked } = authority.fabric
    const what = `${target.kind === 'serials' ? 'serial' : 'identity'} ${target.value}`
    if ((revoked[target.kind] as readonly unknown[]).includes(target.value)) {
      print(
        options,
        { ...jsonOf(target), unchanged: true, serial: authority.fabric.serial },
        `unchanged: ${what} is revoked already`,
      )
      return
    }
    const change = {
      revoked: { ...revoked, [target.kind]: [...revoked[target.kind], target.value] },
    }
    const { path, fabric } = await editFabric(authority, change, Date.now())
    const text = [
      `revoked ${what}: wrote ${path}, serial ${fabric.serial}`,
      ...consequences(authority, target),
    ]
    print(options, { ...jsonOf(target), path, serial: fabric.serial }, text.join('\n'))
  })
}

function targetOf({ book }: Authority, { gateway, serial, identity }: RevokeOptions): Target {
  const certificates = book.all('certificate').map(({ document }) => document.payload)
  const find = (is: (certificate: Certificate) => boolean): Certificate | undefined => certificates.find(is)
  if (serial !== undefined) {
    const value = /^[0-9]{1,16}$/.test(serial) ? Number(serial) : NaN
    if (!Number.isSafeInteger(value)) {
      const reason = `expected the serial of a certificate, found "${serial}"`
      throw new LinkspanError({
        code: 'usage',
        object: '--serial',
        reason,
        next: 'linkspan ca show lists them',
      })
    }
    return { kind: 'serials', value, certificate: find((one) => one.serial === value) }
  }
  if (identity !== undefined) {
    if (!identityPattern.test(identity)) {
      const reason = 'expected an Ed25519 public key: 43 characters of base64url'
      throw new LinkspanError({
        code: 'usage',
        object: '--identity',
        reason,
        next: 'linkspan ca show --json lists them',
      })
    }
    return { kind: 'identities', value: identity, certificate: find((one) => one.identity === identity) }
  }
  const certificate = find((one) => one.gateway === gateway)
  if (certificate !== undefined) return { kind: 'identities', value: certificate.identity, certificate }
  // Whoever claimed a voucher is certified by it.
  const voucher = vouchersOf(book).find((one) => one.gateway === gateway)
  if (voucher !== undefined) {
    const granted = certificateBy(voucher, { identity: voucher.key })
    return { kind: 'serials', value: voucher.serial, certificate: granted }
  }
  const names = certificates.map((one) => one.gateway).sort()
  const next = names.length > 0 ? didYouMean(gateway ?? '', names) : 'linkspan ca show'
  throw new LinkspanError({ code: 'usage', object: gateway ?? '', reason: 'has no certificate', next })
}

function consequences({ fabric }: Authority, { kind, certificate }: Target): string[] {
  if (certificate === undefined) {
    return [
      `  no certificate in force has ${kind === 'serials' ? 'it: a newer one replaced it, or it was of another fabric' : 'it'}`,
    ]
  }
  const { gateway, number, site } = certificate
  const who = `${gateway} (number ${number}, site ${site.name})`
  const back =
    kind === 'identities'
      ? `it comes back with new keys only: reinstall it, then linkspan ca issue ${gateway} --replace`
      : `it comes back with another certificate: linkspan ca issue ${gateway} --replace`
  return [
    `  every gateway drops ${who} and its prefixes as soon as it reads this, and ${gateway} itself drops its peers`,
    '  a gateway that the registry keeps this from goes on until then: `linkspan status` there shows the serial in force',
    ...(fabric.removed.includes(gateway) ? [] : [`  ${back}`]),
  ]
}

function jsonOf({ kind, value, certificate }: Target): object {
  return {
    revoked: { [kind === 'serials' ? 'serial' : 'identity']: value },
    gateway: certificate?.gateway ?? null,
  }
}
