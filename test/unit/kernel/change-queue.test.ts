import t from 'tap'
import { changeQueue } from '../../../agent/kernel/change-queue.ts'
import type { Hint } from '../../../agent/kernel/change-queue.ts'

void t.test('what waits already does not wait twice; the end is the signal', async (t) => {
  const ending = new AbortController()
  const queue = changeQueue(ending.signal)
  for (let i = 0; i < 1000; i++) queue.push(i % 2 === 0 ? 'objects' : 'facts')
  const heard: Hint[] = []
  const listening = (async () => {
    for await (const hint of queue) {
      heard.push(hint)
      if (heard.length === 1) queue.push('objects') // again, while the first is being worked on
      if (heard.length === 3)
        setImmediate(() => {
          ending.abort()
        })
    }
  })()
  await listening
  t.same(heard, ['objects', 'facts', 'objects'])
})

void t.test('a queue that was aborted before ends at once', async (t) => {
  const heard: Hint[] = []
  const queue = changeQueue(AbortSignal.abort())
  queue.push('facts')
  for await (const hint of queue) heard.push(hint)
  t.same(heard, [])
})
