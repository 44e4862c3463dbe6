/**
 * The servers of one cluster, and which of them is in use: one that worked is kept, one that failed makes room. A name may
 * stand for several addresses, and each try takes the next of them.
 */
import { X509Certificate } from 'node:crypto'
import type { LookupAddress } from 'node:dns'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { EtcdConnection } from './etcd-connection.ts'
import type { Endpoint } from './etcd-endpoint.ts'
import { EtcdFailure, status } from './etcd-failure.ts'
import { EtcdSession } from './etcd-session.ts'
import type { Access, Patience } from './etcd-session.ts'
import type { CredentialStore } from './credential.ts'
import type { Resolve } from './resolver.ts'

export interface ServersOptions {
  /** Our certificates, looked at before each connection. */
  readonly credentials: CredentialStore
  /** Path of the client certificate, for the message when it is refused. */
  readonly certificate: string | undefined
  readonly access: Access
  readonly patience: Patience
  readonly resolve: Resolve
  readonly maxAnswerBytes: number
}

export class EtcdServers {
  /** At least one. */
  readonly endpoints: readonly [Endpoint, ...Endpoint[]]
  readonly #options: ServersOptions
  readonly #tries = new Map<Endpoint, number>()
  #turn = 0

  constructor(endpoints: readonly [Endpoint, ...Endpoint[]], options: ServersOptions) {
    this.endpoints = endpoints
    this.#options = options
  }

  /** The one to try now. */
  get current(): Endpoint {
    return this.endpoints[this.#turn % this.endpoints.length] ?? this.endpoints[0]
  }

  /** Makes the next one the one to try, unless another already is. */
  giveUp(endpoint: Endpoint): void {
    this.#tries.set(endpoint, (this.#tries.get(endpoint) ?? 0) + 1)
    if (endpoint === this.current) this.#turn++
  }

  /** Nothing is sent yet. Throws EtcdFailure; LinkspanError where our own certificates cannot be used. */
  async open(endpoint: Endpoint): Promise<EtcdSession> {
    const { access, patience, maxAnswerBytes, credentials, certificate } = this.#options
    const context = endpoint.isSecure ? (await credentials.current()).own : undefined
    const address = await this.#addressOf(endpoint)
    const connection = await EtcdConnection.to(endpoint, address, context, maxAnswerBytes)
    return new EtcdSession(connection, access, patience, {
      user: access.user?.name,
      certificate:
        context === undefined || certificate === undefined ? undefined : await describe(certificate),
    })
  }

  async #addressOf(endpoint: Endpoint): Promise<LookupAddress> {
    const { host } = endpoint
    const family = isIP(host)
    if (family !== 0) return { address: host, family }
    const { resolve, patience } = this.#options
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(reject, patience.answerMs, new Error('no answer'))
    })
    try {
      const addresses = await Promise.race([resolve(host), late])
      const address = addresses[(this.#tries.get(endpoint) ?? 0) % addresses.length]
      if (address === undefined) throw new Error('no address')
      return address
    } catch (error) {
      throw new EtcdFailure(status.unavailable, `Name resolution failed: ${String(error)}`)
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Subject and validity: what an operator compares. */
async function describe(path: string): Promise<string> {
  try {
    const { subject, validFrom, validTo } = new X509Certificate(await readFile(path))
    const [from, to] = [validFrom, validTo].map((date) => new Date(date).toISOString().replace('.000Z', 'Z'))
    return `${subject.replaceAll('\n', ', ')}, valid ${from ?? ''} to ${to ?? ''}`
  } catch {
    return path // replaced since it was read
  }
}
