/**
 * The lab: underlays, gateways, hosts behind them, and a file registry they share.
 *
 *   host ── site link ── gateway ── underlay bridge ── gateway ── site link ── host
 *
 * Underlay bridges are links of the test's own namespace. Made inside isolated(); nothing of it outlives the test.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { makeAuthority } from './authority-directory.ts'
import { linkspan } from './authority.ts'
import { Gateway } from './gateway.ts'
import { ip } from './command.ts'
import { authority as testAuthority } from './documents.ts'
import { Machine } from './machine.ts'

export interface GatewayPlan {
  readonly site: string
  /** Link name in the gateway -> underlay and own addresses there. */
  readonly underlays: Readonly<
    Record<string, { readonly underlay: string; readonly addresses: readonly string[] }>
  >
  /** Addresses of the site link `site0`. */
  readonly siteAddresses: readonly string[]
  readonly prefixes: readonly string[]
  /** More lines of config.yml. */
  readonly config?: readonly string[]
  /** `site:` of config.yml, where it is more than the name. */
  readonly siteConfig?: string
  /** Default route. */
  readonly via?: string
}

/**
 * Hardly ever, so that a test of something else sees no change of its own making: gateways that exist on paper answer no
 * probe, and a path of which nothing is known is as good as any.
 */
export const rareProbes = 'probe: { intervalMs: 60000, retryMs: 60000, downAfter: 100 }'

/** Looks, one in 25 ms, for an agent's request: an emulated guest is slow to start one. */
const patience = process.env['LINKSPAN_GUEST'] === undefined ? 2400 : 12_000

/** Of a fabric over the one underlay `wan`. */
export const wanFabric: readonly string[] = [
  'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
  'underlays: [ { name: wan } ]',
  rareProbes,
]

/** Site number n: 10.n.0.0/16 and fd00:n::/48, its gateway at 1. */
export function sitePlan(n: number): Pick<GatewayPlan, 'site' | 'siteAddresses' | 'prefixes'> {
  return {
    site: `site-${n}`,
    siteAddresses: [`10.${n}.0.1/24`, `fd00:${n}::1/64`],
    prefixes: [`10.${n}.0.0/16`, `fd00:${n}::/48`],
  }
}

export class Lab {
  readonly registry: string
  readonly fabric: string
  readonly authority: string
  readonly gateways: Gateway[] = []
  readonly #directory: string
  readonly #bridges: string[] = []
  readonly #machines: Machine[] = []
  #links = 0

  /** `authority`: whose key `linkspan ca init` made in the lab's directory; absent: the key of documents.ts. */
  constructor(directory: string, fabric = 'lab', authority = testAuthority) {
    this.#directory = directory
    this.fabric = fabric
    this.authority = authority
    this.registry = path.join(directory, 'registry')
    mkdirSync(this.registry, { recursive: true })
  }

  /** A bridge that carries outer packets. */
  underlay(name: string): void {
    ip(`link add name ${name} type bridge\nlink set dev ${name} up`)
    this.#bridges.push(name)
  }

