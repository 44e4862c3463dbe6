/**
 * Places in a registry, as people name them: `records/aws-a`, the same in every kind of registry. Where a document came from
 * is told by its origin, which each kind writes in its own way, and which may be a name that a stranger chose.
 */
import type { RegistryConfig } from '../model/config.ts'

/** `records/aws-a`; empty for the registry itself, and the origin where it lies elsewhere. */
export function placeOf(of: RegistryConfig, origin: string): string {
  const root =
    of.kind === 'file'
      ? of.directory.replace(/\/+$/, '')
      : of.kind === 'etcd'
        ? `etcd:${of.prefix}`
        : 'https:'
  if (origin === root) return ''
  const below = of.kind === 'https' ? root : `${root}/`
  return origin.startsWith(below) ? origin.slice(below.length).replace(/\.jws$/, '') : origin
}

/** Where a document of this place lies, as bags say it. */
export function originAt(of: RegistryConfig, place: string): string {
  switch (of.kind) {
    case 'file':
      return `${of.directory.replace(/\/+$/, '')}/${place}.jws`
    case 'etcd':
      return `etcd:${of.prefix}/${place}`
    case 'https':
      return `https:${place}.jws`
  }
}

/** For a terminal: a stranger's name must neither move the cursor nor begin a line. */
export function shown(text: string): string {
  return text.replace(
    /[^\x20-\x7e\u00a1-\u061b\u061d-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ud7ff]/g,
    '\ufffd',
  )
}
