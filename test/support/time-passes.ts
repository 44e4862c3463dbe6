/**
 * Loaded into an agent before its own code: its clocks, of the wall and monotonic, run so many ms ahead as the file
 * LINKSPAN_TEST_AHEAD says, as if so much time had passed. What comes after three minutes of silence is then seen at once;
 * timers go on as they were.
 */
import { readFileSync } from 'node:fs'

const file = process.env['LINKSPAN_TEST_AHEAD']
const wall = Date.now
const monotonic = performance.now.bind(performance)
/** How long what was read holds, in ms: the clocks are looked at all the time. */
const holdsMs = 100

let aheadMs = 0
let readAtMs = -Infinity

if (file !== undefined) {
  Date.now = () => wall() + ahead(file)
  performance.now = () => monotonic() + ahead(file)
}

function ahead(from: string): number {
  const nowMs = monotonic()
  if (nowMs - readAtMs < holdsMs) return aheadMs
  readAtMs = nowMs
  try {
    aheadMs = Math.max(aheadMs, Number(readFileSync(from, 'utf8')))
  } catch {
    // Nothing passed yet.
  }
  return aheadMs
}
