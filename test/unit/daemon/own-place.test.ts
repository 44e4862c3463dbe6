/** What lies in our own places, and how long somebody waits before it is put back. */
import t from 'tap'
import { OwnPlaces, PutBack } from '../../../agent/daemon/own-place.ts'
import type { Reason } from '../../../agent/errors.ts'
import { identityKeyOf, identityOf, keyOf, recordDocument, sealed } from '../../support/documents.ts'

const mine = recordDocument(1, { serial: 5 })
const kid = identityOf('g1')

function unreadable(object: string): Reason {
  return { code: 'registry-unreadable', object, reason: 'cannot be read' }
}

void t.test('what lies there', (t) => {
  for (const [place, above] of [
    ['/srv/registry/records/g1.jws', '/srv/registry/records'],
    ['etcd:/linkspan/prod/records/g1', 'etcd:/linkspan/prod'],
  ] as const) {
    const places = new OwnPlaces('g1')
    const take = (change: object): void => {
      places.take({ documents: [], complete: false, unreadable: [], ...change })
    }
    const holds = (least = 5): boolean | undefined => places.holds(mine, kid, least)
    const at = (bytes: Uint8Array, origin: string = place): object => ({ documents: [{ origin, bytes }] })
    t.equal(holds(), undefined, 'nobody has looked')
    take({ complete: true, unreadable: [unreadable(above)] })
    t.equal(holds(), undefined, 'nor could they see it')
    take({ complete: true, unreadable: [unreadable(place.replace('g1', 'g2'))] })
    t.equal(holds(), false, 'nothing')
    take(at(sealed(mine), place.replace('g1', 'g11')))
    t.equal(holds(), false, 'another one')
    take(at(sealed(mine)))
    t.equal(holds(), true)
    t.equal(holds(6), false, 'an older one')
    t.equal(places.holds(recordDocument(1, { serial: 5, weight: 2 }), kid, 5), false, 'another word')
    take({ gone: [place] })
    t.equal(holds(), false, 'deleted')
    take(at(sealed(mine, keyOf('thief'))))
    t.equal(holds(), false, 'signed by somebody else')
    take(at(sealed(mine, identityKeyOf('g1'))))
    t.equal(holds(), true)
    take(at(Buffer.from('junk')))
    t.equal(holds(), false, 'no document')
    take(at(sealed(mine)))
    take({ unreadable: [unreadable(place)] })
    t.equal(holds(), false, 'what is too long to be read')
  }
  t.end()
})

void t.test('ever longer, up to an hour, and from the beginning after an hour of peace', (t) => {
  const putBack = new PutBack(60_000, () => 0.5)
  const waits: number[] = []
  let now = 0
  for (let i = 0; i < 8; i++) {
    const waitMs = putBack.waitMs(now)
    waits.push(waitMs / 60_000)
    t.equal(putBack.waitMs(now + waitMs / 2), waitMs / 2, 'it is counted from the first look')
    now += waitMs
    t.equal(putBack.waitMs(now), 0)
    putBack.done(now)
  }
  t.strictSame(waits, [1, 2, 4, 8, 16, 32, 60, 60])
  putBack.waitMs(now)
  putBack.settled()
  t.equal(putBack.waitMs(now + 3_600_001), 60_000)
  t.end()
})
