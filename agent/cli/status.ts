/**
 * `linkspan status`: is it well, who are the peers, what is wrong and what to do about it, in that order. Loads no more
 * than it needs: it must answer within 0.2 s.
 */
import type { Argv, CommandModule } from 'yargs'
import { formatReason, LinkspanError } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { formatAgo, formatBytes } from '../daemon/duration.ts'
import type { PathView } from '../daemon/path-view.ts'
import type { PeerView } from '../daemon/peer-view.ts'
import type { RotationView } from '../daemon/rotation.ts'
import type { SiteSideView } from '../daemon/site-side.ts'
import type { Status } from '../daemon/status.ts'
import type { CloudView } from '../daemon/surroundings.ts'
import { ask, defaultRunDirectory } from './client.ts'
import { exitCode } from './exit-code.ts'
import { withJson, withRunDirectory } from './option.ts'
import { count, table } from './table.ts'

export interface StatusArguments {
  readonly gateway?: string
  readonly json: boolean
  readonly 'run-directory'?: string
}

export const statusCommand: CommandModule<object, StatusArguments> = {
  command: 'status [gateway]',
  describe: 'Health, peers, problems and what to do; exit code 3 when degraded',
  builder: (yargs) =>
    withRunDirectory(withJson(yargs)).positional('gateway', {
      type: 'string',
      describe: 'One peer in full',
    }) as unknown as Argv<StatusArguments>,
  handler: showStatus,
}

export async function showStatus(options: StatusArguments): Promise<void> {
  const status = (await ask(options['run-directory'] ?? defaultRunDirectory, '/status')) as Status
  const { gateway } = options
  const nowSeconds = Date.now() / 1000
  if (gateway !== undefined) {
    const peers = status.peers.filter((peer) => peer.gateway === gateway)
    const notes = status.notes.filter((note) => note.gateway === gateway)
    if (peers.length === 0 && notes.length === 0) throw unknownGateway(gateway, status)
    if (options.json) print(JSON.stringify({ schema: status.schema, peers, notes }))
    else print(formatGateway(gateway, peers, status, nowSeconds))
    process.exitCode = peers.some(({ state }) => state === 'up') ? exitCode.ok : exitCode.degraded
    return
  }
  print(options.json ? JSON.stringify(status) : formatStatus(status, nowSeconds))
  process.exitCode = status.health === 'ok' ? exitCode.ok : exitCode.degraded
}

/** The whole answer, health first. */
export function formatStatus(status: Status, nowSeconds: number): string {
  const { health, summary, gateway, site, fabric, number, dataPlane, registry } = status
  const where = `gateway ${gateway}${number === undefined ? '' : ` (number ${number})`}, site ${site}, fabric ${fabric}`
  const lines = [
    `${health}: ${summary}`,
    where,
    `version ${status.version}, up ${formatFor(status.uptimeSeconds)}`,
  ]
  if (status.overlay.length > 0) lines.push(`overlay address ${status.overlay.join(', ')}`)
  if (status.keys !== undefined) lines.push(keysLine(status.keys))
  if (status.cloud !== undefined) lines.push(cloudLine(status.cloud))
  if (status.siteSide !== undefined) lines.push(...siteSideLines(status.siteSide, gateway, nowSeconds))
  if (dataPlane !== 'kernel') {
    lines.push(
      '',
      'ATTENTION: this kernel has no WireGuard, so wireguard-go encrypts in user space: several times slower.',
      '           Use a kernel with CONFIG_WIREGUARD (any stock kernel since 5.6), then restart the gateway.',
    )
  }
  if (status.peers.length > 0) lines.push('', ...formatPeers(status.peers, nowSeconds))
  const problems = problemLines(status, nowSeconds)
  if (problems.length > 0) lines.push('', 'Problems', ...problems)
  const remarks = remarkLines(status, nowSeconds)
  if (remarks.length > 0) lines.push('', 'Remarks', ...remarks)
  const age = registry.ageSeconds === undefined ? 'never read' : `last news ${formatAgo(registry.ageSeconds)}`
  lines.push('', `registry ${registry.source}: ${age}; ${count(status.routes, 'route')} planned`)
  if (registry.outbox !== undefined) {
    const { path, next } = registry.outbox
    lines.push(`outbox ${path}: not in the registry yet`, `  next: ${next}`)
  }
  return lines.join('\n')
}

/** Which keys, and what a rotation waits for. */
export function keysLine({ generation, ageSeconds, phase, older, waitsFor }: RotationView): string {
  const made = `key generation ${generation}, made ${formatAgo(ageSeconds)}`
  if (older === undefined) return waitsFor === undefined ? made : `${made}; ${waitsFor}`
  return `${made}; ${older.generation} ${phase === 'retiring' ? 'retires' : 'is still in place'}${waitsFor === undefined ? '' : `: ${waitsFor}`}`
}

