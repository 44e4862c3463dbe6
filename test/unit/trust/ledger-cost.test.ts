/**
 * What a bag costs while a registry is full of junk, in documents and refusals that are looked at: as much as the bag, and
 * not as much as the junk.
 */
import t from 'tap'
import { Ledger } from '../../../agent/trust/ledger.ts'
import type { Admission, Checked } from '../../../agent/trust/admission.ts'
import type { Delivered } from '../../../agent/model/document.ts'
import { digestOf } from '../../../agent/trust/envelope.ts'
import { parseDocument } from '../../../agent/trust/parse.ts'
import {
  certificateDocument,
  delivered,
  fabricDocument,
  ground,
  identityKeyOf,
  keyOf,
  moment,
  recordDocument,
  tunnelKeysOf,
} from '../../support/documents.ts'

const many = 3000
const gateways = [1, 2, 3]

/** A ledger whose documents and refusals count how often somebody reads of them. */
class Counted {
  readonly ledger = new Ledger(ground)
  reads = 0

  constructor() {
    this.admit(
      [fabricDocument(), ...gateways.flatMap((n) => [certificateDocument(n), recordDocument(n)])].map((one) =>
        delivered(one),
      ),
    )
  }

  admit(documents: readonly Delivered[], gone: readonly string[] = []): Admission {
    const all = documents.map((one): Checked => {
      const signed = parseDocument(one)
      return {
        ...one,
        digest: digestOf(one.bytes),
        signed: 'rule' in signed ? signed : this.#counting(signed),
      }
    })
    const steps = this.ledger.admitSteps({ documents: all, gone, complete: false, unreadable: [] }, moment)
    for (;;) {
      const { done, value } = steps.next()
      if (done === true) return value
    }
  }

  /** Junk, and from then on all reading of it is counted. */
  flood(junk: readonly Delivered[]): void {
    const { refusals } = this.admit(junk)
    for (const refusal of refusals) {
      for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(refusal))) {
        const get = (): unknown => {
          this.reads++
          return property.get === undefined ? property.value : property.get.call(refusal)
        }
        Object.defineProperty(refusal, name, { get, enumerable: true, configurable: true })
      }
    }
    this.reads = 0
  }

  /** Reads of the junk since the last time. */
  cost(): number {
    const { reads } = this
    this.reads = 0
    return reads
  }

  #counting<T extends object>(of: T): T {
    return new Proxy(of, {
      get: (target, name, receiver): unknown => {
        this.reads++
        return Reflect.get(target, name, receiver)
      },
    })
  }
}

const stranger = keyOf('stranger')
const numbers = Array.from({ length: many }, (_, i) => i)
/** A few documents of junk, and those that one bag finds its way past. */
const most = 200

const floods: Readonly<Record<string, (i: number) => Delivered>> = {
  'records of gateways that nobody certified': (i) =>
    delivered(recordDocument(9, { gateway: `x${i}` }), `records/junk-${i}.jws`, stranger),
  'records of a gateway that is certified, by strangers': (i) =>
    delivered(recordDocument(2, { serial: i }), `records/junk-${i}.jws`, stranger),
  'certificates by a stranger': (i) =>
    delivered(certificateDocument(2, { serial: i }), `certificates/junk-${i}.jws`, stranger),
  'authority documents by a stranger': (i) =>
    delivered(
      { type: 'authority', payload: { fabric: 'prod', serial: i, retired: [] } },
      `authority/junk-${i}.jws`,
      stranger,
    ),
}

for (const [what, junk] of Object.entries(floods)) {
  void t.test(what, (t) => {
    const counted = new Counted()
    counted.flood(numbers.map(junk))
    t.equal(counted.ledger.refused.total, many)
    const weight = counted.admit([delivered(recordDocument(2, { serial: 2, weight: 9 }))])
    t.equal(weight.snapshot?.gateways.get('g2')?.weight, 9)
    t.ok(counted.cost() < most, 'a record')
    counted.admit([delivered(certificateDocument(2, { serial: 2 }))])
    t.ok(counted.cost() < most, 'a certificate renewed for the same identity')
    const more = counted.admit([{ ...junk(many), origin: 'records/one-more.jws' }])
    t.equal(more.refused.total, many + 1)
    t.ok(counted.cost() < most, 'more junk')
    const less = counted.admit([], ['records/one-more.jws'])
    t.equal(less.refused.total, many)
    t.ok(counted.cost() < most, 'less')
    counted.admit([])
    t.ok(counted.cost() < 20, 'time passes')
    t.end()
  })
}

void t.test('an old record of a known gateway under many names', (t) => {
  const counted = new Counted()
  const old = (i: number): Delivered => delivered(recordDocument(2, { serial: 0 }), `records/junk-${i}.jws`)
  counted.flood(numbers.map(old))
  counted.admit([delivered(recordDocument(1, { serial: 2 }))])
  t.ok(counted.cost() < most, 'the record of another')
  counted.admit([old(many)])
  t.ok(counted.cost() < most, 'under one more name')
  const newer = counted.admit([delivered(recordDocument(2, { serial: 3 }))])
  t.ok(
    newer.refusals.every(({ reason }) => reason.includes('in force is 3')),
    'and each says what is in force',
  )
  t.equal(newer.begun.length, 0, 'which is no news')
  t.end()
})

void t.test('a document by a key that comes to be trusted was not forgotten', (t) => {
  const counted = new Counted()
  const key = identityKeyOf('g9')
  counted.flood(
    numbers.map((i) => delivered(recordDocument(9, { gateway: `x${i}` }), `records/junk-${i}.jws`, stranger)),
  )
  const early = delivered(recordDocument(9, { tunnelKeys: tunnelKeysOf('g9') }), 'records/g9.jws', key)
  t.equal(counted.admit([early]).refused.total, many + 1)
  counted.cost()
  const admission = counted.admit([delivered(certificateDocument(9))])
  t.ok(admission.snapshot?.gateways.has('g9'))
  t.match(
    admission.admitted.map(({ origin }) => origin),
    ['certificates/g9.jws', 'records/g9.jws'],
  )
  t.ok(counted.cost() < most)
  t.end()
})