  /** Stops the agents, takes their data planes down and removes everything, so that another lab can be made here. */
  async end(): Promise<void> {
    for (const gateway of this.gateways) {
      await gateway.stop()
      gateway.cli('down')
      gateway.machine.end()
    }
    for (const machine of this.#machines) machine.end()
    for (const bridge of this.#bridges) ip(`link delete dev ${bridge}`)
  }

  async gateway(name: string, plan: GatewayPlan): Promise<Gateway> {
    const gateway = await Gateway.make(name)
    this.gateways.push(gateway)
    for (const [link, { underlay, addresses }] of Object.entries(plan.underlays)) {
      this.#plug(gateway.machine, link, underlay)
      for (const address of addresses) gateway.machine.ip(`address add ${address} dev ${link} nodad`)
    }
    // Segments of a site: a bridge for all of its gateways and hosts.
    const segment = this.segment(plan.site)
    this.#plug(gateway.machine, 'site0', segment)
    for (const address of plan.siteAddresses) gateway.machine.ip(`address add ${address} dev site0 nodad`)
    if (plan.via !== undefined) gateway.machine.ip(`route add default via ${plan.via}`)
    gateway.configure([
      `fabric: ${this.fabric}`,
      `authority: ${this.authority}`,
      `site: ${plan.siteConfig ?? plan.site}`,
      `gateway: ${name}`,
      `registry: file://${this.registry}`,
      `prefixes: ${JSON.stringify(plan.prefixes)}`,
      ...(plan.config ?? []),
    ])
    return gateway
  }

  /** A host on the site's segment; `via`: its gateway. */
  async host(
    name: string,
    site: string,
    addresses: readonly string[],
    via: readonly string[],
  ): Promise<Machine> {
    const host = await this.hostOn(name, this.segment(site), addresses)
    for (const router of via) host.ip(`route add default via ${router}`)
    return host
  }

  /** The host at 10 of sitePlan(n), behind its gateway; `site`: its name, where it is not the number. */
  siteHost(n: number, site = String(n)): Promise<Machine> {
    const addresses = [`10.${n}.0.10/24`, `fd00:${n}::10/64`]
    return this.host(`host-${site}`, `site-${site}`, addresses, [`10.${n}.0.1`, `fd00:${n}::1`])
  }

  /** A host on any bridge, with no router. */
  async hostOn(name: string, bridge: string, addresses: readonly string[]): Promise<Machine> {
    const host = await Machine.make(name)
    this.#machines.push(host)
    this.#plug(host, 'eth0', bridge)
    for (const address of addresses)
      host.ip(`address add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`)
    return host
  }

  /** A port of an underlay or segment for a link of the machine. */
  plug(machine: Machine, link: string, bridge: string): void {
    this.#plug(machine, link, bridge)
  }

  segment(site: string): string {
    const name = `s-${site}`.slice(0, 15)
    if (!existsSync(`/sys/class/net/${name}`)) this.underlay(name)
    return name
  }

  /** `linkspan ca fabric`, with these lines. */
  async writeFabric(lines: readonly string[]): Promise<void> {
    const file = path.join(this.#directory, 'fabric.yml')
    writeFileSync(file, `${[`fabric: ${this.fabric}`, ...lines].join('\n')}\n`)
    await this.ca('fabric', file)
  }

  /**
   * `linkspan ca`, with the key that documents.ts signs with, so that a test can sign what no command would; what it says.
   * Throws where it fails.
   */
  async ca(...args: readonly string[]): Promise<string> {
    const directory = path.join(this.#directory, 'ca')
    if (!existsSync(directory)) makeAuthority(directory, this.fabric)
    const line = ['ca', ...args, '--ca', directory, '--registry', this.registry]
    const { code, stdout, stderr } = await linkspan(line)
    if (code !== 0) throw new Error(`linkspan ${line.join(' ')}: exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  /** Starts the agents and certifies each as soon as it has asked; `options` of `ca issue` by gateway. */
  async enrol(options: Readonly<Record<string, readonly string[]>> = {}): Promise<void> {
    for (const gateway of this.gateways) if (!gateway.running) gateway.start()
    for (const gateway of this.gateways) await this.certify(gateway, options[gateway.name] ?? [])
  }

  async certify(gateway: Gateway, options: readonly string[] = []): Promise<void> {
    const request = path.join(this.registry, 'requests', `${gateway.name}.jws`)
    for (let i = 0; i < patience && !existsSync(request); i++) await pause(25)
    if (!existsSync(request)) throw new Error(`${gateway.name} has not asked:\n${gateway.log}`)
    await this.ca('issue', gateway.name, ...options)
  }

  /** Runs the CLI where the registry is kept; throws where it fails. */
  must(...args: readonly string[]): string {
    const [first] = this.gateways
    if (first === undefined) throw new Error('the lab has no gateway')
    const { status, stdout, stderr } = first.cli(...args)
    if (status !== 0) throw new Error(`linkspan ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`)
    return stdout
  }

  #plug(machine: Machine, link: string, bridge: string): void {
    const port = `p${this.#links++}`
    ip(
      `link add name ${port} type veth peer name ${link} netns ${machine.pid}\nlink set dev ${port} master ${bridge} up`,
    )
    machine.ip(`link set dev ${link} up`)
  }
}