/** Where the cloud says we are, or why it says nothing. */
function cloudLine({ provider, region, zone, addresses, prefixes, trouble }: CloudView): string {
  if (provider === undefined) return `cloud: ${trouble?.reason ?? 'unknown'}`
  const place = [provider, region, zone].filter((word) => word !== undefined && word !== '').join(' ')
  const list = (texts: readonly string[] = []): string => (texts.length === 0 ? 'none' : texts.join(', '))
  return `cloud ${place}: public address ${list(addresses)}, prefixes ${list(prefixes)}`
}

/** Who is active for the site's hosts, and what the hook did. */
function siteSideLines(view: SiteSideView, own: string, nowSeconds: number): readonly string[] {
  const { active, self, sinceMs, unseen, hook } = view
  const who =
    active === undefined
      ? 'no gateway is active'
      : active !== own
        ? `${active} is active`
        : self
          ? 'this gateway is active'
          : 'this gateway is about to be active'
  const blind = unseen.length === 0 ? '' : `; no path to ${unseen.join(', ')}`
  const lines = [`for the hosts of its site: ${who}, since ${formatAgo(nowSeconds - sinceMs / 1000)}${blind}`]
  if (hook === undefined) return lines
  const { name, program, running, last } = hook
  const run =
    last === undefined
      ? 'never run'
      : `${last.outcome} ${formatAgo(nowSeconds - last.atMs / 1000)} (${last.cause}, ${last.ms} ms)${last.said === '' ? '' : `: ${last.said}`}`
  return [...lines, `hook ${name} ${program}: ${running ? 'running; before that ' : ''}${run}`]
}

/** One line a peer. */
export function formatPeers(peers: readonly PeerView[], nowSeconds: number): string[] {
  const underlays = new Set(peers.map(({ underlay }) => underlay)).size > 1
  const probed = peers.some(({ path }) => path !== undefined)
  const head = [
    'PEER',
    'SITE',
    ...(underlays ? ['UNDERLAY'] : []),
    'STATE',
    'ENDPOINT',
    'HANDSHAKE',
    ...(probed ? ['RTT', 'JITTER', 'LOSS'] : []),
    'RX/TX',
    'PREFIXES',
  ]
  const rows = peers.map((peer) => [
    peer.gateway,
    peer.site,
    ...(underlays ? [peer.underlay] : []),
    `${peer.state}${peer.path?.used === false && peer.state === 'up' ? ', spare' : ''}`,
    peer.endpoint ?? '-',
    handshakeOf(peer, nowSeconds),
    ...(probed ? pathCells(peer.path) : []),
    `${formatBytes(peer.receivedBytes)} / ${formatBytes(peer.sentBytes)}`,
    String(peer.prefixes),
  ])
  return table([head, ...rows])
}

function pathCells(path: PathView | undefined): readonly string[] {
  if (path === undefined) return ['-', '-', '-']
  const ms = (value: number | undefined): string => (value === undefined ? '-' : `${value.toPrecision(3)} ms`)
  return [ms(path.rttMs), ms(path.jitterMs), `${Math.round(path.loss * 100)} %`]
}

/** `first`: the underlay that traffic to this gateway takes. */
function pathLines(path: PathView | undefined, first: string | undefined): readonly string[] {
  if (path === undefined) return []
  const { used, rttMs, rttMinMs = 0, rttMeanMs = 0, rttP95Ms = 0, jitterMs = 0, loss, mtu } = path
  const rtt =
    rttMs === undefined
      ? 'nothing measured'
      : `round trip ${rttMs} ms (last second: least ${rttMinMs}, mean ${rttMeanMs}, 95 % within ${rttP95Ms}), jitter ${jitterMs} ms`
  // Whatever else keeps it out of use is the peer's `reason`.
  const isBehind = !used && path.standing === 'fit' && first !== undefined
  const use = used ? 'in use' : `not in use${isBehind ? `: ${first} goes first` : ''}`
  return [
    `  path: ${use}; ${rtt}, loss ${Math.round(loss * 1000) / 10} %`,
    ...(mtu === undefined
      ? []
      : [`  path MTU: ${mtu} bytes in the tunnel; documents say ${path.mtuByDocuments ?? mtu}`]),
  ]
}

