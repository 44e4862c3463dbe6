/**
 * What an authority must remember and no document says: every number ever given out, though its gateway is long gone; the
 * highest serial it ever signed, though the clock was set back; which key it began with; which registry it writes to; and
 * what it signed that the registry has not taken yet. `state.json` in its directory, replaced whole or not at all.
 *
 * If the file is lost, all but the numbers of vanished gateways follows from the documents (authority.ts).
 */
import { join } from 'node:path'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, LinkspanError } from '../errors.ts'
import { namePattern } from '../model/fabric.ts'
import type { Name } from '../model/fabric.ts'
import { array, decode, dictionary, integer, object, text } from '../trust/decode.ts'
import { parseJson } from '../trust/json.ts'
import { identity, name } from '../trust/payload.ts'
import { readBounded } from './bounded-file.ts'

export interface AuthorityState {
  readonly fabric: Name
  /** The key it began with: `authority:` of the gateways' config.yml. */
  readonly root: string
  /** Directory or URL. */
  readonly registry?: string
  /** The highest that was ever signed. */
  readonly serial: number
  /** By gateway, every one that ever had one. */
  readonly numbers: ReadonlyMap<Name, number>
  /** Set where this was rebuilt: lower numbers may be those of gateways that nobody remembers. */
  readonly above?: number
  /** Names of documents that were signed and may not be in the registry yet. */
  readonly pending: readonly string[]
}

/** 65,534 numbers with names of 63 characters, and as much again. */
const maxBytes = 16 * 1024 * 1024

const shape = object(
  {
    version: integer(1, 1),
    fabric: name,
    root: identity,
    serial: integer(0, Number.MAX_SAFE_INTEGER),
    numbers: dictionary(
      (key) => (namePattern.test(key) ? undefined : 'expected the name of a gateway'),
      integer(1, 65_534),
    ),
    pending: array(text(/^[\w./-]{1,200}$/, 'the name of a document')),
  },
  { registry: text(/^[^\0]{1,4096}$/, 'a directory or URL'), above: integer(0, 65_534) },
)

function pathOf(directory: string): string {
  return join(directory, 'state.json')
}

/** Undefined where there is none. Throws `state-unreadable` where it is damaged. */
export async function readState(directory: string): Promise<AuthorityState | undefined> {
  const path = pathOf(directory)
  let bytes: Buffer
  try {
    bytes = await readBounded(path, maxBytes)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  const parsed = parseJson(bytes.toString())
  const decoded = 'value' in parsed ? decode(shape, parsed.value) : undefined
  if (decoded !== undefined && 'value' in decoded) {
    const { fabric, root, serial, numbers, pending, registry, above } = decoded.value
    return {
      fabric,
      root,
      serial,
      numbers: new Map(Object.entries(numbers)),
      pending,
      ...(registry === undefined ? {} : { registry }),
      ...(above === undefined ? {} : { above }),
    }
  }
  const next = 'move it away: it is rebuilt from what was signed'
  throw new LinkspanError({ code: 'state-unreadable', object: path, reason: 'is damaged', next })
}

export async function writeState(directory: string, state: AuthorityState): Promise<void> {
  const numbers = Object.fromEntries([...state.numbers].sort(([, a], [, b]) => a - b))
  const text = JSON.stringify({ version: 1, ...state, numbers }, null, 2)
  await writeAtomically(pathOf(directory), `${text}\n`, 0o600)
}
