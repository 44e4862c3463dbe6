/**
 * A real etcd (Debian's etcd-server) for one test: its data in a directory of its own, on loopback ports that were free. It
 * can be killed, frozen, restarted, compacted, and made to ask for certificates and users.
 *
 * It never outlives the test: the kernel kills it with the process that started it, and a watchman, who waits for the end of
 * a pipe that only that process holds, removes the directory. A watchman of a PID namespace dies with it, so there `parent`
 * is a directory that somebody outside removes.
 */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { gatewayRoles, registryRoles } from '../../agent/registry/etcd-role.ts'

export interface EtcdOptions {
  /** Files of the server's certificate; with it, etcd speaks TLS. */
  readonly tls?: {
    readonly cert: string
    readonly key: string
    /** Asks for client certificates of this authority. */
    readonly clientCa?: string
  }
  /** Where its directory is made; the system's for temporary files. */
  readonly parent?: string
  /** Listens on so many, all of the same server; 1. */
  readonly ports?: number
  /** More arguments: `--max-request-bytes=…`. */
  readonly args?: readonly string[]
  /** Files of a client certificate for etcdctl, where the server asks for one, and of the server's authority. */
  readonly client?: { readonly ca: string; readonly cert?: string; readonly key?: string }
}

export const hasEtcd = existsSync('/usr/bin/etcd') && existsSync('/usr/bin/etcdctl')

export class Etcd {
  readonly directory: string
  readonly peerPort: number
  /** For etcdctl: a test may block the others. */
  readonly #ownPort: number
  readonly #ports: readonly number[]
  readonly #options: EtcdOptions
  readonly #watchman: ChildProcess
  #server: ChildProcess | undefined
  #root: string | undefined

  private constructor(peerPort: number, ownPort: number, ports: readonly number[], options: EtcdOptions) {
    this.directory = mkdtempSync(join(options.parent ?? tmpdir(), 'linkspan-etcd-'))
    this.#options = options
    this.peerPort = peerPort
    this.#ownPort = ownPort
    this.#ports = ports
    this.#watchman = spawn('sh', ['-c', 'cat >/dev/null; sleep 0.2; rm -rf -- "$1"', 'sh', this.directory], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#watchman.unref()
  }

