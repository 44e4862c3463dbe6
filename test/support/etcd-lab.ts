/**
 * Two sites whose gateways share a registry in a real etcd, which is not on their link:
 *
 *   host-1 ── gw-1 ── wan (192.0.2.0/24) ── gw-2 ── host-2
 *                      └── 192.0.2.254, a router ── 203.0.113.1, etcd by TLS
 *
 * The router is the test's own namespace: a relay there stands for the network between, and nft for a firewall.
 */
import { once } from 'node:events'
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Status } from '../../agent/daemon/status.ts'
import type { Document, DocumentType } from '../../agent/model/document.ts'
import { documentName } from '../../agent/registry/document-name.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { makeAuthority } from './authority-directory.ts'
import { CertificateAuthority } from './certificate-authority.ts'
import { ip } from './command.ts'
import { authority, sealed, signed } from './documents.ts'
import { Etcd } from './etcd.ts'
import { guest } from './fault.ts'
import type { Gateway } from './gateway.ts'
import { Lab, sitePlan, wanFabric } from './lab.ts'
import type { Machine } from './machine.ts'
import { Relay } from './relay.ts'

export const registryAddress = '203.0.113.1'
export const registryPort = 2379
const base = '/linkspan/lab'
const seconds = guest ? 240 : 30
const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))
const clockShift = fileURLToPath(new URL('./clock-shift.js', import.meta.url))

export class EtcdLab {
  readonly etcd: Etcd
  readonly relay: Relay
  readonly left: Gateway
  readonly right: Gateway
  readonly leftHost: Machine
  readonly rightHost: Machine
  readonly #directory: string
  readonly #registryFile: string

  private constructor(
    directory: string,
    etcd: Etcd,
    [left, right]: readonly [Gateway, Gateway],
    [leftHost, rightHost]: readonly [Machine, Machine],
  ) {
    this.#directory = directory
    this.#registryFile = path.join(directory, 'registry.yml')
    this.etcd = etcd
    this.relay = new Relay(registryAddress, registryPort, etcd.port)
    this.left = left
    this.right = right
    this.leftHost = leftHost
    this.rightHost = rightHost
  }

  /** Nobody runs yet, and the registry cannot be reached. `host`: how gateways call it. */
  static async make(directory: string, host = registryAddress): Promise<EtcdLab> {
    const tls = await CertificateAuthority.create(directory, 'tls')
    const { certificateFile: ca } = tls.pair
    const server = await tls.issue({ name: 'etcd', hosts: ['127.0.0.1', host] })
    const etcd = await Etcd.start({
      parent: directory,
      tls: { cert: server.certificateFile, key: server.keyFile },
      client: { ca },
    })
    const lab = new Lab(directory)
    lab.underlay('wan')
    ip(`address add 192.0.2.254/24 dev wan
      address add ${registryAddress}/32 dev lo`)
    const registry = `registry: { url: "etcd://${host}:${registryPort}", prefix: ${base}, ca: ${ca} }`
    writeFileSync(path.join(directory, 'registry.yml'), `${registry}\n`)
    makeAuthority(path.join(directory, 'ca'), 'lab')
    const gatewayAt = async (n: number): Promise<Gateway> => {
      const { prefixes, ...plan } = sitePlan(n)
      const gateway = await lab.gateway(`gw-${n}`, {
        ...plan,
        prefixes,
        underlays: { wan0: { underlay: 'wan', addresses: [`192.0.2.${n}/24`] } },
        via: '192.0.2.254',
      })
      gateway.configure([
        'fabric: lab',
        `authority: ${authority}`,
        `site: ${plan.site}`,
        `gateway: ${gateway.name}`,
        registry,
        `prefixes: ${JSON.stringify(prefixes)}`,
        `endpoints: [ { underlay: wan, address: 192.0.2.${n} } ]`,
      ])
      return gateway
    }
    const gateways = [await gatewayAt(1), await gatewayAt(2)] as const
    return new EtcdLab(directory, etcd, gateways, [await lab.siteHost(1), await lab.siteHost(2)])
  }

