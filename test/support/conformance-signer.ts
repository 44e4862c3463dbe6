/** Conformance: who may say what. The authority's keys one after another, identities, and gateways that begin anew. */
import type { KeyObject } from 'node:crypto'
import type { Authority, Delivered } from '../../agent/model/document.ts'
import { proofOf } from '../../agent/trust/authorities.ts'
import { kidOf } from '../../agent/trust/envelope.ts'
import { at, by, gateway, one } from './conformance.ts'
import type { Row, Said } from './conformance.ts'
import {
  authority,
  authorityKey,
  certificateDocument as certificate,
  fabricDocument as fabric,
  identityKeyOf,
  identityOf,
  keyOf,
  recordDocument as record,
  requestDocument as request,
} from './documents.ts'

const stranger = keyOf('stranger')
const next = keyOf('next authority')
const third = keyOf('third authority')

/** `key` names the key that follows it, which countersigns; or says what else is in `change`. */
function chain(key: KeyObject, follower?: KeyObject, change: Partial<Authority> = {}): Delivered {
  const named =
    follower === undefined ? {} : { next: kidOf(follower), proof: proofOf('prod', kidOf(key), follower) }
  const payload: Authority = { fabric: 'prod', serial: 1, ...named, retired: [], ...change }
  return by(key, { type: 'authority', payload }, `authority/${kidOf(key)}-${payload.serial}.jws`)
}

/** The first key names the next one; the next one retires the first. */
const rollover = chain(authorityKey, next)
const retirement = chain(next, undefined, { retired: [authority] })
/** Documents of one fabric, gateway 1, all by this key. */
const signedBy = (key: KeyObject, serial = 1): readonly Said[] => [
  by(key, fabric({ serial })),
  by(key, certificate(1, { serial })),
  record(1),
]

