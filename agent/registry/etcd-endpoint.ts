/** Where etcd listens: `https://host:2379`. What is secret (user, password) never stands in an endpoint. */
import { isIPv6 } from 'node:net'
import { LinkspanError } from '../errors.ts'

export interface Endpoint {
  /** As it stands in messages: scheme, host and port. */
  readonly url: string
  /** Name or address, an IPv6 address without brackets. */
  readonly host: string
  readonly port: string
  /** Over TLS. */
  readonly isSecure: boolean
}

/** Throws config-invalid. */
export function parseEndpoint(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isSecure = url?.protocol === 'https:'
  // Quoted only where it cannot hold a password.
  if (url !== undefined && (url.username !== '' || url.password !== '')) {
    throw refusal('the endpoint', 'holds a user or password', 'give them as user and password')
  }
  if (url === undefined || !(isSecure || url.protocol === 'http:') || url.hostname === '') {
    const object = text.includes('@') ? 'the endpoint' : `endpoint "${text}"`
    throw refusal(object, 'is no URL of an etcd server', 'give https://HOST:2379')
  }
  if (!/^\/?$/.test(url.pathname) || url.search !== '' || url.hash !== '') {
    throw refusal(`endpoint "${text}"`, 'has more than a host and a port', 'give https://HOST:2379')
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  // URL drops a port that is the scheme's own.
  const explicit = /^[a-z]+:\/\/[^/]*:([0-9]+)\/?$/i.exec(text)?.[1]
  const port = url.port || explicit || '2379'
  return { url: `${url.protocol}//${hostAndPort(host, port)}`, host, port, isSecure }
}

/** As in a URL. */
export function hostAndPort(host: string, port: string): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`
}

/** True where nobody else can listen in. */
export function isLoopback({ host }: Endpoint): boolean {
  return host === 'localhost' || host === '::1' || /^127\.[0-9.]+$/.test(host)
}

function refusal(object: string, reason: string, next: string): LinkspanError {
  return new LinkspanError({ code: 'config-invalid', object, reason, next })
}
