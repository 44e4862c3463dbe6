/**
 * Signature Version 4 against the vectors that AWS published as aws-sig-v4-test-suite: the key pair and the date are theirs,
 * each line is one of its requests and the signature that it must have.
 */
import t from 'tap'
import { signed } from '../../../agent/hook/sigv4.ts'
import type { Signable } from '../../../agent/hook/sigv4.ts'

const credentials = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
}
const scope = { region: 'us-east-1', service: 'service', at: new Date('2015-08-30T12:36:00Z') }
const unreserved = '-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const form = 'application/x-www-form-urlencoded'

const vectors: readonly (readonly [name: string, request: Partial<Signable>, signature: string])[] = [
  ['get-vanilla', {}, '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  [
    'get-header-value-trim',
    { headers: { 'my-header1': 'value1', 'my-header2': '"a   b   c"' } },
    'acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736',
  ],
  [
    'get-header-value-order',
    { headers: { 'my-header1': 'value4,value1,value3,value2' } },
    '08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01',
  ],
  [
    'get-unreserved',
    { path: `/${unreserved}` },
    '07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f',
  ],
  ['get-utf8', { path: '/ሴ' }, '8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85'],
  [
    'get-vanilla-query-order-key-case',
    { query: { Param2: 'value2', Param1: 'value1' } },
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  [
    'get-vanilla-query-unreserved',
    { query: { [unreserved]: unreserved } },
    '9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197',
  ],
  [
    'get-vanilla-utf8-query',
    { query: { ሴ: 'bar' } },
    '2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04',
  ],
  ['post-vanilla', { method: 'POST' }, '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  [
    'post-vanilla-query-nonunreserved',
    { method: 'POST', query: { '@#$%^': '', '+': '/,?><`";:\\|][{}' } },
    '66c82657c86e26fb25238d0e69f011edc4c6df5ae71119d7cb98ed9b87393c1e',
  ],
  [
    'post-x-www-form-urlencoded',
    { method: 'POST', headers: { 'content-type': form }, body: 'Param1=value1' },
    'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  ],
  [
    'post-x-www-form-urlencoded-parameters',
    { method: 'POST', headers: { 'content-type': `${form}; charset=utf8` }, body: 'Param1=value1' },
    '1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe',
  ],
]

for (const [name, request, signature] of vectors) {
  void t.test(name, (t) => {
    const { headers = {}, ...rest } = request
    const all = { host: 'example.amazonaws.com', ...headers }
    const { authorization } = signed({ method: 'GET', path: '/', ...rest, headers: all }, credentials, scope)
    const names = [...Object.keys(all), 'x-amz-date'].sort().join(';')
    t.equal(
      authorization,
      `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=${names}, Signature=${signature}`,
    )
    t.end()
  })
}

void t.test('the token of a role is signed with the rest', (t) => {
  const sessionToken =
    'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=='
  const headers = { host: 'example.amazonaws.com' }
  const found = signed({ method: 'POST', path: '/', headers }, { ...credentials, sessionToken }, scope)
  t.equal(found['x-amz-security-token'], sessionToken)
  t.match(
    found['authorization'],
    'SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead',
  )
  t.end()
})
