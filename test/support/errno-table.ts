/** Tables of what an errno means, and whether a failure is as its cell says. */
import type { Reason } from '../../agent/errors.ts'

/**
 * `fail`: a failure of code netlink that names the errno. `perm`: of code permission, with what to do. `taken`: of code
 * conflict. `done`: no failure. `again`: asked again, no failure.
 */
export type Cell = 'done' | 'fail' | 'perm' | 'taken' | 'again'

/** Rows are `name  cell cell ...` under a line of errnos. */
export function* cells(text: string): Generator<readonly [row: string, errno: string, cell: Cell]> {
  const [head = '', ...rows] = text.split('\n').filter((line) => line.trim() !== '')
  const errnos = head.trim().split(/ +/)
  for (const row of rows) {
    const words = row.trim().split(/ +/)
    const values = words.splice(-errnos.length)
    for (const [i, errno] of errnos.entries()) yield [words.join(' '), errno, values[i] as Cell]
  }
}

/** What is wrong with a failure, in words; '' where it is as the cell says. */
export function wrong(cell: Cell, errno: string, found: Reason | undefined): string {
  const text = JSON.stringify(found)
  if (cell === 'done') return found === undefined ? '' : `not done: ${text}`
  if (found === undefined) return 'swallowed'
  const code = { fail: 'netlink', perm: 'permission', taken: 'conflict', again: '' }[cell]
  if (found.code !== code) return `code: ${text}`
  if (!found.reason.startsWith(errno)) return `reason: ${text}`
  if (found.object === '') return `object: ${text}`
  return cell === 'perm' && found.next === undefined ? `no next step: ${text}` : ''
}
