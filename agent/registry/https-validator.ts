/**
 * What a server gives a body to be asked by again: "send it only if it is another one" (RFC 9110, section 13). The answer
 * 304 is a claim of the server, and there are two ways in which honest servers are wrong:
 *
 * - Times have one second. A file that is replaced twice within a second keeps its Last-Modified, and, with the same size,
 *   the ETag that nginx makes of both. So a body that was modified less than two seconds before it was sent is not asked for
 *   by name the next time (RFC 9110, section 8.8.2.2, has the rule for Last-Modified alone).
 * - An ETag that stays while the body changes. Where that is seen, conditions of that server are not used any more.
 *
 * A dishonest one can only delay news, as every registry can; that is what `freshUntil` is for.
 */
import type { IncomingHttpHeaders } from 'node:http'

export interface Validator {
  /** Where the body came from, without query: links of object stores are signed anew each time. */
  readonly place: string
  readonly etag?: string
  readonly lastModified?: string
}

const settledMs = 2000

export function placeOf({ origin, pathname }: URL): string {
  return `${origin}${pathname}`
}

/** Undefined where the next request must be without conditions. */
export function validatorOf(url: URL, headers: IncomingHttpHeaders): Validator | undefined {
  const { etag = '', 'last-modified': modified = '', date = '' } = headers
  const ageMs = timeOf(date) - timeOf(modified)
  if (ageMs < settledMs) return undefined
  // What goes back to the server has its form.
  if (/^(?:W\/)?"[\x21\x23-\x7e]{0,1000}"$/.test(etag)) return { place: placeOf(url), etag }
  return ageMs >= settledMs ? { place: placeOf(url), lastModified: modified } : undefined
}

/** Headers that ask by it; none where it is of another place. Weak ETags serve as well as strong ones. */
export function conditionOf(url: URL, validator: Validator | undefined): Readonly<Record<string, string>> {
  if (validator?.place !== placeOf(url)) return {}
  if (validator.etag !== undefined) return { 'if-none-match': validator.etag }
  return validator.lastModified === undefined ? {} : { 'if-modified-since': validator.lastModified }
}

/** Ms that a server asks us to wait; undefined where it does not. A time is taken against the server's own clock. */
export function retryAfterOf(headers: IncomingHttpHeaders, nowMs: number): number | undefined {
  const { 'retry-after': after = '', date = '' } = headers
  if (/^[0-9]{1,9}$/.test(after)) return Number(after) * 1000
  const at = timeOf(after)
  if (Number.isNaN(at)) return undefined
  const sent = timeOf(date)
  return Math.max(0, at - (Number.isNaN(sent) ? nowMs : sent))
}

/** An HTTP date (RFC 9110, section 5.6.7) in Unix ms; NaN for others. Date.parse() takes "-1" for a year. */
function timeOf(text: string): number {
  return /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$/.test(text) ? Date.parse(text) : NaN
}
