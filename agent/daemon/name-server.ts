/**
 * Name servers of the host, while the registry is given by name. One that lies inside a prefix of a peer's is as much needed
 * as the registry itself: whoever cannot ask it never learns where the registry is, nor by which way the peer is reached. So
 * they get throw routes like the registry's addresses.
 *
 * They are those that getaddrinfo() asks: of /etc/resolv.conf, or, where that names nothing but the stub of systemd-resolved,
 * those that systemd-resolved asks (resolved.conf(5), systemd-resolved.service(8)). The files are looked at again and again,
 * because DHCP clients replace them, and their links. What names none (a file that is being written) changes nothing.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { pause } from '../pause.ts'
import { isMalformed, parseAddress } from '../model/prefix.ts'
import type { Address } from '../model/prefix.ts'
import { isUnreachable } from '../trust/payload.ts'

export interface NameServerFiles {
  readonly resolver: string
  /** What the stub of systemd-resolved asks. */
  readonly upstream: string
}

const systemFiles: NameServerFiles = {
  resolver: '/etc/resolv.conf',
  upstream: '/run/systemd/resolve/resolv.conf',
}
/** Between two looks, in ms. */
const lookMs = 10_000
/** Of a file, in bytes; the libraries read one of any length, and none is longer than a page. */
const mostBytes = 65_536
/** glibc and musl ask three; systemd-resolved asks all that its links have. */
const most = 16
/** Of systemd-resolved, on every host. */
const stubs: readonly string[] = ['127.0.0.53', '127.0.0.54']

export class NameServers {
  readonly #files: NameServerFiles
  readonly #everyMs: number
  #all: readonly Address[] = []
  #onNew: (() => void) | undefined

  constructor(files: NameServerFiles = systemFiles, everyMs = lookMs) {
    this.#files = files
    this.#everyMs = everyMs
  }

  get all(): readonly Address[] {
    return this.#all
  }

  /** Called when there are others. */
  onNew(call: () => void): void {
    this.#onNew = call
  }

  /** Looks, and goes on looking until the signal aborts. Never rejects. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look()
      await pause(this.#everyMs, signal)
    }
  }

  async look(): Promise<void> {
    const named = await namedIn(this.#files.resolver)
    const isStub = named.length > 0 && named.every((text) => stubs.includes(text))
    const found = serversOf(isStub ? await namedIn(this.#files.upstream) : named)
    if (found === undefined || found.join() === this.#all.join()) return
    this.#all = found
    this.#onNew?.()
  }
}

/** What the `nameserver` lines of a resolv.conf(5) say, in order; the keyword begins the line, as for the libraries. */
export function nameserverLines(text: string): string[] {
  return text
    .split('\n')
    .flatMap((line) => /^nameserver[ \t]+([^\s#;]+)/.exec(line)?.[1] ?? [])
    .slice(0, most)
}

/** Those that a route can lead to; undefined where the file names none at all. */
function serversOf(named: readonly string[]): Address[] | undefined {
  if (named.length === 0) return undefined
  const servers = named.flatMap((text) => {
    const address = parseAddress(text)
    return isMalformed(address) || isUnreachable(address) ? [] : [address]
  })
  return [...new Set(servers)].sort()
}

/** Empty where the file cannot be read: then nobody on this host can tell the name servers. */
async function namedIn(path: string): Promise<string[]> {
  try {
    // Not blocking: opening a FIFO would wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(mostBytes), 0, mostBytes, 0)
      return nameserverLines(buffer.toString('latin1', 0, bytesRead))
    } finally {
      await file.close()
    }
  } catch {
    return [] // what names none changes nothing
  }
}
