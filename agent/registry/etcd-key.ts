/**
 * Keys of etcd, which are bytes, and how we name them. A name is the key where that is printable ASCII, everything else as
 * %XX: one name a key, and none that writes a second line into a log. A registry's keys are those below `<prefix>/`.
 */

export interface KeyRange {
  readonly start: Uint8Array
  /** The first key that is not in it any more. */
  readonly end: Uint8Array
}

/** All keys below a prefix, itself not. */
export function keysBelow(prefix: string): KeyRange {
  // "0" follows "/" in ASCII.
  return { start: Buffer.from(`${prefix}/`), end: Buffer.from(`${prefix}0`) }
}

export function isInRange(key: Uint8Array, { start, end }: KeyRange): boolean {
  return Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0
}

/** The next key there can be. */
export function keyAfter(key: Uint8Array): Uint8Array {
  return Buffer.concat([key, Uint8Array.of(0)])
}

export function nameOfKey(key: Uint8Array): string {
  const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
  return text.replace(/[^\x21-\x24\x26-\x7e]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  })
}

/** The key of a name that nameOfKey() made. */
export function keyOfName(name: string): Uint8Array {
  const text = name.replace(/%([0-9A-F]{2})/g, (_all, code: string) =>
    String.fromCharCode(parseInt(code, 16)),
  )
  return Buffer.from(text, 'latin1')
}

/** Where a document of this key comes from, for the bags. */
export function originOf(name: string): string {
  return `etcd:${name}`
}
