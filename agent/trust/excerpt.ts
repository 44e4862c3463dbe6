/**
 * Places in a text, as people read them: line, column, and the source line with a caret under the fault. The text may
 * come from a stranger and goes to a terminal, so nothing but printable characters is passed on.
 */

export interface TextPlace {
  /** From 1. */
  readonly line: number
  /** From 1, in UTF-16 units. */
  readonly column: number
}

/** Longest piece of a source line shown; a registry's JSON may be one line of 60 KiB. */
const width = 96

export function placeOf(text: string, offset: number): TextPlace {
  const at = Math.min(offset, text.length)
  let line = 1
  let start = 0
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) {
    line++
    start = i + 1
  }
  return { line, column: at - start + 1 }
}

/** Two lines: the source line, numbered, and a caret under the offset. */
export function excerptOf(text: string, offset: number): string {
  const { line, column } = placeOf(text, offset)
  const start = Math.min(offset, text.length) - column + 1
  const end = text.indexOf('\n', start)
  const source = printable(hidden(text.slice(start, end < 0 ? text.length : end).replace(/\r$/, '')))
  const from = column > width - 16 ? column - (width >> 1) : 0
  const cutLeft = from > 0 ? '…' : ''
  const cutRight = source.length > from + width ? '…' : ''
  const shown = `${cutLeft}${source.slice(from, from + width)}${cutRight}`
  const margin = String(line)
  const indent = ' '.repeat(cutLeft.length + column - 1 - from)
  return `  ${margin} | ${shown}\n  ${' '.repeat(margin.length)} | ${indent}^`
}

/** `value` as JSON text, cut to a length that fits a message. */
export function quoted(value: unknown): string {
  const text = value === undefined ? 'nothing' : printable(JSON.stringify(value))
  return text.length > 72 ? `${text.slice(0, 70)}…` : text
}

/** A password that somebody wrote into a URL, one character for one. */
function hidden(line: string): string {
  return line.replace(
    /(:\/\/)([^/@\s"']+)(?=@)/g,
    (_, slashes: string, user: string) => slashes + '*'.repeat(user.length),
  )
}

function printable(text: string): string {
  // One character for one, so that the caret stays in its column. Bidirectional controls can reorder a terminal line.
  return text.replace(
    /[^\x20-\x7e\u00a1-\u061b\u061d-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ud7ff]/g,
    (c) => (c === '\t' ? ' ' : '\ufffd'),
  )
}
