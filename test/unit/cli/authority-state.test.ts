/** What no document says: kept whole or not at all. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readState, writeState } from '../../../agent/cli/authority-state.ts'
import type { AuthorityState } from '../../../agent/cli/authority-state.ts'
import { authority } from '../../support/documents.ts'

const state: AuthorityState = {
  fabric: 'prod',
  root: authority,
  serial: 1_763_700_000_000,
  numbers: new Map([
    ['g2', 2],
    ['10', 7],
    ['g1', 1],
  ]),
  pending: ['certificates/g1.jws'],
}

void t.test('written and read', async (t) => {
  const directory = t.testdir()
  t.equal(await readState(directory), undefined)
  await writeState(directory, state)
  t.equal(statSync(join(directory, 'state.json')).mode & 0o777, 0o600)
  t.same(await readState(directory), { ...state, numbers: new Map([...state.numbers].sort()) })
  const more = { ...state, registry: '/srv/linkspan', above: 9 }
  await writeState(directory, more)
  t.match(await readState(directory), { registry: '/srv/linkspan', above: 9 })
})

void t.test('damage is told, and nothing is guessed', async (t) => {
  const directory = t.testdir()
  await writeState(directory, state)
  const path = join(directory, 'state.json')
  const good = readFileSync(path, 'utf8')
  for (const bad of [
    '',
    good.slice(0, -3),
    good.replace('"version": 1', '"version": 2'),
    good.replace('"g1": 1', '"g1": 0'),
    good.replace('"g1": 1', '"G 1": 1'),
    good.replace('"serial"', '"serials"'),
    good.replace('"numbers"', '"registry": 5, "numbers"'),
    'null',
  ]) {
    writeFileSync(path, bad)
    await t.rejects(readState(directory), { code: 'state-unreadable', object: path, next: /rebuilt/ }, bad)
  }
})
