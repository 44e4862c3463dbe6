/**
 * A figure: one measured value beside its bound, and the table that shows them. Bounds are ratios within one run or
 * generous absolutes; `baseline` says what the value was compared with.
 */

export interface Figure {
  readonly bench: string
  readonly figure: string
  readonly value: number
  readonly unit: string
  /** `<= 50`, `>= 0.85`, or empty for information. */
  readonly bound: string
  readonly ok: boolean
  readonly baseline: string
}

export interface FigureInput {
  readonly figure: string
  readonly value: number
  readonly unit: string
  readonly atMost?: number
  readonly atLeast?: number
  readonly baseline?: string
}

export function figure(bench: string, input: FigureInput): Figure {
  const { value, atMost, atLeast } = input
  const bounds = [
    ...(atLeast === undefined ? [] : [`>= ${atLeast}`]),
    ...(atMost === undefined ? [] : [`<= ${atMost}`]),
  ]
  const bound = bounds.join(', ')
  const ok =
    Number.isFinite(value) &&
    (atMost === undefined || value <= atMost) &&
    (atLeast === undefined || value >= atLeast)
  return { bench, figure: input.figure, value, unit: input.unit, bound, ok, baseline: input.baseline ?? '' }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** Nearest-rank percentile, p in 0-100. NaN of nothing. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN
}

export function formatTable(figures: readonly Figure[]): string {
  const rows = [
    ['BENCH', 'FIGURE', 'VALUE', 'UNIT', 'BOUND', '', 'AGAINST'],
    ...figures.map((f) => [
      f.bench,
      f.figure,
      formatValue(f.value),
      f.unit,
      f.bound,
      f.bound === '' ? '' : f.ok ? 'ok' : 'MISSED',
      f.baseline,
    ]),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function formatValue(value: number): string {
  return Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : Number(value.toPrecision(3)).toString()
}