const strangers: readonly Row[] = [
  {
    rule: 'authority',
    what: 'a gateway that certifies itself',
    documents: [fabric(), by(identityKeyOf('g1'), certificate(1)), record(1)],
    verdict: { left: '', refused: 'authority g1, certificate g1', says: /is not the authority's/ },
  },
  {
    rule: 'authority',
    what: 'a gateway that certifies another',
    documents: [...one, by(identityKeyOf('g1'), certificate(2)), record(2)],
    verdict: { left: 'g1', refused: 'authority g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: "a stranger's certificate for a gateway that runs, however new",
    documents: [...one, by(stranger, certificate(1, { serial: 9, identity: kidOf(stranger) }), 'x.jws')],
    verdict: { left: 'g1', refused: 'authority g1' },
  },
  {
    rule: 'authority',
    what: "a stranger's fabric document, however new",
    documents: [...one, by(stranger, fabric({ serial: 9, removed: ['g1'] }), 'x.jws')],
    verdict: { left: 'g1', refused: 'authority' },
  },
  {
    rule: 'authority',
    what: "nothing but a stranger's fabric document",
    documents: [by(stranger, fabric()), certificate(1), record(1)],
    verdict: { left: '', refused: 'authority' },
  },
  {
    rule: 'authority',
    what: 'a fabric document by a certified gateway',
    documents: [...one, by(identityKeyOf('g1'), fabric({ serial: 9 }), 'x.jws')],
    verdict: { left: 'g1', refused: 'authority' },
  },
  {
    rule: 'authority',
    what: 'a key that a stranger names as the next one certifies nobody',
    documents: [
      ...one,
      chain(stranger, next, { serial: 9, retired: [authority] }),
      by(next, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'authority, authority g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: 'a stranger who makes himself the first key, and retires it',
    documents: [...one, chain(stranger, next, { serial: 9, retired: [authority] }), ...gateway(2)],
    verdict: { left: 'g1 g2', refused: 'authority' },
  },
]

const rollovers: readonly Row[] = [
  {
    rule: 'authority',
    what: 'the next key signs beside the first',
    documents: [...one, rollover, by(next, certificate(2)), record(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'authority',
    what: 'the next key signs the fabric document, too',
    before: one,
    documents: [rollover, by(next, fabric({ serial: 2, removed: ['g1'] })), certificate(1), record(1)],
    verdict: { left: '', refused: 'removed g1' },
  },
  {
    rule: 'authority',
    what: 'a key two steps on',
    documents: [...one, rollover, chain(next, third), by(third, certificate(2)), record(2)],
    verdict: { left: 'g1 g2' },
  },
  {
    rule: 'authority',
    what: 'a chain with a link missing',
    documents: [...one, chain(next, third), by(third, certificate(2)), record(2)],
    verdict: { left: 'g1', refused: 'authority, authority g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: 'a next key without its proof',
    documents: [
      ...one,
      chain(authorityKey, undefined, { next: kidOf(next) }),
      by(next, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'authority g2, certificate g2, signature' },
  },
  {
    rule: 'authority',
    what: 'a next key whose proof is for another fabric',
    documents: [
      ...one,
      chain(authorityKey, next, { proof: proofOf('test', authority, next) }),
      by(next, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'authority g2, certificate g2, signature' },
  },
  {
    rule: 'authority',
    what: 'a next key whose proof is by somebody else',
    documents: [
      ...one,
      chain(authorityKey, next, { proof: proofOf('prod', authority, stranger) }),
      by(next, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'authority g2, certificate g2, signature' },
  },
  {
    rule: 'authority',
    what: 'the first key cannot retire the next',
    documents: [
      ...one,
      chain(authorityKey, next, { retired: [kidOf(next)] }),
      by(next, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1 g2' },
  },
]

const retirements: readonly Row[] = [
  {
    rule: 'authority',
    what: 'a certificate by a retired key',
    documents: [
      by(next, fabric()),
      certificate(1),
      record(1),
      by(next, certificate(2)),
      record(2),
      rollover,
      retirement,
    ],
    verdict: { left: 'g2', refused: 'authority g1, certificate g1', says: /which the authority retired/ },
  },
  {
    rule: 'authority',
    what: 'what counted before its key was retired stays: who withholds what was issued anew removes nobody',
    before: [...one, rollover],
    documents: [...one, rollover, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'a later certificate by a retired key',
    before: [...one, rollover],
    documents: [...one, rollover, retirement, by(authorityKey, certificate(1, { serial: 9 }), 'x.jws')],
    verdict: { left: 'g1', refused: 'authority g1' },
  },
  {
    rule: 'authority',
    what: 'all issued anew, then the first key is retired',
    before: [...signedBy(next, 2), rollover],
    documents: [...signedBy(next, 2), rollover, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'all issued anew and the first key retired in one piece of news',
    before: one,
    documents: [...signedBy(next, 2), rollover, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'the same words signed anew by the next key, in the same places',
    before: [...one, rollover],
    documents: [...signedBy(next), rollover, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'the same words signed anew by the next key, beside the old ones',
    before: [...one, rollover, by(next, certificate(1), 'certificates/anew.jws')],
    documents: [...one, rollover, by(next, certificate(1), 'certificates/anew.jws'), retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'the fabric document that counted stays, by a retired key: without one there would be no fabric',
    before: [fabric(), by(next, certificate(1)), record(1), rollover],
    documents: [fabric(), by(next, certificate(1)), record(1), rollover, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'a later fabric document by a retired key',
    before: [...signedBy(next), rollover, retirement],
    documents: [
      ...signedBy(next),
      rollover,
      retirement,
      by(authorityKey, fabric({ serial: 9, removed: ['g1'] }), 'x.jws'),
    ],
    verdict: { left: 'g1', refused: 'authority', says: /which the authority retired/ },
  },
  {
    rule: 'authority',
    what: 'a retired key that names another to follow it',
    before: [...signedBy(next), rollover, retirement],
    documents: [
      ...signedBy(next),
      rollover,
      retirement,
      chain(authorityKey, stranger, { serial: 9, retired: [kidOf(next)] }),
      by(stranger, certificate(2)),
      record(2),
    ],
    verdict: { left: 'g1', refused: 'authority, authority g2, certificate g2' },
  },
  {
    rule: 'authority',
    what: 'the link of a retired key, moved to another place',
    before: [...signedBy(next), rollover, retirement],
    documents: [...signedBy(next), { ...rollover, origin: 'authority/moved.jws' }, retirement],
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: 'a gateway that is configured with the next key, among documents of the first',
    documents: [...signedBy(next), rollover, retirement, at('x.jws', certificate(2))],
    context: { authority: kidOf(next) },
    verdict: { left: 'g1', refused: 'authority g2' },
  },
  {
    rule: 'authority',
    what: 'with the third key, where every link to it is old',
    documents: [...signedBy(third), rollover, chain(next, third)],
    context: { authority: kidOf(third) },
    verdict: { left: 'g1' },
  },
  {
    rule: 'authority',
    what: "a stranger's link to the authority's key, which did not countersign",
    documents: [
      ...one,
      chain(stranger, undefined, { next: authority, proof: proofOf('prod', authority, next) }),
    ],
    verdict: { left: 'g1', refused: 'signature' },
  },
]

const again = identityOf('g1 again')
const identities: readonly Row[] = [
  {
    rule: 'signer',
    what: 'a record by another gateway',
    documents: [...one, certificate(2), by(identityKeyOf('g1'), record(2))],
    verdict: { left: 'g1', refused: 'signer g2' },
  },
  {
    rule: 'signer',
    what: 'a record by the authority',
    documents: [...one, certificate(2), by(authorityKey, record(2))],
    verdict: { left: 'g1', refused: 'signer g2' },
  },
  {
    rule: 'signer',
    what: "a newer record by another does not take the right one's place",
    documents: [...one, by(identityKeyOf('g2'), record(1, { serial: 9, state: 'withdrawn' }), 'x.jws')],
    verdict: { left: 'g1', refused: 'signer g1' },
  },
  {
    rule: 'signer',
    what: 'a request by its own key, which is no gateway yet',
    documents: [...one, request(2)],
    verdict: { left: 'g1' },
  },
  {
    rule: 'signer',
    what: 'a request by another key',
    documents: [...one, by(identityKeyOf('g1'), request(2))],
    verdict: { left: 'g1', refused: 'signer g2' },
  },
  {
    rule: 'signer',
    what: 'reinstalled: the record of the identity before ends, whatever its serial',
    before: one,
    documents: [fabric(), certificate(1, { serial: 2, identity: again }), record(1, { serial: 9 })],
    verdict: { left: '', refused: 'signer g1' },
  },
  {
    rule: 'signer',
    what: 'reinstalled: the first record of the new identity counts, whatever the serial before',
    before: [fabric(), certificate(1), record(1, { serial: 9 })],
    documents: [
      fabric(),
      certificate(1, { serial: 2, identity: again }),
      by(identityKeyOf('g1 again'), record(1)),
    ],
    verdict: { left: 'g1' },
  },
  {
    rule: 'signer',
    what: 'reinstalled: new record before the new certificate',
    before: one,
    documents: [...one, by(identityKeyOf('g1 again'), record(1, { serial: 2 }), 'x.jws')],
    verdict: { left: 'g1', refused: 'signer g1' },
  },
  {
    rule: 'certificate',
    what: 'a record without a certificate',
    documents: [...one, record(2)],
    verdict: { left: 'g1', refused: 'certificate g2' },
  },
  {
    rule: 'certificate',
    what: 'a certificate of the same identity under another name',
    documents: [...one, certificate(2, { gateway: 'other' }), record(2)],
    verdict: { left: 'g1', refused: 'certificate g2' },
  },
  {
    rule: 'certificate',
    what: 'a certificate without a record is no peer yet',
    documents: [...one, certificate(2)],
    verdict: { left: 'g1' },
  },
  {
    rule: 'certificate',
    what: 'without a fabric document there is nothing to be in',
    documents: gateway(1),
    verdict: { left: '' },
  },
]

export const signer: readonly Row[] = [...strangers, ...rollovers, ...retirements, ...identities]
