/**
 * A gateway's request, as the operator names it: by the gateway's name in the registry, as a file, or as the line that the
 * agent prints, on stdin. Whoever can write to the registry can ask in any gateway's name, so a request counts only if it is
 * signed by the identity that it asks for, and which identity that is has to be looked at by somebody.
 */
import { resolve } from 'node:path'
import { LinkspanError } from '../errors.ts'
import type { Delivered, Request, Voucher } from '../model/document.ts'
import { maxDocumentBytes } from '../model/document.ts'
import { envelopeBytes, openEnvelope } from '../trust/envelope.ts'
import { isRefusal, parseDocument } from '../trust/parse.ts'
import { formatRefusal } from '../trust/refusal.ts'
import { refuseForgedRequest } from '../trust/rule.ts'
import { didYouMean } from '../trust/spelling.ts'
import { readBounded } from './bounded-file.ts'
import { say } from './output.ts'

const maxBytes = envelopeBytes(maxDocumentBytes)
/** Gateways that asked, listed in a message. */
const listed = 20

/** A request; or a claim, which asks for what its voucher grants. */
export interface Asked extends Request {
  readonly voucher?: Voucher
}

/**
 * `vouchers`: those that can be claimed. `named`: a gateway, a file, or /dev/stdin. `identity`: the only one that is wanted, where the operator gave it. Throws `usage` and `config-invalid`.
 */
export async function readRequest(
  named: string,
  documents: readonly Delivered[],
  identity: string | undefined,
  vouchers: readonly Voucher[] = [],
): Promise<Asked> {
  const found =
    named === '/dev/stdin'
      ? [requestOf({ origin: 'stdin', bytes: await readStdin() })]
      : named.includes('/') || named.endsWith('.jws')
        ? [requestOf({ origin: resolve(named), bytes: await readFile(named) })]
        : inRegistry(named, documents, vouchers)
  const byIdentity = new Map(found.map((request): [string, Asked] => [request.identity, request]))
  if (identity !== undefined) {
    const wanted = byIdentity.get(identity)
    if (wanted !== undefined) return wanted
    const reason = `asks with the identity ${[...byIdentity.keys()].join(' and ')}, not with the given one`
    const next = 'compare with `linkspan keys show` on the gateway'
    throw new LinkspanError({ code: 'usage', object: named, reason, next })
  }
  const [request, ...others] = byIdentity.values()
  if (request !== undefined && others.length === 0) return request
  const reason = `${byIdentity.size} requests have different identities: ${[...byIdentity.keys()].join(', ')}`
  const next = 'find out by `linkspan keys show` on the gateway which one is its own, and give --identity KEY'
  throw new LinkspanError({ code: 'usage', object: named, reason, next })
}

/** The requests of a gateway that count, at least one. */
function inRegistry(gateway: string, documents: readonly Delivered[], vouchers: readonly Voucher[]): Asked[] {
  const asking = documents.flatMap((delivered) => {
    const name = askingGateway(delivered)
    return name === undefined ? [] : [{ name, delivered }]
  })
  const own = asking.filter(({ name }) => name === gateway).map(({ delivered }) => delivered)
  const failures: unknown[] = []
  const requests = own.flatMap((delivered) => {
    try {
      return [requestOf(delivered)]
    } catch (error) {
      failures.push(error)
      return []
    }
  })
  const claims = claimsOf(
    documents,
    vouchers.filter((voucher) => voucher.gateway === gateway),
  )
  if (requests.length + claims.length > 0) {
    for (const failure of failures)
      say(`note: ${failure instanceof Error ? failure.message : String(failure)}`)
    return [...requests, ...claims]
  }
  const [failure] = failures
  if (failure !== undefined) throw failure as Error
  const names = [...new Set(asking.map(({ name }) => name))].sort()
  const known =
    names.length <= listed ? `requests are there of: ${names.join(', ')}` : didYouMean(gateway, names)
  const next = names.length > 0 ? known : 'start the agent: it writes its request'
  throw new LinkspanError({ code: 'usage', object: gateway, reason: 'there is no request', next })
}

/** What is asked by claims of these vouchers. */
export function claimsOf(documents: readonly Delivered[], vouchers: readonly Voucher[]): Asked[] {
  const byKey = new Map(vouchers.map((voucher) => [voucher.key, voucher]))
  return documents.flatMap((delivered): Asked[] => {
    const envelope = byKey.size === 0 ? undefined : openEnvelope(delivered.bytes)
    if (envelope === undefined || 'malformed' in envelope || envelope.type !== 'claim') return []
    const voucher = byKey.get(envelope.kid)
    const parsed = voucher && parseDocument(delivered)
    if (voucher === undefined || parsed === undefined || isRefusal(parsed)) return []
    const { document } = parsed
    if (document.type !== 'claim' || document.payload.gateway !== voucher.gateway) return []
    const { fabric, gateway, site, networks } = voucher
    const prefixes = voucher.prefixes.map(({ prefix }) => prefix)
    return [{ fabric, gateway, identity: document.payload.identity, site, prefixes, networks, voucher }]
  })
}

/** Who a document asks for, if it looks like a request. Nothing is checked yet. */
function askingGateway({ bytes }: Delivered): string | undefined {
  const envelope = openEnvelope(bytes)
  if ('malformed' in envelope || envelope.type !== 'request') return undefined
  try {
    const payload: unknown = JSON.parse(envelope.payload.toString())
    if (typeof payload !== 'object' || payload === null || !('gateway' in payload)) return undefined
    return typeof payload.gateway === 'string' ? payload.gateway : undefined
  } catch {
    // Not JSON: nobody's request.
    return undefined
  }
}

function requestOf(delivered: Delivered): Request {
  const parsed = parseDocument(delivered)
  if (isRefusal(parsed)) throw refusedError(formatRefusal(parsed), parsed.object)
  const { document, kid } = parsed
  if (document.type !== 'request') {
    const reason = `is a ${document.type}, expected a request`
    throw new LinkspanError({ code: 'usage', object: delivered.origin, reason })
  }
  if (document.payload.identity === kid) return document.payload
  const forged = refuseForgedRequest(delivered.origin, document.payload)
  throw refusedError(formatRefusal(forged), forged.object)
}

/** `text`: as formatRefusal, which begins with the object. */
function refusedError(text: string, object: string): LinkspanError {
  return new LinkspanError({ code: 'config-invalid', object, reason: text.slice(object.length + 2) })
}

async function readFile(path: string): Promise<Buffer> {
  try {
    return trimmed(await readBounded(path, maxBytes))
  } catch (error) {
    if (error instanceof LinkspanError) throw error
    const reason = `there is no request: ${error instanceof Error ? error.message : String(error)}`
    throw new LinkspanError({ code: 'usage', object: path, reason }, { cause: error })
  }
}

async function readStdin(): Promise<Buffer> {
  const { stdin } = process
  if (stdin.isTTY) say('paste the line that the agent printed, then Enter:')
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Buffer)
    chunks.push(bytes)
    length += bytes.length
    if (length > maxBytes) {
      const reason = `is longer than ${maxBytes} bytes`
      throw new LinkspanError({ code: 'usage', object: 'stdin', reason, next: 'is it a request?' })
    }
    // Who types does not end the input.
    if (stdin.isTTY && bytes.includes(0x0a)) break
  }
  return trimmed(Buffer.concat(chunks))
}

/** Without the blanks that copying leaves around a line. */
function trimmed(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('latin1').trim(), 'latin1')
}