  /** `linkspan ca` on this registry; throws where it fails. Not in one go: the relay is this process. */
  async ca(...args: readonly string[]): Promise<void> {
    const at = ['--ca', path.join(this.#directory, 'ca'), '--registry', this.#registryFile]
    const child = this.left.machine.spawn(process.execPath, [main, 'ca', ...args, ...at], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr?.on('data', (piece: Buffer) => (said += piece.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`linkspan ca ${args.join(' ')}: exit ${String(code)}\n${said}`)
  }

  async writeFabric(): Promise<void> {
    const file = path.join(this.#directory, 'fabric.yml')
    writeFileSync(file, ['fabric: lab', ...wanFabric, ''].join('\n'))
    await this.ca('fabric', file)
  }

  /** Certifies it as soon as it has asked. */
  async certify({ name }: Gateway, ...options: readonly string[]): Promise<void> {
    await this.until('a request', () => (this.text(`requests/${name}`) === '' ? undefined : true))
    await this.ca('issue', name, ...options)
  }

  /** Its wall clock runs ahead by what shiftClock() says. */
  start(gateway: Gateway): void {
    const before = process.env['NODE_OPTIONS']
    process.env['NODE_OPTIONS'] = `--import=${clockShift}`
    process.env['LINKSPAN_TEST_CLOCK'] = this.#clockFile
    try {
      gateway.start()
    } finally {
      // An assignment would make the text "undefined".
      if (before === undefined) Reflect.deleteProperty(process.env, 'NODE_OPTIONS')
      else process.env['NODE_OPTIONS'] = before
      Reflect.deleteProperty(process.env, 'LINKSPAN_TEST_CLOCK')
    }
  }

  /** Of all agents, in ms. */
  shiftClock(ms: number): void {
    writeFileSync(this.#clockFile, String(ms))
  }

  get #clockFile(): string {
    return path.join(this.#directory, 'clock')
  }

  /** What etcd holds below the fabric's prefix, by name. */
  contents(): ReadonlyMap<string, string> {
    const said = JSON.parse(this.etcd.ctl('get', '--prefix', `${base}/`, '--write-out=json')) as {
      readonly kvs?: readonly { readonly key: string; readonly value: string }[]
    }
    return new Map(
      (said.kvs ?? []).map(({ key, value }) => [
        Buffer.from(key, 'base64')
          .toString()
          .slice(base.length + 1),
        Buffer.from(value, 'base64').toString(),
      ]),
    )
  }

  /** Empty where there is none. */
  text(name: string): string {
    return this.contents().get(name) ?? ''
  }

  /** The document that etcd holds there. */
  document<T extends DocumentType>(type: T, name: string): Extract<Document, { type: T }> {
    const parsed = parseDocument({ origin: name, bytes: Buffer.from(this.text(name)) })
    if (isRefusal(parsed) || parsed.document.type !== type) throw new Error(`${name} is no ${type}`)
    return parsed.document as Extract<Document, { type: T }>
  }

  put(name: string, text: string | Uint8Array): void {
    this.etcd.put(`${base}/${name}`, text.toString())
  }

  /** Signed by who should, or by `key`, at its own place. */
  publish(document: Document, key?: Parameters<typeof sealed>[1]): void {
    this.put(nameOf(document, key), sealed(document, key))
  }

  del(name: string): void {
    this.etcd.del(`${base}/${name}`)
  }

  clear(): void {
    this.etcd.del('--prefix', `${base}/`)
  }

  /** What etcd has on disk, set aside. */
  async backup(): Promise<void> {
    await this.etcd.kill()
    cpSync(path.join(this.etcd.directory, 'data'), this.#backup, { recursive: true })
    await this.etcd.start()
  }

  /** Back to the last backup, revisions and all. */
  async restore(): Promise<void> {
    await this.etcd.lose()
    cpSync(this.#backup, path.join(this.etcd.directory, 'data'), { recursive: true })
    rmSync(this.#backup, { recursive: true })
    await this.etcd.start()
  }

  get #backup(): string {
    return path.join(this.#directory, 'backup')
  }

  /** What it comes to, once it does. */
  async until<T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
    for (let i = 0; i < seconds * 5; i++) {
      const found = await look()
      if (found !== undefined) return found
      await pause(200)
    }
    throw new Error(`not within ${seconds} s: ${what}\n${this.left.log.slice(-8000)}`)
  }

  /** The status of the left gateway, once that holds. */
  untilStatus(what: string, holds: (status: Status) => boolean): Promise<Status> {
    return this.until(what, async () => {
      const status = await this.left.status()
      return status !== undefined && holds(status) ? status : undefined
    })
  }

  async end(): Promise<void> {
    for (const gateway of [this.left, this.right]) await gateway.stop()
    await this.relay.close()
    await this.etcd.end()
  }
}

function nameOf(document: Document, key?: Parameters<typeof sealed>[1]): string {
  return documentName(signed(document, key))
}