  /** Ready for calls. */
  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    for (let tries = 3; ; tries--) {
      const [peerPort = 0, ownPort = 0, ...ports] = await freePorts((options.ports ?? 1) + 2)
      const etcd = new Etcd(peerPort, ownPort, ports, options)
      try {
        await etcd.start()
        return etcd
      } catch (error) {
        // Somebody else took the port meanwhile.
        await etcd.end()
        if (tries === 1) throw error
      }
    }
  }

  get port(): number {
    return this.#ports[0] ?? 0
  }

  get url(): string {
    return this.urls[0] ?? ''
  }

  get urls(): readonly string[] {
    return this.#ports.map((port) => this.#urlOf(port))
  }

  get pid(): number | undefined {
    return this.#server?.pid
  }

  /** After kill() or stop(), with the data it had. */
  async start(): Promise<void> {
    const { tls, args = [] } = this.#options
    const peer = `http://127.0.0.1:${this.peerPort}`
    // Names and addresses of this machine; the first port of IPv6, too.
    const listen = [
      this.#urlOf(this.#ownPort),
      ...this.urls,
      this.url.replace('127.0.0.1', '[::1]'),
      this.url.replace('127.0.0.1', '127.0.0.2'),
    ]
    const log = openSync(join(this.directory, 'log'), 'a', 0o600)
    const files = [
      ...(tls === undefined ? [] : [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`]),
      ...(tls?.clientCa === undefined ? [] : ['--client-cert-auth', `--trusted-ca-file=${tls.clientCa}`]),
    ]
    this.#server = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'etcd', '--logger=zap', '--log-level=warn'],
        ...[`--data-dir=${this.directory}/data`, '--name=test', `--initial-cluster=test=${peer}`],
        ...[`--listen-client-urls=${listen.join()}`, `--advertise-client-urls=${this.url}`],
        ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
        ...files,
        ...args,
      ],
      { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'], GOMAXPROCS: '1' } },
    )
    closeSync(log)
    const server = this.#server
    for (let i = 0; i < 600 && server.exitCode === null; i++) {
      if (await listens(this.port)) {
        this.ctl('endpoint', 'health')
        return
      }
      await pause(50)
    }
    throw new Error(`etcd does not start:\n${readFileSync(join(this.directory, 'log'), 'utf8').slice(-2000)}`)
  }

  /** etcdctl, as root where there are users; its stdout. */
  ctl(...args: readonly string[]): string {
    return this.ctlWith('', ...args)
  }

  /** The same with stdin. */
  ctlWith(input: string, ...args: readonly string[]): string {
    const { client } = this.#options
    const files = [
      ...(client === undefined ? [] : [`--cacert=${client.ca}`]),
      ...(client?.cert === undefined ? [] : [`--cert=${client.cert}`]),
      ...(client?.key === undefined ? [] : [`--key=${client.key}`]),
      ...(this.#root === undefined ? [] : [`--user=root:${this.#root}`]),
    ]
    return execFileSync(
      'etcdctl',
      [`--endpoints=${this.#urlOf(this.#ownPort)}`, '--command-timeout=10s', ...files, ...args],
      {
        encoding: 'utf8',
        input,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'], ETCDCTL_API: '3' },
      },
    )
  }

  put(key: string, value: string): void {
    this.ctlWith(value, 'put', key)
  }

  /** Many at once. Neither keys nor values have spaces. */
  putAll(pairs: readonly (readonly [key: string, value: string])[]): void {
    // etcd takes 128 in one transaction, and etcdctl sends no more than 2 MiB.
    for (let i = 0; i < pairs.length; i += 128) {
      const puts = pairs.slice(i, i + 128).map(([key, value]) => `put ${key} ${value}\n`)
      this.ctlWith(`\n${puts.join('')}\n\n`, 'txn')
    }
  }

  del(...args: readonly string[]): void {
    this.ctl('del', ...args)
  }

  /** Forgets all revisions before the present one. */
  compact(): void {
    const [status] = JSON.parse(this.ctl('endpoint', 'status', '--write-out=json')) as [
      { Status: { header: { revision: number } } },
    ]
    this.ctl('compact', String(status.Status.header.revision))
  }

  /** Users and roles of a registry: root, and gateways with their passwords (of one word); then etcd asks who you are. */
  enableAuth(prefix: string, gateways: Readonly<Record<string, string>>): void {
    this.ctlWith('secret\n', 'user', 'add', 'root', '--interactive=false')
    this.ctl('user', 'grant-role', 'root', 'root')
    for (const command of registryRoles(prefix)) this.ctl(...command)
    for (const [gateway, password] of Object.entries(gateways)) {
      this.ctlWith(`${password}\n`, 'user', 'add', gateway, '--interactive=false')
      for (const command of gatewayRoles(prefix, gateway)) this.ctl(...command)
    }
    this.ctl('auth', 'enable')
    this.#root = 'secret'
  }

  /** No answer to anything, and no end of a connection either. */
  freeze(): void {
    this.#server?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#server?.kill('SIGCONT')
  }

  /** At once, as a machine dies. */
  async kill(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const gone = once(server, 'exit')
    server.kill('SIGKILL')
    await gone
  }

  /** Kills it and loses its data: the next start begins with nothing. */
  async lose(): Promise<void> {
    await this.kill()
    rmSync(join(this.directory, 'data'), { recursive: true, force: true })
  }

  async end(): Promise<void> {
    await this.kill()
    this.#watchman.stdin?.end()
    rmSync(this.directory, { recursive: true, force: true })
  }

  #urlOf(port: number): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Ports that are free now, no two the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(
    servers.map((server) => {
      server.close()
      return once(server, 'close')
    }),
  )
  return ports
}
