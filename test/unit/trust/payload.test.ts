/** Bad values in documents: prefixes, names, numbers, keys, endpoints, and what belongs together in a fabric. */
import type { Document } from '../../../agent/model/document.ts'
import { proofOf } from '../../../agent/trust/authorities.ts'
import {
  authority,
  certificateDocument,
  fabricDocument,
  identityOf,
  keyOf,
  recordDocument,
  requestDocument,
  tunnelKeyOf,
} from '../../support/documents.ts'
import { edited, refuses } from '../../support/mistake.ts'
import type { Mistake } from '../../support/mistake.ts'

const record = recordDocument(1)
const certificate = certificateDocument(1)
const fabric = fabricDocument()
const request = requestDocument(1)
const succession: Document = {
  type: 'authority',
  payload: {
    fabric: 'prod',
    serial: 1,
    next: identityOf('next'),
    proof: proofOf('prod', authority, keyOf('identity next')),
    retired: [identityOf('before')],
  },
}

refuses([
  // Prefixes.
  {
    name: 'host bits',
    text: edited(record, '10.1.0.0/16', '10.1.2.3/16'),
    at: '8:16',
    reason: /prefixes\[0\]: "10\.1\.2\.3\/16" has host bits set/,
    hint: /did you mean "10\.1\.0\.0\/16"/,
  },
  {
    name: 'octal',
    text: edited(record, '10.1.0.0', '010.1.0.0'),
    reason: /leading zero.*octal/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: '/33',
    text: edited(record, '10.1.0.0/16', '10.1.0.0/33'),
    at: '8:16',
    reason: /length must be 0 to 32/,
  },
  { name: '/129', text: edited(record, '10.1.0.0/16', 'fd00::/129'), reason: /length must be 0 to 128/ },
  {
    name: 'no length',
    text: edited(record, '10.1.0.0/16', '10.1.0.0'),
    reason: /no prefix length/,
    hint: /10\.1\.0\.0\/32/,
  },
  {
    name: 'netmask',
    text: edited(record, '/16', '/255.255.0.0'),
    reason: /length/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: 'upper case',
    text: edited(record, '10.1.0.0/16', 'FD00::/48'),
    reason: /canonical/,
    hint: /"fd00::\/48"/,
  },
  {
    name: 'long IPv6',
    text: edited(record, '10.1.0.0/16', 'fd00:0:0::/48'),
    reason: /canonical/,
    hint: /"fd00::\/48"/,
  },
  {
    name: 'space',
    text: edited(record, '10.1.0.0/16', ' 10.1.0.0/16'),
    reason: /not an IPv4/,
    hint: /"10\.1\.0\.0\/16"/,
  },
  {
    name: 'prefix twice',
    text: edited(record, '"10.1.0.0/16"', '"10.1.0.0/16","10.1.0.0/16"'),
    reason: /used twice/,
  },
  { name: 'number as prefix', text: edited(record, '"10.1.0.0/16"', '10'), reason: /expected a prefix/ },
  // Names.
  ...[`a"b`, `a'b`, 'a\nb', '../a', 'a/b', '', '.a', 'a b', 'ä', 'a\u202eb', 'x'.repeat(64), '__proto__'].map(
    (name): Mistake => ({
      name: `name ${JSON.stringify(name)}`,
      text: edited(record, '"g1"', JSON.stringify(name)),
      at: '4:14',
      reason: /gateway: expected a name of 1 to 63 lower-case letters/,
    }),
  ),
  {
    name: 'name in upper case',
    text: edited(record, '"g1"', '"AWS_a"'),
    reason: /expected a name/,
    hint: /"aws-a"/,
  },
  // Numbers, keys, endpoints.
  {
    name: 'tunnel key',
    text: edited(record, tunnelKeyOf('g1 0'), 'AAAA'),
    reason: /44 characters of base64/,
  },
  { name: 'device index', text: edited(record, '"7":', '"64":'), reason: /device index, "0" to "63"/ },
  { name: 'device index 07', text: edited(record, '"7":', '"07":'), reason: /device index/ },
  {
    name: 'one tunnel key on two devices',
    text: edited(record, tunnelKeyOf('g1 1'), tunnelKeyOf('g1 0')),
    reason: /devices 0 and 1 have one key/,
  },
  { name: 'endpoint port', text: edited(record, '51820', '65473'), reason: /1 to 65472/ },
  { name: 'endpoint address', text: edited(record, '192.0.2.1', '192.0.2.01'), reason: /octal/ },
  {
    name: 'two endpoints of one underlay and family',
    text: edited(record, /"endpoints": \[(.*)\]/, '"endpoints": [$1,$1]'),
    reason: /underlay and family "internet IPv4" is used twice/,
  },
])

