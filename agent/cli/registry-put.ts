/**
 * `linkspan registry put`: signed documents into their places, by hand. What gateways would refuse is refused before anything
 * is written, all of it judged against what the registry holds, so that an older document never takes the place of a newer
 * one, nor one of two that contradict each other the place of the one that was there. Where somebody else writes meanwhile it
 * is judged again: etcd takes a document only in the place of what was judged.
 */
import { resolve } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Bag, Delivered, DocumentType, Signed } from '../model/document.ts'
import { maxFabricBytes } from '../model/document.ts'
import { documentName } from '../registry/document-name.ts'
import type { Judge } from '../registry/port.ts'
import { envelopeBytes } from '../trust/envelope.ts'
import { momentOf } from '../trust/moment.ts'
import { documentTypes, isRefusal, parseDocument } from '../trust/parse.ts'
import { formatRefusal } from '../trust/refusal.ts'
import type { Refusal } from '../trust/refusal.ts'
import { nameOf, serialOf } from '../trust/subject.ts'
import { verify } from '../trust/verify.ts'
import { readBounded } from './bounded-file.ts'
import { print, say } from './output.ts'
import { groundOf, sourceOf } from './registry-command.ts'
import type { JudgingOptions } from './registry-command.ts'
import { openRegistry, readAll, registryText, writable } from './registry-driver.ts'
import type { WritableConfig } from './registry-driver.ts'
import { originAt, placeOf, shown } from './registry-place.ts'
import type { Judged } from './registry-verdict.ts'
import { judge } from './registry-verify.ts'

export interface PutOptions extends JudgingOptions {
  readonly files: readonly string[]
}

interface Given extends Delivered {
  readonly signed: Signed
  readonly place: string
}

/** A document that is not taken in this time will not be, in ms. */
const putMs = 30_000
/** Where somebody else writes there, too. */
const mostTries = 5

export async function putDocuments(options: PutOptions): Promise<void> {
  const of = writable(await sourceOf(options))
  const given = await readGiven(options.files)
  const registry = await openRegistry(of)
  const written = new Set<string>()
  for (let tries = mostTries; ; tries--) {
    try {
      const { verdicts, held } = await judgedAgainst(options, of, given)
      for (const { place, bytes } of given) {
        const before = held.get(originAt(of, place))
        if (before !== undefined && same(before, bytes)) continue
        const asJudged: Judge = (present) => {
          if (!same(present, before)) throw new Overtaken(place)
        }
        await registry.publish?.(bytes, AbortSignal.timeout(putMs), asJudged)
        written.add(place)
      }
      for (const verdict of verdicts) remark(verdict)
      break
    } catch (error) {
      // What was judged is not what is there now. What is put already stays, and is judged with the rest.
      if (tries === 1 || !(error instanceof Overtaken)) throw error
    }
  }
  const put = given.map((one) => ({ ...one, written: written.has(one.place) }))
  print(
    options,
    {
      registry: registryText(of),
      documents: put.map(({ place, written, signed: { document } }) => ({
        place,
        type: document.type,
        name: nameOf(document),
        serial: serialOf(document),
        written,
      })),
    },
    put
      .map(({ place, written, signed: { document } }) => {
        const serial = document.type === 'request' ? '' : `, serial ${serialOf(document)}`
        return `${written ? 'put' : 'was there already:'} ${place}${serial}`
      })
      .join('\n'),
  )
}

