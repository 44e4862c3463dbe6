/** A directory whose sockets have names short enough for unix(7); tap's own are too deep. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Test } from 'tap'

export function shortDirectory(t: Test): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-test-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}
