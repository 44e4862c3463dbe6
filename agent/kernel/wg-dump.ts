/**
 * `wg show <device> dump`, read as it streams in.
 *
 * The first line is the device and starts with its private key, which is cut off before anything else is looked at. Each
 * further line is a peer, with all its AllowedIPs in one column: a line may be megabytes long, so the reader hands out
 * objects in portions and gives the event loop its turn between them.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { AllowedIP, Device, KernelObject, Peer } from '../model/kernel-object.ts'
import { parsePublicKey } from '../model/key.ts'
import type { PublicKey } from '../model/key.ts'
import { isMalformed, parsePrefix } from '../model/prefix.ts'
import type { Prefix } from '../model/prefix.ts'

/** Objects handed out at once: about a millisecond of work. */
const portion = 2000

/** Device, Peer and AllowedIP objects of one device's dump. */
export async function* readDump(
  device: string,
  pieces: AsyncIterable<string>,
): AsyncGenerator<KernelObject[], void> {
  let objects: KernelObject[] = []
  let first = true
  for await (const line of linesOf(pieces)) {
    if (first) {
      first = false
      const found = readDevice(device, line)
      if (found !== undefined) objects.push(found)
      continue
    }
    const columns = line.split('\t')
    const publicKey = parsePublicKey(columns[0] ?? '')
    if (publicKey === undefined) continue
    objects.push(readPeer(device, publicKey, columns))
    for (const prefix of prefixesOf(columns[3] ?? '')) {
      if (objects.length >= portion) {
        yield objects
        objects = []
        await turn()
      }
      objects.push(allowedIP(device, prefix, publicKey))
    }
  }
  if (objects.length > 0) yield objects
}

/** Whole lines. Pieces of a long line are joined once, when it ends. */
async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string, void> {
  let open: string[] = []
  for await (const piece of pieces) {
    let from = 0
    for (let end = piece.indexOf('\n'); end >= 0; end = piece.indexOf('\n', from)) {
      const line = piece.slice(from, end)
      from = end + 1
      if (open.length === 0) yield line
      else {
        open.push(line)
        yield open.join('')
        open = []
      }
    }
    if (from < piece.length) open.push(piece.slice(from))
  }
  if (open.length > 0) yield open.join('')
}

/** private key, public key, port, fwmark. Undefined where the device has no key yet. */
function readDevice(name: string, line: string): Device | undefined {
  const [publicKey = '', port = '', mark = ''] = line.slice(line.indexOf('\t') + 1).split('\t')
  const key = parsePublicKey(publicKey)
  if (key === undefined) return undefined
  return {
    kind: 'device',
    name,
    publicKey: key,
    listenPort: Number(port),
    fwmark: mark === 'off' ? 0 : Number(mark),
  }
}

/** public key, preshared key, endpoint, AllowedIPs, latest handshake, received, sent, keepalive. */
function readPeer(device: string, publicKey: PublicKey, columns: readonly string[]): Peer {
  const [, , endpoint = '(none)', , handshake, received, sent, keepalive] = columns
  return {
    kind: 'peer',
    device,
    publicKey,
    ...(endpoint === '(none)' ? {} : { endpoint }),
    keepalive: keepalive === undefined || keepalive === 'off' ? 0 : Number(keepalive),
    latestHandshake: Number(handshake ?? 0),
    received: Number(received ?? 0),
    sent: Number(sent ?? 0),
  }
}

function allowedIP(device: string, prefix: Prefix, publicKey: PublicKey): AllowedIP {
  return { kind: 'allowed-ip', device, prefix, publicKey }
}

function* prefixesOf(column: string): Generator<Prefix, void> {
  if (column === '' || column === '(none)') return
  let from = 0
  while (from < column.length) {
    const comma = column.indexOf(',', from)
    const end = comma < 0 ? column.length : comma
    const text = column.slice(from, end)
    from = end + 1
    // wg prints canonical text, save for IPv6 addresses that glibc writes with a dotted tail.
    if (!text.includes('.') || !text.includes(':')) yield text as Prefix
    else {
      const parsed = parsePrefix(text)
      if (!isMalformed(parsed)) yield parsed
      else if (parsed.hint !== undefined) yield parsed.hint as Prefix
    }
  }
}