refuses(
  [
    {
      name: 'maxLength below the length',
      text: edited(certificate, '"10.1.0.0/16"', '"10.1.0.0/16","maxLength":8'),
      reason: /maxLength: expected 16 to 32 for 10\.1\.0\.0\/16, found 8/,
    },
    {
      name: 'label',
      text: edited(certificate, '"labels":{}', '"labels":{"a b":""}'),
      reason: /expected a label/,
    },
    {
      name: 'number 0',
      text: edited(certificate, '"number": 1', '"number": 0'),
      reason: /integer, 1 to 65534, found 0/,
    },
    {
      name: 'number 65535',
      text: edited(certificate, '"number": 1', '"number": 65535'),
      reason: /1 to 65534/,
    },
    {
      name: 'plane 4',
      text: edited(certificate, '"plane": 0', '"plane": 4'),
      reason: /integer, 0 to 3, found 4/,
    },
    {
      name: 'identity',
      text: edited(certificate, /"identity": "../, '"identity": "'),
      reason: /43 characters of base64url/,
    },
    {
      name: 'identity with bits in its tail',
      text: edited(certificate, /"identity": "(.{42})./, '"identity": "$1B'),
      reason: /43 characters of base64url/,
    },
  ],
  'certificate',
)

refuses(
  [
    {
      name: 'a VNI used twice',
      text: edited(fabric, '"kind":"l2"}', '"kind":"l2"},{"name":"b","vni":7001,"kind":"l3"}'),
      reason: /networks\[1\]: the VNI 7001 is used twice: elements 0 and 1/,
    },
    {
      name: 'a network name used twice',
      text: edited(fabric, '"kind":"l2"}', '"kind":"l2"},{"name":"lan","vni":1,"kind":"l3"}'),
      reason: /the network "lan" is used twice/,
    },
    { name: 'VNI 0', text: edited(fabric, '7001', '0'), reason: /1 to 16777215/ },
    { name: 'VNI of 25 bits', text: edited(fabric, '7001', '16777216'), reason: /1 to 16777215/ },
    { name: 'network kind', text: edited(fabric, '"l2"', '"l4"'), reason: /"l2" or "l3"/ },
    {
      name: 'no underlay',
      text: edited(fabric, '[{"name":"internet"}]', '[]'),
      reason: /expected 1 to 4 underlays/,
    },
    {
      name: 'five underlays',
      text: edited(
        fabric,
        '{"name":"internet"}',
        ['internet', 'a', 'b', 'c', 'd'].map((n) => `{"name":"${n}"}`).join(),
      ),
      reason: /expected 1 to 4 underlays/,
    },
    {
      name: 'underlay twice',
      text: edited(fabric, '{"name":"internet"}', '{"name":"a"},{"name":"a"}'),
      reason: /used twice/,
    },
    {
      name: 'prefer',
      text: edited(fabric, '"prefer": ["', '"prefer": ["dx","'),
      reason: /prefer\[0\]: "dx" is none of/,
    },
    {
      name: 'probe of an unknown underlay',
      text: edited(fabric, '"underlays":{}', '"underlays":{"dx":{}}'),
      reason: /no such/,
    },
    {
      name: 'small overlay',
      text: edited(fabric, '100.127.0.0/16', '100.127.0.0/17'),
      reason: /length 8 to 16/,
    },
    {
      name: 'overlay of the wrong family',
      text: edited(fabric, '100.127.0.0/16', 'fd00::/48'),
      reason: /IPv4 range/,
    },
    {
      name: 'no overlay',
      text: edited(fabric, /"overlay": .*/, '"overlay": {},'),
      reason: /ipv4, ipv6 or both/,
    },
    { name: 'policy', text: edited(fabric, '"rules":[]', '"rules":[1]'), reason: /not supported yet/ },
    {
      name: 'default deny',
      text: edited(fabric, '"allow"', '"deny"'),
      reason: /expected "allow", found "deny"/,
    },
    {
      name: 'revoked identity',
      text: edited(fabric, '"identities":[]', '"identities":["x"]'),
      reason: /revoked\.identities\[0\]: expected an Ed25519/,
    },
    {
      name: 'revoked serial',
      text: edited(fabric, '"serials":[]', '"serials":["1"]'),
      reason: /revoked\.serials\[0\]: expected an integer/,
    },
    {
      name: 'mesh',
      text: edited(fabric, '"mesh": "all"', '"mesh": [{"between":{"site":"a"}}]'),
      reason: /"and" is missing/,
    },
  ],
  'fabric',
)

refuses(
  [
    {
      name: 'a request without its key',
      text: edited(request, /.*"identity".*\n/, ''),
      at: '1:1',
      reason: /"identity" is missing/,
    },
    {
      name: 'a request that asks for a number',
      text: edited(request, '"gateway"', '"number": 7,\n  "gateway"'),
      reason: /unknown field "number"/,
    },
  ],
  'request',
)

refuses(
  [
    {
      name: 'no retired keys',
      text: edited(succession, /,\n.*"retired".*/, ''),
      reason: /"retired" is missing/,
    },
    {
      name: 'a retired key twice',
      text: edited(succession, /"retired": \[(.*)\]/, '"retired": [$1,$1]'),
      reason: /retired\[1\]: the key .* is used twice/,
    },
    {
      name: 'a retired key that is none',
      text: edited(succession, identityOf('before'), 'gateway-1'),
      reason: /retired\[0\]: expected an Ed25519 public key/,
    },
    {
      name: 'a next key with padding',
      text: edited(succession, `"next": "${identityOf('next')}`, `"next": "${identityOf('next')}=`),
      reason: /next: expected an Ed25519 public key/,
    },
    {
      name: 'a proof of other characters',
      text: edited(succession, '"proof": "', '"proof": "{'),
      reason: /proof: expected a signed text/,
    },
    {
      name: 'a proof without end',
      text: edited(succession, '"proof": "', `"proof": "${'A'.repeat(1024)}`),
      reason: /proof: expected a signed text/,
    },
    {
      name: 'a gateway in the authority document',
      text: edited(succession, '"serial"', '"gateway": "g1",\n  "serial"'),
      reason: /unknown field "gateway"/,
    },
  ],
  'authority',
)
