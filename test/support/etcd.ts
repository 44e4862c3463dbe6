/**
 * A real etcd (Debian's etcd-server) for one test: its data in a directory of its own, on loopback ports that were free. It
 * can be killed, frozen, restarted, compacted, and made to ask for certificates and users.
 *
 * It never outlives the test: the kernel kills it with the process that started it, and a watchman, who waits for the end of
 * a pipe that only that process holds, removes the directory. A watchman of a PID namespace dies with it, so there `parent`
 * is a directory that somebody outside removes.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { repository } from './repository.ts'

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

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

/** False where the kernel has none, or none for the loopback. */
export const hasIpv6 = networkInterfaces()['lo']?.some(({ address }) => address === '::1') === true

/** scripts/lib/prepare.sh puts them there, without a service; else those of PATH. */
const [etcdPath, etcdctlPath] = ['etcd', 'etcdctl'].map((name) =>
  [join(repository, '.cache/etcd/usr/bin'), ...(process.env['PATH'] ?? '').split(':')]
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path)),
)
export const hasEtcd = etcdPath !== undefined && etcdctlPath !== undefined

interface Ports {
  readonly peer: number
  /** For etcdctl: a test may block the others. */
  readonly own: number
  readonly clients: readonly number[]
}

export class Etcd {
  readonly directory: string
  readonly #ports: Ports
  /** All members: `n0=http://…,n1=http://…`. */
  readonly #cluster: string
  readonly #options: EtcdOptions
  readonly #watchman: ChildProcess
  #server: ChildProcess | undefined
  #root: string | undefined

  private constructor(ports: Ports, cluster: string, options: EtcdOptions) {
    this.directory = mkdtempSync(join(options.parent ?? tmpdir(), 'linkspan-etcd-'))
    this.#ports = ports
    this.#cluster = cluster
    this.#options = options
    this.#watchman = spawn('sh', ['-c', 'cat >/dev/null; sleep 0.2; rm -rf -- "$1"', 'sh', this.directory], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#watchman.unref()
  }

  /** Ready for calls. */
  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    const [etcd] = await Etcd.cluster(1, options)
    if (etcd === undefined) throw new Error('no etcd')
    return etcd
  }

  /** So many that are one cluster. */
  static async cluster(size: number, options: EtcdOptions = {}): Promise<Etcd[]> {
    for (let tries = 3; ; tries--) {
      const each = (options.ports ?? 1) + 2
      const ports = await freePorts(size * each)
      const members = Array.from({ length: size }, (_, i): Ports => {
        const [peer = 0, own = 0, ...clients] = ports.slice(i * each, (i + 1) * each)
        return { peer, own, clients }
      })
      const cluster = members.map(({ peer }) => `n${peer}=http://127.0.0.1:${peer}`).join()
      const etcds = members.map((member) => new Etcd(member, cluster, options))
      try {
        await Promise.all(etcds.map((etcd) => etcd.start()))
        return etcds
      } catch (error) {
        // Somebody else took a port meanwhile.
        await Promise.all(etcds.map((etcd) => etcd.end()))
        if (tries === 1) throw error
      }
    }
  }

  get port(): number {
    return this.#ports.clients[0] ?? 0
  }

  get peerPort(): number {
    return this.#ports.peer
  }

  get url(): string {
    return this.urls[0] ?? ''
  }

  get urls(): readonly string[] {
    return this.#ports.clients.map((port) => this.#urlOf(port))
  }

  get pid(): number | undefined {
    return this.#server?.pid
  }

  /** After kill() or stop(), with the data it had. */
  async start(): Promise<void> {
    const { tls, args = [] } = this.#options
    const peer = `http://127.0.0.1:${this.peerPort}`
    // The first port also for other names and addresses of this machine.
    const others = hasIpv6 ? ['[::1]', '127.0.0.2'] : ['127.0.0.2']
    const listen = [
      this.#urlOf(this.#ports.own),
      ...this.urls,
      ...others.map((host) => this.url.replace('127.0.0.1', host)),
    ]
    const log = openSync(join(this.directory, 'log'), 'a', 0o600)
    const files = [
      ...(tls === undefined ? [] : [`--cert-file=${tls.cert}`, `--key-file=${tls.key}`]),
      ...(tls?.clientCa === undefined ? [] : ['--client-cert-auth', `--trusted-ca-file=${tls.clientCa}`]),
    ]
    this.#server = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', etcdPath ?? 'etcd', '--logger=zap', '--log-level=warn'],
        ...[
          `--data-dir=${this.directory}/data`,
          `--name=n${this.peerPort}`,
          `--initial-cluster=${this.#cluster}`,
        ],
        ...[`--listen-client-urls=${listen.join()}`, `--advertise-client-urls=${this.url}`],
        ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
        ...files,
        ...args,
      ],
      { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'], GOMAXPROCS: '1' } },
    )
    closeSync(log)
    const server = this.#server
    server.unref()
    const deadline = Date.now() + 60_000
    while (server.exitCode === null && Date.now() < deadline) {
      if ((await listens(this.port)) && (await this.#isHealthy())) return
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
    return execFileSync(etcdctlPath ?? 'etcdctl', this.#ctlArgs('20s', args), {
      encoding: 'utf8',
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: ctlEnvironment,
    })
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
    const registry = join(this.directory, 'registry.yml')
    writeFileSync(registry, `registry: { url: "etcd://127.0.0.1:${this.port}", prefix: ${prefix} }\n`)
    for (const names of [[], Object.keys(gateways)]) {
      const line = [main, 'registry', 'roles', ...names, '--registry', registry]
      const printed = execFileSync(process.execPath, line, { encoding: 'utf8' })
      for (const [first, ...words] of printed.split('\n').map((text) => text.split(' '))) {
        if (first !== 'etcdctl') continue
        const [noun, verb, name = ''] = words
        if (noun !== 'user' || verb !== 'add') this.ctl(...words)
        else this.ctlWith(`${gateways[name] ?? ''}\n`, ...words, '--interactive=false')
      }
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
    server.ref()
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

  /** A server that just came up may keep the first to ask waiting. */
  async #isHealthy(): Promise<boolean> {
    try {
      await promisify(execFile)(etcdctlPath ?? 'etcdctl', this.#ctlArgs('3s', ['endpoint', 'health']), {
        env: ctlEnvironment,
      })
      return true
    } catch {
      return false
    }
  }

  #ctlArgs(timeout: string, args: readonly string[]): string[] {
    const { client } = this.#options
    return [
      `--endpoints=${this.#urlOf(this.#ports.own)}`,
      `--command-timeout=${timeout}`,
      ...(client === undefined ? [] : [`--cacert=${client.ca}`]),
      ...(client?.cert === undefined ? [] : [`--cert=${client.cert}`]),
      ...(client?.key === undefined ? [] : [`--key=${client.key}`]),
      ...(this.#root === undefined ? [] : [`--user=root:${this.#root}`]),
      ...args,
    ]
  }

  #urlOf(port: number): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  }
}

const ctlEnvironment = { PATH: process.env['PATH'], ETCDCTL_API: '3' }

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

/** An etcd that goes with its test. */
export async function etcdFor(t: Test, options: EtcdOptions = {}): Promise<Etcd> {
  const etcd = await Etcd.start(options)
  t.teardown(() => etcd.end())
  return etcd
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
