/**
 * `linkspan registry remove`: takes documents out of a registry. That changes nothing for gateways that know them (DESIGN
 * "Omission is not deletion"), so it tidies up, and is no way to turn anybody out; the command says what is.
 */
import { basename, resolve } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Delivered } from '../model/document.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { nearest } from '../trust/spelling.ts'
import { nameOf } from '../trust/subject.ts'
import { print, say } from './output.ts'
import { sourceOf } from './registry-command.ts'
import type { RegistryOptions } from './registry-command.ts'
import { readAll, registryText, removeFrom, writable } from './registry-driver.ts'
import { placeOf, shown } from './registry-place.ts'

export interface RemoveOptions extends RegistryOptions {
  readonly places: readonly string[]
}

/** What lies in a registry, readable or not. */
interface Lying {
  readonly origin: string
  readonly place: string
  readonly bytes: Uint8Array | undefined
}

export async function removeDocuments(options: RemoveOptions): Promise<void> {
  const of = writable(await sourceOf(options))
  const { documents, unreadable } = await readAll(of)
  const lying = [
    ...documents.map((one: Delivered): Lying => ({ ...one, place: placeOf(of, one.origin) })),
    ...unreadable.map(({ object }): Lying => ({
      origin: object,
      place: placeOf(of, object),
      bytes: undefined,
    })),
  ].filter(({ origin, place }) => place !== '' && place !== origin)
  // All are found before the first is gone.
  const found = new Set(options.places.map((named) => find(named, lying)))
  const removed: { readonly place: string; readonly name?: string }[] = []
  for (const { origin, place, bytes } of found) {
    const signed = bytes === undefined ? undefined : parseDocument({ origin, bytes })
    await removeFrom(of, origin)
    const known = signed === undefined || isRefusal(signed) ? undefined : signed.document
    removed.push({ place, ...(known === undefined ? {} : { name: nameOf(known) }) })
  }
  print(
    options,
    { registry: registryText(of), removed },
    removed.map(({ place }) => `removed ${shown(place)}`).join('\n'),
  )
  const kept = removed.flatMap(({ place }) => (place.startsWith('requests/') ? [] : [place]))
  if (kept.length === 0) return
  say('note: this turns nobody out: gateways that know a document keep it while it holds. What ends it:')
  for (const place of kept) say(`  ${shown(place)}: ${endOf(place)}`)
}

/** How gateways are told what the absence of a document does not tell them. */
function endOf(place: string): string {
  const [folder] = place.split('/')
  const gateway = shown(basename(place))
  switch (folder) {
    case 'certificates':
    case 'vouchers':
    case 'claims':
    case 'records':
      return `linkspan ca remove ${gateway}, or where its key may be in other hands: linkspan ca revoke ${gateway}`
    case 'fabric':
      return 'a newer one: linkspan ca fabric FILE.yml. Without any, no new gateway finds its way in'
    case 'authority':
      return 'linkspan ca rollover --finish. Without it, new gateways do not know the keys after the first'
    default:
      return 'nothing need: gateways know no such place'
  }
}

function find(named: string, lying: readonly Lying[]): Lying {
  const spoken = named.replace(/\.jws$/, '')
  const exact = lying.filter(
    ({ origin, place }) =>
      place === spoken || origin === named || origin === `etcd:${named}` || origin === resolve(named),
  )
  const close = exact.length > 0 ? exact : lying.filter(({ place }) => basename(place) === spoken)
  const [only, ...more] = close
  if (only !== undefined && more.length === 0) return only
  if (only !== undefined) {
    // A directory is listed in no order.
    const places = close.map(({ place }) => shown(place)).sort()
    const reason = `may be ${places.join(' or ')}`
    throw new LinkspanError({ code: 'usage', object: shown(named), reason, next: 'give the whole place' })
  }
  const near = nearest(
    spoken,
    lying.map(({ place }) => place),
  )
  throw new LinkspanError({
    code: 'usage',
    object: shown(named),
    reason: 'is no document of this registry',
    next: near === undefined ? 'linkspan registry verify shows them' : `did you mean "${shown(near)}"?`,
  })
}
