/**
 * A machine of the lab: a network namespace and a mount namespace of its own, held by a keeper process. /run,
 * /etc/linkspan and /var/lib/linkspan are private, so that an agent runs with its default paths, as on a VM.
 *
 * Machines live inside the namespaces that isolate.ts makes for a test file: when that process ends, however it ends, the
 * kernel ends every process of its PID namespace and the namespaces go with them.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/**
 * Run by the keeper. /etc and /var/lib get a layer of memory, so that the agent's folders need not exist on this machine.
 */
const furnish = `
mount -t tmpfs -o mode=755 tmpfs /run
for below in /etc /var/lib; do
  layer=/run/.layer$below
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay -o "lowerdir=$below,upperdir=$layer/upper,workdir=$layer/work" overlay "$below"
done
for own in /etc/linkspan /var/lib/linkspan; do
  mkdir -p "$own"
  mount -t tmpfs tmpfs "$own"
done
mount -t sysfs sysfs /sys
ip link set dev lo up
# Addresses are there at once: what a test compares must not change by itself.
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
mkdir -p /run/wireguard
touch /run/lab-ready
exec sleep infinity
`

export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export class Machine {
  readonly name: string
  readonly #keeper: ChildProcess

  private constructor(name: string, keeper: ChildProcess) {
    this.name = name
    this.#keeper = keeper
  }

  static async make(name: string): Promise<Machine> {
    const keeper = spawn('unshare', ['--net', '--mount', '--propagation', 'private', 'sh', '-ec', furnish], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    keeper.unref() // the test ends when the test is done
    const machine = new Machine(name, keeper)
    for (let i = 0; i < 3000 && !existsSync(`/proc/${machine.pid}/root/run/lab-ready`); i++) await pause(10)
    return machine
  }

  /** Of the keeper, in the test's PID namespace. */
  get pid(): number {
    return this.#keeper.pid ?? 0
  }

  /** Runs a program to its end; its stdout. Throws where it fails. */
  run(file: string, ...args: readonly string[]): string {
    return execFileSync('nsenter', this.#enter(file, args), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  /** `ip` with the words of a line. */
  ip(line: string): string {
    return this.run('ip', ...line.trim().split(/\s+/))
  }

  /** Runs a program to its end, whatever its end. */
  attempt(file: string, ...args: readonly string[]): Outcome {
    const { status, stdout, stderr } = spawnSync('nsenter', this.#enter(file, args), {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    return { status: status ?? -1, stdout, stderr }
  }

  /** Starts a program and lets it run. */
  spawn(file: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn('nsenter', this.#enter(file, args), options)
  }

  /** Path of a file of the machine, as this process sees it. */
  path(file: string): string {
    return `/proc/${this.pid}/root${file}`
  }

  /** True where one echo request of `size` bytes is answered within a second. */
  pings(address: string, size = 56): boolean {
    return this.attempt('ping', '-c', '1', '-W', '1', '-s', String(size), address).status === 0
  }

  /** Within a few tries: the first packets wait for the handshake, for bridges and for neighbours. */
  async reaches(address: string): Promise<boolean> {
    for (let i = 0; i < 30; i++) {
      if (this.pings(address)) return true
      await pause(200)
    }
    return false
  }

  end(): void {
    this.#keeper.kill('SIGKILL')
  }

  #enter(file: string, args: readonly string[]): string[] {
    return ['--target', String(this.pid), '--mount', '--net', '--wd=/', '--', file, ...args]
  }
}
