/** The publisher where the registry is read-only: what it says lies in the outbox, once, until the registry shows it. */
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Publisher } from '../../../agent/daemon/publisher.ts'
import { Surroundings } from '../../../agent/daemon/surroundings.ts'
import type { GatewayRecord } from '../../../agent/model/fabric.ts'
import { prefix } from '../../../agent/model/prefix.ts'
import { OutboxRegistry, readOutbox } from '../../../agent/registry/outbox.ts'
import { certificateDocument, fabricDocument, recordDocument } from '../../support/documents.ts'
import { ownConfig, ownKeys } from '../../support/announcing.ts'
import { Rig } from '../../support/rig.ts'

const keys = ownKeys
const config = ownConfig({
  registry: { kind: 'https', urls: ['https://bundles.example.com/prod'], files: {} },
})

void t.test('laid down once, over restarts, until the registry shows it', async (t) => {
  const directory = `${t.testdir()}/outbox`
  const rig = new Rig()
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
  })
  const readOnly = {
    // eslint-disable-next-line @typescript-eslint/require-await
    watch: async function* () {
      yield* []
    },
  }
  const begin = (prefixes = config.prefixes): Publisher =>
    new Publisher({
      config: { ...config, prefixes },
      keys,
      registry: new OutboxRegistry(readOnly, directory),
      inputs: rig.reconciler.inputs,
      surroundings: new Surroundings(),
      events: rig.events,
      tally: rig.reconciler.tally,
      signal: stop.signal,
    })
  /** A look is done when the next one would be. */
  const look = async (publisher: Publisher): Promise<Publisher> => {
    publisher.look()
    for (let i = 0; i < 100 && publisher.waiting === undefined; i++) await pause(20)
    await pause(100)
    t.equal(publisher.trouble, undefined)
    return publisher
  }
  const recordPath = `${directory}/records/g1.jws`
  const record = async (): Promise<GatewayRecord> => {
    const laid = await readOutbox(recordPath)
    if (laid?.document.type !== 'record') throw new Error('no record lies there')
    return laid.document.payload
  }
  const toldCount = (): number => rig.told.filter((event) => event === 'outbox').length

  rig.deliver([fabricDocument()])
  await rig.turn()
  const requestPath = `${directory}/requests/g1.jws`
  const first = await look(begin())
  t.match(first.waiting, { document: 'request', path: requestPath, next: `linkspan ca issue ${requestPath}` })
  const bytes = await readFile(requestPath)
  const { ino } = await stat(requestPath)
  const now = performance.now.bind(performance)
  const later = t.intercept(performance, 'now', { value: () => now() + 3_600_000 })
  await look(first)
  later.restore()
  t.equal(toldCount(), 1, 'told once, also an hour later')
  t.notOk(rig.told.includes('published'))
  t.ok((await look(begin())).waiting)
  t.equal(toldCount(), 2, 'and at each start')
  t.strictSame([await readFile(requestPath), (await stat(requestPath)).ino], [bytes, ino], 'but not written')

  rig.deliver([fabricDocument(), certificateDocument(1)])
  await rig.turn()
  const second = await look(begin())
  t.match(second.waiting, { document: 'record', next: `linkspan registry put ${recordPath}` })
  const said = await record()
  const restarted = await look(begin())
  t.same(restarted.waiting, second.waiting)
  t.equal((await record()).serial, said.serial, 'the same content keeps its serial')

  const narrow = await look(begin([prefix('10.99.0.0/16')]))
  const changed = await record()
  t.same([changed.prefixes, changed.serial > said.serial], [[], true], 'other content is newer')
  rig.change(recordDocument(1, changed))
  await rig.turn()
  await look(narrow)
  t.equal(narrow.waiting, undefined, 'the registry shows it')
  t.same(await record(), changed)

  // The registry went on without the outbox, whose record then says nothing.
  rig.change(recordDocument(1, { ...changed, prefixes: config.prefixes, serial: changed.serial + 9 }))
  await rig.turn()
  await look(begin([prefix('10.99.0.0/16')]))
  t.ok((await record()).serial > changed.serial + 9)
})
