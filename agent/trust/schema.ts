/**
 * JSON Schemas (2020-12) of what decoders accept, made by the decoders themselves: each combinator says its own part, so that
 * there is one description of a document and the schema cannot drift from it. A schema accepts all that its decoder accepts.
 * What it cannot say (one element against another, canonical form) is left to the decoder and stands in a `$comment`.
 */

export type Schema = Readonly<Record<string, unknown>>

const schemas = new WeakMap<object, () => Schema>()

/** A decoder that says what it accepts. The schema is made when somebody asks. */
export function shaped<D extends object>(schema: () => Schema, decoder: D): D {
  schemas.set(decoder, schema)
  return decoder
}

/** Throws TypeError for a decoder that does not say it. */
export function schemaOf(decoder: object): Schema {
  const schema = schemas.get(decoder)
  if (schema === undefined) throw new TypeError('a decoder without a schema')
  return schema()
}

/** Text that matches. */
export function patternSchema(pattern: RegExp, $comment?: string): Schema {
  return { type: 'string', pattern: pattern.source, ...($comment === undefined ? {} : { $comment }) }
}

const octet = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const dotted = `${octet}(\\.${octet}){3}`
/** Every IPv6 address is written like this, and some that are none. */
const colons = '[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}'
const canonical = 'in canonical form (RFC 5952)'

export const addressSchema = patternSchema(new RegExp(`^(${dotted}|${colons})$`), canonical)
export const prefixSchema = patternSchema(
  new RegExp(`^(${dotted}/([12]?[0-9]|3[0-2])|${colons}/([1-9]?[0-9]|1[01][0-9]|12[0-8]))$`),
  `${canonical}, without host bits`,
)
