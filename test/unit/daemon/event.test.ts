import { PassThrough } from 'node:stream'
import t from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { formatEvent, logTo } from '../../../agent/daemon/log.ts'

void t.test('events', (t) => {
  const seen: string[] = []
  const events = new Events((event) => void seen.push(event.event))
  for (let i = 0; i < 3000; i++) events.emit('info', `e${i}`)
  t.equal(seen.length, 3000)
  const kept = events.since(0)
  t.ok(kept.length <= 1000)
  t.equal(kept.at(-1)?.event, 'e2999')
  t.same(
    events.since(2998).map(({ id }) => id),
    [2999, 3000],
  )
  t.end()
})

void t.test('one line an event, whatever is in it', (t) => {
  const event = { id: 1, at: 0, level: 'error', event: 'op-failed' } as const
  t.equal(
    formatEvent({ ...event, fields: { object: 'link a', n: 3, none: undefined } }),
    '<3>op-failed object="link a" n=3\n',
  )
  const nasty = formatEvent({ ...event, fields: { reason: 'two\nlines "quoted" = \u001b[31m' } })
  t.equal(nasty.split('\n').length, 2)
  t.notMatch(nasty, '\u001b')
  t.end()
})

void t.test('a reader that is stuck loses lines, and is told how many', (t) => {
  const stream = new PassThrough({ highWaterMark: 1 }) as unknown as NodeJS.WriteStream
  const log = logTo(stream)
  const event = { id: 1, at: 0, level: 'info', event: 'x'.repeat(1000), fields: {} } as const
  for (let i = 0; i < 3000; i++) log(event)
  t.ok(stream.writableLength < 3_000_000, `${stream.writableLength} bytes wait`)
  stream.resume()
  setTimeout(() => {
    let text = ''
    stream.on('data', (piece: Buffer) => (text += piece.toString()))
    log({ ...event, event: 'after' })
    setTimeout(() => {
      t.match(text, /log-dropped lines=[0-9]+\n<6>after/)
      t.end()
    }, 20)
  }, 50)
})

void t.test('debug is quiet unless asked for', (t) => {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream
  logTo(stream)({ id: 1, at: 0, level: 'debug', event: 'x', fields: {} })
  t.equal(stream.read(), null)
  logTo(stream, new Set())({ id: 1, at: 0, level: 'debug', event: 'x', fields: {} })
  t.equal(String(stream.read()), '<7>x\n')
  t.end()
})
