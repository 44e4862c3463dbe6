/** The rules by name, each as one sentence: what a document must satisfy to count. rule.ts and verify.ts judge by them. */

export const rules = {
  document: 'a document has the form of its type, and says nothing twice',
  signature: 'the signature of a document is by the key that its header names',
  fabric: 'documents belong to this fabric',
  authority:
    "fabric documents, certificates and vouchers are signed by a key of the authority's that is not retired",
  signer: 'a record is signed by the identity in the certificate of its gateway, a request by its own',
  rollback: 'a document is not older than the one of its subject that counted before',
  equivocation: 'no two documents of one subject have one serial and say different things',
  early: 'a certificate has begun',
  expired: 'a certificate has not expired',
  stale: 'while the fabric document is stale, no gateway is let in that was never seen',
  succession:
    'a fabric document keeps the overlay ranges and the underlays of the one before, and only appends',
  removed: 'the fabric document does not list the gateway as removed',
  revoked: 'the fabric document revokes neither the serial nor the identity of the certificate',
  identity:
    'an identity key belongs to one gateway: the one that had it, and where two come at once neither counts',
  number: 'a number belongs to one gateway: the one that had it, and where two come at once neither counts',
  plane: 'gateways of one site have different planes; the higher number is refused',
  voucher: 'a claim is signed by the key of the voucher in force of its gateway',
  'voucher-ended': 'a claim is first seen before its voucher ends',
  'claim-conflict':
    'a voucher belongs to one identity: the one that had it, and where two come at once neither counts',
  certificate: 'a record belongs to a gateway with a certificate',
  'tunnel-key':
    'a tunnel key belongs to one gateway: the one that had it, and where two come at once neither counts',
  endpoint: 'an endpoint is on an underlay of the fabric, at an address that others can reach',
  network: 'a network is in the fabric document and in the certificate, with the prefixes certified for it',
  reserved: 'no prefix shares an address with loopback, link-local, metadata, multicast or reserved ranges',
  overlay: "no prefix shares an address with the fabric's own overlay ranges",
  'default-route': 'a default route, or half of one, needs the grant defaultRoute',
  certified: 'a prefix is in the certificate, up to its maxLength',
  'other-site': 'a more-specific made by maxLength never enters space certified to another site',
  'two-sites':
    'a prefix belongs to one site, that of the lowest gateway number that advertises it; gateways of other sites may share it where they and those of that site are granted `shared`',
} as const

export type RuleId = keyof typeof rules
