/** A gateway whose documents somebody deletes and writes over, in a real directory. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { OwnPlaces, PutBack } from '../../../agent/daemon/own-place.ts'
import { Publisher } from '../../../agent/daemon/publisher.ts'
import { Surroundings } from '../../../agent/daemon/surroundings.ts'
import type { Document } from '../../../agent/model/document.ts'
import { FileRegistry, writeDocument } from '../../../agent/registry/file.ts'
import { isRefusal, parseDocument } from '../../../agent/trust/parse.ts'
import { certificateDocument, fabricDocument, identityOf, sealed, signed } from '../../support/documents.ts'
import { ownConfig, ownKeys } from '../../support/announcing.ts'
import { Rig } from '../../support/rig.ts'

void t.test('what we said is put back, and said once while it lies there', async (t) => {
  const directory = t.testdir({ records: {}, requests: {}, certificates: {} })
  const config = ownConfig({ registry: { kind: 'file', directory } })
  const stop = new AbortController()
  const rig = new Rig()
  const registry = new FileRegistry(directory, { walkMs: 50 })
  const places = new OwnPlaces('g1')
  const { inputs, tally } = rig.reconciler
  const publisher = new Publisher({
    config,
    keys: ownKeys,
    registry,
    inputs,
    places,
    putBack: new PutBack(40),
    surroundings: new Surroundings(),
    events: rig.events,
    tally,
    signal: stop.signal,
  })
  const put = async (document: Document): Promise<void> => {
    await writeDocument(directory, signed(document), sealed(document))
  }
  await put(fabricDocument())
  const following = (async () => {
    for await (const bag of registry.watch(stop.signal)) {
      places.take(bag)
      void rig.reconciler.deliver(bag)
      await rig.turn()
      publisher.look()
    }
  })()
  const count = (name: string): number => rig.told.filter((each) => each === name).length
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    for (let i = 0; i < 2000 && !holds(); i++) await pause(5)
    t.ok(holds(), what)
  }
  const serialAt = (place: string): number | undefined => {
    try {
      const parsed = parseDocument({ origin: place, bytes: readFileSync(join(directory, place)) })
      if (isRefusal(parsed)) return undefined
      return parsed.document.type === 'request' ? 0 : parsed.document.payload.serial
    } catch {
      return undefined // not there
    }
  }
  const request = 'requests/g1.jws'
  await until('it asks', () => serialAt(request) === 0)
  for (let i = 0; i < 5; i++) {
    await put(fabricDocument({ serial: 100 + i }))
    await pause(20)
  }
  t.equal(count('published'), 1, 'once')
  rmSync(join(directory, request))
  await until('and asks again', () => serialAt(request) === 0)
  await until('which is told', () => count('put-back') === 1)

  await put(certificateDocument(1))
  const record = 'records/g1.jws'
  await until('its record', () => serialAt(record) !== undefined)
  const first = serialAt(record) ?? 0
  await until('in force', () => inputs.documentOf('record') !== undefined)
  rmSync(join(directory, record))
  await until('the record is back', () => (serialAt(record) ?? 0) > first)
  await until('which is told', () => count('put-back') === 2)
  writeFileSync(join(directory, record), 'junk\n')
  await until('junk does not stay', () => serialAt(record) !== undefined)
  t.equal(count('published'), 2)
  await until('which is told, too', () => count('put-back') === 3)

  // Nobody fights for a name that somebody else has.
  await put(certificateDocument(1, { serial: 2, identity: identityOf('other') }))
  await until('another has the name', () => rig.told.includes('identity-mismatch'))
  await until('it asks once more', () => serialAt(request) === 0)
  rmSync(join(directory, record))
  rmSync(join(directory, request))
  await pause(400)
  t.equal(serialAt(record), undefined)
  stop.abort()
  await following
})
