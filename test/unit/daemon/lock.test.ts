import t from 'tap'
import { takeLock } from '../../../agent/daemon/lock.ts'

void t.test('one holder at a time, and nothing stale', async (t) => {
  const name = `linkspan-test-${process.pid}`
  const lock = await takeLock(name)
  await t.rejects(takeLock(name), { code: 'already-running', next: /linkspan status/ })
  lock.release()
  const again = await takeLock(name)
  again.release()
})
