/** The name of a document's place, the same in every kind of registry. It carries no trust. */
import type { Signed } from '../model/document.ts'

/** `fabric`, `certificates/aws-a`, `records/aws-a`, `authority/<key>`. */
export function documentName({ document, kid }: Signed): string {
  const { type, payload } = document
  if (type === 'fabric') return type
  // The parser lets no name with a slash through, and none that begins with a dot.
  return type === 'authority' ? `authority/${kid}` : `${type}s/${payload.gateway}`
}
