/**
 * AWS Signature Version 4 of one request: proves knowledge of the secret key without sending it. Everything that is sent is
 * signed: method, path, query, headers, body. The key is derived for a day, a region and a service.
 */
import { createHash, createHmac } from 'node:crypto'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of a role. */
  readonly sessionToken?: string
}

export interface Signable {
  readonly method: string
  /** Not yet encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** By lower-case name, `host` among them. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Scope {
  readonly region: string
  readonly service: string
  readonly at: Date
}

const algorithm = 'AWS4-HMAC-SHA256'

/** The headers to send: those given, with date, token and signature. */
export function signed(request: Signable, credentials: AwsCredentials, scope: Scope): Record<string, string> {
  const { method, path, query = {}, body = '' } = request
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const time = scope.at.toISOString().replace(/[-:]|\.[0-9]{3}/g, '')
  const day = time.slice(0, 8)
  const headers: Record<string, string> = {
    ...request.headers,
    'x-amz-date': time,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  }
  const names = Object.keys(headers).sort()
  const canonical = [
    method,
    path.split('/').map(encoded).join('/'),
    Object.entries(query)
      .map(([key, value]) => `${encoded(key)}=${encoded(value)}`)
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    sha256(body),
  ].join('\n')
  const place = [day, scope.region, scope.service, 'aws4_request']
  const text = [algorithm, time, place.join('/'), sha256(canonical)].join('\n')
  const key = place.reduce<Buffer>(
    (secret, part) => hmac(secret, part),
    Buffer.from(`AWS4${secretAccessKey}`),
  )
  const signature = hmac(key, text).toString('hex')
  const authorization = `${algorithm} Credential=${accessKeyId}/${place.join('/')}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  return { ...headers, authorization }
}

/** RFC 3986: what encodeURIComponent spares is encoded, too. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
