/** Times, amounts and tables in the words of `wg show`, so that nobody has to learn them. */

const units: readonly (readonly [string, number])[] = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
]

/** `9 seconds ago`, `1 minute, 3 seconds ago`: the two largest units. */
export function ago(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds))
  if (rest === 0) return 'now'
  const parts: string[] = []
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count} ${unit}${count === 1 ? '' : 's'}`)
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break
  }
  return `${parts.join(', ')} ago`
}

/** `148 B`, `1.21 MiB`. */
export function amount(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const names = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes / 1024
  let name = 0
  while (value >= 1024 && name < names.length - 1) {
    value /= 1024
    name++
  }
  return `${value.toFixed(2)} ${names[name] ?? ''}`
}

/** `1 peer`, `3 peers`. */
export function count(many: number, noun: string): string {
  return `${many} ${noun}${many === 1 ? '' : noun.endsWith('x') ? 'es' : 's'}`
}

/** Columns two spaces apart, without trailing space. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