/** What gateways make of each, and what there is, by origin. Throws where one would be refused. */
async function judgedAgainst(
  options: PutOptions,
  of: WritableConfig,
  given: readonly Given[],
): Promise<{ readonly verdicts: readonly Judged[]; readonly held: ReadonlyMap<string, Uint8Array> }> {
  const bag = await readAll(of)
  const ground = await groundOf(options, [...bag.documents, ...given])
  refuseUnseen(of, given, bag)
  const moment = momentOf(Date.now())
  const { marks, snapshot, authorities } = verify(bag.documents, { ...ground, moment })
  const known = snapshot === undefined ? {} : { incumbent: snapshot.fabric }
  const { judged } = judge(
    [...bag.documents, ...given],
    { ...ground, moment, marks, authorities, ...known },
    (origin) => placeOf(of, origin),
  )
  const own = new Set(given.map(({ origin }) => origin))
  const verdicts = judged.filter(({ origin }) => own.has(origin))
  const refused = verdicts.filter(({ standing }) => standing === 'refused')
  if (refused.length > 0)
    throw refusedError(
      given.length,
      refused.flatMap(({ refusals }) => refusals),
    )
  return { verdicts, held: new Map(bag.documents.map(({ origin, bytes }) => [origin, bytes])) }
}

/** Somebody else was quicker. */
class Overtaken extends LinkspanError {
  constructor(place: string) {
    const reason = 'somebody else put another document there meanwhile'
    const next = 'who writes there? linkspan registry watch'
    super({ code: 'registry-unreadable', object: place, reason, next })
  }
}

function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0
}

/** In the order in which they must arrive: a gateway may look in between. Throws `config-invalid` and `document-invalid`. */
async function readGiven(files: readonly string[]): Promise<Given[]> {
  const given: Given[] = []
  for (const file of files) {
    const origin = resolve(file)
    const bytes = await readFile(origin)
    const signed = parseDocument({ origin, bytes })
    if (isRefusal(signed)) throw refusedError(files.length, [signed])
    const place = documentName(signed)
    const twin = given.find((other) => other.place === place)
    if (twin !== undefined) {
      const reason = `has the same place as ${twin.origin}: ${place}`
      throw new LinkspanError({ code: 'usage', object: origin, reason, next: 'give one of the two' })
    }
    given.push({ origin, bytes, signed, place })
  }
  const first: readonly DocumentType[] = ['authority', 'fabric', 'certificate', 'voucher', 'claim']
  const order: readonly DocumentType[] = [...first, ...documentTypes.filter((type) => !first.includes(type))]
  const rank = ({ signed }: Given): number => order.indexOf(signed.document.type)
  return given.sort((a, b) => rank(a) - rank(b))
}

async function readFile(path: string): Promise<Buffer> {
  try {
    return await readBounded(path, envelopeBytes(maxFabricBytes))
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    const reason = `cannot be read: ${error instanceof Error ? error.message : String(error)}`
    throw new LinkspanError({ code: 'config-invalid', object: path, reason }, { cause: error })
  }
}

/** What lies in a place and cannot be read may be newer. */
function refuseUnseen(of: WritableConfig, given: readonly Given[], { unreadable }: Bag): void {
  for (const { place } of given) {
    const origin = originAt(of, place)
    const reason = unreadable.find(({ object }) => origin === object || origin.startsWith(`${object}/`))
    if (reason === undefined) continue
    const next = `is it older? then remove it first: linkspan registry remove ${place}`
    throw new LinkspanError({ ...reason, next: reason.code === 'permission' ? (reason.next ?? next) : next })
  }
}

function refusedError(of: number, refusals: readonly Refusal[]): LinkspanError {
  const [first] = refusals
  const texts = refusals.map(
    (refusal) => `${refusal.rule}: ${formatRefusal({ ...refusal, object: shown(refusal.object) })}`,
  )
  const lines = texts.flatMap((text) => text.split('\n')).map((line) => `\n  ${line}`)
  return new LinkspanError({
    code: 'document-invalid',
    object: of === 1 ? shown(first?.origin ?? '') : `${of} documents`,
    reason: `gateways would refuse this, so nothing was put:${lines.join('')}`,
  })
}

function remark({ name, standing, waitsFor, refusals }: Judged): void {
  if (waitsFor !== undefined) say(`note: ${name ?? ''} ${standing} for ${waitsFor}`)
  for (const refusal of standing === 'in part' ? refusals : [])
    say(`note: in part: ${refusal.rule}: ${formatRefusal(refusal)}`)
}
