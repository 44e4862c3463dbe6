import { readdirSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { readState, writeState } from '../../../agent/kernel/state-file.ts'

void t.test('missing, written, written again, torn', async (t) => {
  const file = path.join(t.testdir(), 'deep', 'state.json')
  t.equal(await readState(file), undefined)
  await writeState(file, { a: 1 })
  await writeState(file, { a: 2 })
  t.same(await readState(file), { a: 2 })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.same(readdirSync(path.dirname(file)), ['state.json'], 'no temporary file is left')
  writeFileSync(path.join(path.dirname(file), '.state.json.next.tmp'), '{"a":') // a start that died while writing
  t.same(await readState(file), { a: 2 })
  await writeState(file, { a: 3 })
  t.same(await readState(file), { a: 3 })
  writeFileSync(file, '{"a":')
  await t.rejects(readState(file), { code: 'state-unreadable', object: file })
})
