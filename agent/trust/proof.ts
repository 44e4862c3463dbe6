/**
 * A key's word inside a document that another key signs: that it is held, and what for. It stands for nothing by itself, and
 * says of what it is the word, so that it cannot be carried over into another document.
 */
import type { KeyObject } from 'node:crypto'
import { isAuthentic, openEnvelope, seal } from './envelope.ts'

/** What is sworn: always with the same keys in the same order. */
export type Word = Readonly<Record<string, string>>

export function proofBy(key: KeyObject, word: Word): string {
  return seal('proof', JSON.stringify(word), key).trimEnd()
}

/** True where the key with this kid signed this word. */
export function isProofOf(proof: string, kid: string, word: Word): boolean {
  const envelope = openEnvelope(Buffer.from(proof))
  return (
    !('malformed' in envelope) &&
    envelope.type === 'proof' &&
    envelope.kid === kid &&
    envelope.payload.toString() === JSON.stringify(word) &&
    isAuthentic(envelope)
  )
}
