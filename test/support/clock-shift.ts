/**
 * Loaded into an agent before its own code: its wall clock runs so many ms ahead as the file LINKSPAN_TEST_CLOCK says at the
 * moment. The monotonic clock and timers are left alone, as when somebody sets a clock.
 */
import { readFileSync } from 'node:fs'

const file = process.env['LINKSPAN_TEST_CLOCK']
const wall = Date.now

if (file !== undefined) Date.now = () => wall() + shift(file)

function shift(from: string): number {
  try {
    return Number(readFileSync(from, 'utf8'))
  } catch {
    return 0 // nobody shifted it yet
  }
}
