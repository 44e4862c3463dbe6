import t from 'tap'
import { networkFault, statusOf, timeoutOf } from '../../../agent/registry/https-fault.ts'
import type { Phase } from '../../../agent/registry/https-fault.ts'

function error(code: string, message = '', more: object = {}): Error {
  return Object.assign(new Error(message), { code }, more)
}

/** As Node says what OpenSSL says. */
function openssl(text: string): Error {
  return error(
    'EPROTO',
    `write EPROTO 00AB:error:0A000000:SSL routines:ssl3_read_bytes:${text}:../ssl.c:1:\n`,
  )
}

void t.test('errors in words', (t) => {
  const cases: readonly [unknown, RegExp, Phase?][] = [
    [error('ENOTFOUND'), /^the host name is not known$/],
    [error('EAI_AGAIN'), /^the host name cannot be resolved now$/],
    [error('ECONNREFUSED'), /^refuses the connection$/],
    [error('EHOSTUNREACH'), /no route/],
    [error('ENETUNREACH'), /no route/],
    [error('EPERM'), /a firewall of this host/],
    [error('ETIMEDOUT'), /no answer/],
    [error('ECONNRESET'), /^the connection was reset$/],
    [error('ECONNRESET'), /in the TLS handshake$/, 'handshake'],
    [error('EPIPE'), /without an answer$/, 'answer'],
    [error('ERR_STREAM_PREMATURE_CLOSE'), /before the body was whole$/, 'body'],
    [new AggregateError([error('ENETUNREACH'), error('ECONNREFUSED')]), /^refuses the connection$/],
    [error('CERT_HAS_EXPIRED'), /has expired$/],
    [error('CERT_NOT_YET_VALID'), /not valid yet$/],
    [error('DEPTH_ZERO_SELF_SIGNED_CERT'), /unknown authority$/],
    [error('SELF_SIGNED_CERT_IN_CHAIN'), /unknown authority$/],
    [error('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), /unknown authority$/],
    [error('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), /unknown authority$/],
    [error('CERT_REVOKED'), /not acceptable$/],
    [error('ERR_TLS_CERT_ALTNAME_INVALID', '', { cert: {} }), /for another host$/],
    [
      error('ERR_TLS_CERT_ALTNAME_INVALID', '', { cert: { subjectaltname: 'DNS:\u001b[2J\u202eevil' } }),
      /for another host: "DNS:\\u001b\[2J\ufffdevil"$/,
    ],
    [openssl('tlsv13 alert certificate required'), /^wants a client certificate$/],
    [error('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), /^wants a client certificate$/],
    [openssl('sslv3 alert bad certificate'), /^does not accept the client certificate$/],
    [openssl('tlsv1 alert unknown ca'), /^does not accept the client certificate$/],
    [openssl('sslv3 alert certificate expired'), /^does not accept the client certificate$/],
    [openssl('tlsv1 alert protocol version'), /^offers no TLS 1\.2 or newer$/],
    [error('ERR_SSL_UNSUPPORTED_PROTOCOL'), /^offers no TLS 1\.2 or newer$/],
    [openssl('sslv3 alert handshake failure'), /^refuses the TLS handshake$/],
    [openssl('wrong version number'), /^does not speak TLS$/],
    [openssl('packet length too long'), /^does not speak TLS$/],
    [error('HPE_HEADER_OVERFLOW'), /headers that are too large$/],
    [error('HPE_INVALID_CONSTANT'), /no HTTP$/],
    [error('Z_BUF_ERROR'), /cut off$/],
    [error('Z_DATA_ERROR'), /no gzip data/],
    [error('E_NEW'), /^cannot be read: "E_NEW"$/],
    [new Error('out of cheese'), /^cannot be read: "out of cheese"$/],
    ['thrown', /^cannot be read: ""$/],
  ]
  for (const [thrown, reason, phase = 'connect'] of cases) t.match(networkFault(thrown, phase).reason, reason)
  t.end()
})

void t.test('each says what to do', (t) => {
  for (const status of [201, 304, 401, 403, 404, 410, 418, 429, 500, 503, 599])
    t.ok(statusOf(status).next, String(status))
  t.equal(statusOf(599).reason, 'answers 599')
  for (const phase of ['connect', 'handshake', 'answer', 'body'] as const) {
    for (const limit of ['idle', 'total'] as const)
      t.ok(timeoutOf(phase, limit, 1000).next, `${phase} ${limit}`)
  }
  t.end()
})