/** `linkspan status GATEWAY`. */
export function formatGateway(
  gateway: string,
  peers: readonly PeerView[],
  status: Status,
  nowSeconds: number,
): string {
  const site = peers[0]?.site
  const first = peers.find(({ path }) => path?.used === true)?.underlay
  const lines = [`gateway ${gateway}${site === undefined ? '' : `, site ${site}`}`]
  for (const peer of peers) {
    lines.push(
      '',
      `underlay ${peer.underlay}: ${peer.state}`,
      `  device: ${peer.device}`,
      `  public key: ${peer.publicKey}`,
      `  endpoint: ${peer.endpoint ?? 'none; it calls us'}`,
      `  latest handshake: ${handshakeOf(peer, nowSeconds)}`,
      ...pathLines(peer.path, first),
      `  transfer: ${formatBytes(peer.receivedBytes)} received, ${formatBytes(peer.sentBytes)} sent`,
      `  prefixes: ${peer.prefixes}; see them with \`linkspan routes\``,
      ...(peer.reason === undefined ? [] : [`  reason: ${peer.reason}`]),
      ...(peer.next === undefined ? [] : [`  next: ${peer.next}`]),
    )
  }
  const notes = status.notes.filter((note) => note.gateway === gateway)
  if (notes.length > 0) lines.push('', ...notes.map(({ reason }) => `note: ${reason}`))
  return lines.join('\n')
}

/** Why peers are not simply up. */
export function peerProblems(peers: readonly PeerView[]): string[] {
  return peers.flatMap(({ gateway, underlay, reason, next }) => {
    const object = `${gateway} over ${underlay}`
    return reason === undefined ? [] : problem({ object, reason, ...(next === undefined ? {} : { next }) })
  })
}

function problem({ object, reason, next }: Omit<Reason, 'code'>): string[] {
  return [`  ${object}: ${reason}`, ...(next === undefined ? [] : [`    next: ${next}`])]
}

/** What is wrong, each with what to do. */
function problemLines(status: Status, nowSeconds: number): string[] {
  const lines = [...status.registry.unreadable.flatMap(problem), ...peerProblems(status.peers)]
  const add = (reason: Omit<Reason, 'code'>): void => {
    lines.push(...problem(reason))
  }
  for (const conflict of status.conflicts) add(conflict)
  for (const { object, reason, next, times, sinceMs } of status.failures) {
    const since = formatAgo(nowSeconds - sinceMs / 1000)
    add({
      object,
      reason: `${reason}; failed ${times} times, first ${since}`,
      ...(next === undefined ? {} : { next }),
    })
  }
  for (const { origin, object, reason, next } of status.refusals) {
    const place = object.startsWith(origin) ? object : `${origin}: ${object}`
    add({ object: place, reason: `refused: ${reason}`, ...(next === undefined ? {} : { next }) })
  }
  const more = (status.refused?.total ?? 0) - status.refusals.length
  if (more > 0) {
    const rules = Object.entries(status.refused?.byRule ?? {}).map(([rule, count]) => `${rule} ${count}`)
    add({ object: 'registry', reason: `${more} more documents are refused; by rule: ${rules.join(', ')}` })
  }
  return lines
}

/** More of one kind than this are counted, not listed. */
const listed = 8

/** What is as it should be and may surprise. */
function remarkLines(status: Status, nowSeconds: number): string[] {
  const lines = status.notes.slice(0, listed).map(({ object, reason }) => `  ${object}: ${reason}`)
  if (status.notes.length > listed)
    lines.push(`  and ${status.notes.length - listed} more: \`linkspan routes\`, \`status --json\``)
  const silent = status.cloud?.trouble
  if (silent !== undefined) lines.push(`  ${formatReason(silent)}`)
  for (const { object, sinceMs } of status.vanished.slice(0, listed)) {
    lines.push(
      `  ${object}: gone from the registry since ${formatAgo(nowSeconds - sinceMs / 1000)}, still in force`,
    )
  }
  if (status.vanished.length > 0) {
    lines.push('    to remove a gateway, list it under `removed:` in the fabric document')
  }
  return lines
}

function handshakeOf({ latestHandshake }: PeerView, nowSeconds: number): string {
  return latestHandshake === 0 ? 'never' : formatAgo(nowSeconds - latestHandshake)
}

function formatFor(seconds: number): string {
  return seconds < 1 ? '0 seconds' : formatAgo(seconds).replace(/ ago$/, '')
}

function unknownGateway(gateway: string, { peers }: Status): LinkspanError {
  const known = [...new Set(peers.map((peer) => peer.gateway))].slice(0, 20).join(', ')
  return new LinkspanError({
    code: 'usage',
    object: gateway,
    reason: 'is no peer of this gateway',
    next: known === '' ? 'there are no peers' : `peers are: ${known}`,
  })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
