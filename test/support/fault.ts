/** What process-fault tests share: agents with failpoints, a host swept clean, and a third gateway that exists on paper. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Document } from '../../agent/model/document.ts'
import { nexthopId } from '../../agent/model/kernel-number.ts'
import { address, prefix } from '../../agent/model/prefix.ts'
import { writeDocument } from '../../agent/registry/file.ts'
import { certificateDocument, recordDocument, sealed, signed, tunnelKeysOf } from './documents.ts'
import { dump, dumpDiff } from './dump.ts'
import type { Gateway } from './gateway.ts'
import type { Machine } from './machine.ts'

/** The guest is emulated: patience there is longer, samples are fewer, and nothing is timed. */
export const guest = process.env['LINKSPAN_GUEST'] !== undefined

const failpoint = fileURLToPath(new URL('./failpoint.js', import.meta.url))

/** Starts the agent with failpoint.ts loaded, and more of the environment. */
export function startWith(gateway: Gateway, environment: Readonly<Record<string, string>>): void {
  const more = { NODE_OPTIONS: `--import=${failpoint}`, ...environment }
  const before = { ...process.env }
  Object.assign(process.env, more)
  try {
    gateway.start()
  } finally {
    for (const name of Object.keys(more)) {
      const value = before[name]
      // An assignment would make the text "undefined".
      if (value === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = value
    }
  }
}

/** Starts the agent and waits for its first audit. */
export async function startSettled(
  gateway: Gateway,
  environment?: Readonly<Record<string, string>>,
): Promise<void> {
  gateway.log = ''
  if (environment === undefined) gateway.start()
  else startWith(gateway, environment)
  await gateway.untilLogged('first-audit', guest ? 120 : 30)
}

/** Waits until the process has ended by itself. */
export async function untilDead(gateway: Gateway, seconds = guest ? 120 : 30): Promise<void> {
  for (let i = 0; i < seconds * 50; i++) {
    if (!gateway.running) return
    await pause(20)
  }
  throw new Error(`${gateway.name} lives on:\n${gateway.log}`)
}

/** Waits until the machine's dump is as wanted; what still differs at the end. */
export async function untilDump(
  machine: Machine,
  wanted: readonly string[],
  ms = guest ? 60_000 : 2000,
  look = dump,
): Promise<readonly string[]> {
  for (const until = performance.now() + ms; ;) {
    const difference = dumpDiff(wanted, look(machine))
    if (difference.length === 0 || performance.now() > until) return difference
    await pause(50)
  }
}

/** Waits until the dump has such a line; that dump. */
export async function untilLine(machine: Machine, line: RegExp): Promise<readonly string[]> {
  for (const until = performance.now() + (guest ? 60_000 : 10_000); ;) {
    const lines = dump(machine)
    if (lines.some((each) => line.test(each))) return lines
    if (performance.now() > until) throw new Error(`no line like ${line.source} in\n${lines.join('\n')}`)
    await pause(50)
  }
}

/** `count` of 0, 1, ... last, evenly spread; all of them where LINKSPAN_TEST_LONG is set. */
export function samples(last: number, count: number): readonly number[] {
  const all = Array.from({ length: last + 1 }, (_, n) => n)
  if (process.env['LINKSPAN_TEST_LONG'] !== undefined || all.length <= count) return all
  return Array.from({ length: count }, (_, i) => Math.round((i * last) / (count - 1)))
}

/** A host where no agent ever ran, keys apart: like `down`, without its code and its start. */
export function sweep(machine: Machine): void {
  const sysctls = JSON.parse(readFileSync(machine.path('/var/lib/linkspan/sysctl.json'), 'utf8')) as Readonly<
    Record<string, { readonly value: string; readonly beside?: Readonly<Record<string, string>> }>
  >
  const restore = Object.entries(sysctls)
    .filter(([name]) => name.startsWith('net/'))
    .flatMap(([name, { value, beside }]) => [[name, value] as const, ...Object.entries(beside ?? {})])
    .map(([name, value]) => `echo '${value}' 2>/dev/null > '/proc/sys/${name}'`)
  // One `ip` for each family, which goes on after what is not there; tests do this often.
  const links = readdirSync(machine.path('/sys/class/net')).filter((name) => name.startsWith('ls-'))
  const lines = (family: 4 | 6): readonly string[] => [
    ...(family === 4 ? links.map((link) => `link delete dev ${link}`) : []),
    ...[19529, 19529, 19529, 19530, 19531].map((priority) => `rule delete priority ${priority}`),
    'route flush table 19539',
    // The others go with their links.
    ...[nexthopId.blackhole, nexthopId.blackhole4].map((id) => `nexthop delete id ${id}`),
  ]
  machine.run(
    'sh',
    '-c',
    [
      ...([4, 6] as const).map(
        (family) => `ip -${family} -force -batch - 2>/dev/null <<END\n${lines(family).join('\n')}\nEND`,
      ),
      'nft delete table inet linkspan',
      ...restore,
      'rm -rf /var/lib/linkspan/*.json /var/lib/linkspan/known',
    ].join('\n'),
  )
}

/** The third gateway has this number; nobody answers at its address. */
const paperNumber = 50

/** Documents of a gateway `g50` that is not there; `state` a or b, with everything different that may be. */
export function paperGateway(
  state: 'a' | 'b',
  serial: number,
  change: { readonly prefixes?: readonly string[] } = {},
): readonly Document[] {
  const site = { name: 'site-50', provider: '', region: '', labels: {} }
  const both = ['10.50.0.0/16', '10.51.0.0/16', '10.52.0.0/16', 'fd00:50::/48', 'fd00:51::/48']
  const prefixes = (
    change.prefixes ?? (state === 'a' ? [both[0], both[1], both[3]] : [both[0], both[2], both[3], both[4]])
  ).map((text) => prefix(text ?? ''))
  return [
    certificateDocument(paperNumber, {
      fabric: 'lab',
      serial,
      site,
      prefixes: both.map((text) => ({ prefix: prefix(text) })),
    }),
    recordDocument(paperNumber, {
      fabric: 'lab',
      serial,
      tunnelKeys: tunnelKeysOf(`g50 ${state}`),
      endpoints: [
        { underlay: 'wan', address: address(state === 'a' ? '192.0.2.50' : '192.0.2.51'), port: 51820 },
      ],
      prefixes,
    }),
  ]
}

export async function publish(registry: string, documents: readonly Document[]): Promise<void> {
  for (const document of documents) await writeDocument(registry, signed(document), sealed(document))
}
