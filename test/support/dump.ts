/**
 * The canonical dump of a machine's network: what `ip`, `nft` and `wg` show of it, in an order of its own and without what
 * changes by itself (counters, handshakes, indices, handles). Two equal dumps: nobody wrote anything that stayed.
 *
 * It is taken by the kernel's own tools, so that a mistake in the agent's codecs cannot hide itself.
 */
import type { Machine } from './machine.ts'

/** Where programs can be run: a machine of the lab, or this one. */
export type Runner = Pick<Machine, 'run'>

/** Each prints one part; a part that a machine does not have is empty. */
const parts: Readonly<Record<string, string>> = {
  link: 'ip -d -o link show',
  address: 'ip -o address show',
  route4: 'ip -N -d -4 route show table all',
  route6: 'ip -N -d -6 route show table all',
  nexthop: 'ip -N nexthop show',
  rule4: 'ip -N -4 rule show',
  rule6: 'ip -N -6 rule show',
  fdb: 'bridge fdb show',
  nft: 'nft -j -s list ruleset',
  wg: 'wg show all dump',
  // Neighbour tables and the like have their own clocks; these are what an agent may write.
  sysctl:
    'cd /proc/sys/net && grep -H . ipv4/ip_forward ipv4/fib_multipath_hash_policy ipv6/conf/*/forwarding ipv6/conf/*/accept_ra ipv6/conf/*/disable_ipv6 ipv6/conf/*/addr_gen_mode ipv4/conf/*/rp_filter ipv4/conf/*/forwarding ipv4/conf/*/send_redirects ipv6/fib_multipath_hash_policy 2>/dev/null',
}

const separator = '-----8<-----'

/** Lines `part<TAB>text`, sorted. */
export function dump(machine: Runner): readonly string[] {
  const script = Object.values(parts).join(`; echo "${separator}"; `)
  const outputs = machine.run('sh', '-c', `${script}; true`).split(`${separator}\n`)
  return Object.keys(parts).flatMap((part, i) =>
    linesOf(part, outputs[i] ?? '')
      .sort()
      .map((line) => `${part}\t${line}`),
  )
}

/** What is in one dump only: `- ` gone, `+ ` come; empty where they are equal. */
export function dumpDiff(before: readonly string[], after: readonly string[]): readonly string[] {
  const had = new Set(before)
  const has = new Set(after)
  return [
    ...before.filter((line) => !has.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !had.has(line)).map((line) => `+ ${line}`),
  ]
}

/** What one `ip` command printed, as dump() lists it: for who wants a part of the dump often. */
export function dumpLines(output: string): readonly string[] {
  return linesOf('ip', output).sort()
}

function linesOf(part: string, output: string): string[] {
  if (part === 'nft') return nftLines(output)
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  // What a bridge or VXLAN link learns comes and goes.
  if (part === 'fdb') return lines.filter((line) => /permanent|static/.test(line)).map(plainLine)
  return part === 'wg' ? lines.map(wgLine) : lines.map(plainLine)
}

function plainLine(line: string): string {
  return line
    .replace(/^\d+: /, '')
    .replace(/@(if\d+|\w+)/, '')
    .replace(/ link-netnsid \d+/, '')
    .replace(/ unbalanced_time [\d.]+/, '')
    .replace(/ \w+_timer +[\d.]+/g, '')
    .replace(/ expires \d+sec/, '')
    .replace(/ (valid|preferred)_lft \d+sec/g, '')
    .replace(/ state (UP|UNKNOWN|LOWERLAYERDOWN) /, ' state UP ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** A device: name, private key, public key, port, mark. A peer: device, key, psk, endpoint, allowed IPs, then what changes. */
function wgLine(line: string): string {
  const words = line.split('\t')
  if (words.length === 5) {
    const [device, , publicKey, port, mark] = words
    return `device ${device ?? ''} ${publicKey ?? ''} port ${port ?? ''} mark ${mark ?? ''}`
  }
  const [device, key, , endpoint, allowed = '', , , , keepalive] = words
  const prefixes = allowed.split(',').sort().join(',')
  return `peer ${device ?? ''} ${key ?? ''} ${endpoint ?? ''} ${prefixes} keepalive ${keepalive ?? ''}`
}

function nftLines(output: string): string[] {
  if (output.trim() === '') return []
  const { nftables } = JSON.parse(output) as { nftables: readonly Record<string, unknown>[] }
  /** Rules count by their order in a chain, everything else by itself. */
  const places = new Map<string, number>()
  return nftables.flatMap((entry) => {
    const [kind, content] = Object.entries(entry)[0] ?? ['', undefined]
    if (kind === 'metainfo') return []
    const object = { ...(content as Record<string, unknown>) }
    delete object['handle']
    if (kind === 'counter') Object.assign(object, { packets: 0, bytes: 0 })
    if (kind === 'rule') {
      const chain = `${String(object['table'])} ${String(object['chain'])}`
      const place = places.get(chain) ?? 0
      places.set(chain, place + 1)
      object['place'] = place
    }
    const { elem, ...rest } = object
    const elements = Array.isArray(elem) ? elem.map((each) => JSON.stringify(each)) : []
    const set = `${kind} ${JSON.stringify(rest)}`
    return [set, ...elements.map((each) => `element ${String(rest['name'])} ${each}`)]
  })
}
