/**
 * WireGuard public keys, as the base64 text that `wg` prints. Private keys are no part of the model: they live in
 * registry-independent files of mode 0600 and enter only the driver, so nothing that is printed, diffed or logged can hold one.
 */

declare const publicKeyBrand: unique symbol

/** Curve25519 public key: 44 characters of base64, canonical. */
export type PublicKey = string & { readonly [publicKeyBrand]: true }

/** 32 bytes are 43 characters and one pad; the last character carries 4 significant bits, so the other two must be 0. */
export const publicKeyPattern = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/

export function parsePublicKey(text: string): PublicKey | undefined {
  return publicKeyPattern.test(text) ? (text as PublicKey) : undefined
}
