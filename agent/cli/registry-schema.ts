/**
 * `linkspan registry schema`: JSON Schemas (2020-12) of the documents and of config.yml, for editors and for programs that
 * make them. They come from the decoders themselves (trust/schema.ts, zod), and what they cannot say is in a `$comment`.
 */
import { z } from 'zod'
import { LinkspanError } from '../errors.ts'
import type { DocumentType } from '../model/document.ts'
import type { Decoder } from '../trust/decode.ts'
import { authority, certificate, claim, fabric, record, request, voucher } from '../trust/payload.ts'
import { schemaOf } from '../trust/schema.ts'
import type { Schema } from '../trust/schema.ts'
import { didYouMean } from '../trust/spelling.ts'
import { shape } from './config.ts'

export interface SchemaOptions {
  readonly type?: string
}

const dialect = 'https://json-schema.org/draft/2020-12/schema'

const decoders = {
  fabric,
  certificate,
  record,
  request,
  authority,
  voucher,
  claim,
} satisfies Record<DocumentType, Decoder<unknown>>

export const schemaTypes: readonly string[] = [...Object.keys(decoders), 'config']

const documentRules =
  'The payload of a signed document. Besides this schema: UTF-8, no key twice, nested at most 16 deep, no integer that ' +
  'rounds, and the rules that linkspan registry verify tells of'
const configRules =
  'Besides this schema: prefixes and addresses in canonical form, nothing in a list twice, and what belongs together in ' +
  'registry: is given together'

/** Throws `usage` for a type that there is not. */
export function schemaFor(type: string): Schema {
  if (type === 'config') {
    const { $schema, ...schema } = z.toJSONSchema(shape, {
      target: 'draft-2020-12',
      // What is written, not what becomes of it.
      io: 'input',
      unrepresentable: 'any',
    })
    return {
      $schema: $schema ?? dialect,
      title: '/etc/linkspan/config.yml',
      $comment: configRules,
      ...schema,
    }
  }
  const decoder = Object.entries(decoders).find(([name]) => name === type)?.[1]
  if (decoder === undefined) {
    const next = didYouMean(type, schemaTypes)
    throw new LinkspanError({ code: 'usage', object: type, reason: 'is no type of document', next })
  }
  const { $comment, ...schema } = schemaOf(decoder)
  const more = typeof $comment === 'string' ? `; ${$comment}` : ''
  return { $schema: dialect, title: `linkspan ${type}`, $comment: `${documentRules}${more}`, ...schema }
}

export function printSchema({ type }: SchemaOptions): void {
  const schema =
    type === undefined
      ? {
          $schema: dialect,
          $defs: Object.fromEntries(
            schemaTypes.map((each) => [each, { ...schemaFor(each), $schema: dialect }]),
          ),
        }
      : schemaFor(type)
  process.stdout.write(`${JSON.stringify(schema, undefined, 2)}\n`)
}
