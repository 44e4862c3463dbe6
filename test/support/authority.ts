/** An authority on the command line: its directory, a registry, and `linkspan` as a process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Document, DocumentType, Signed } from '../../agent/model/document.ts'
import { documentPath } from '../../agent/registry/file.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { requestDocument, sealed, signed, signerOf } from './documents.ts'
import { isWarmBusy, warm } from './warm.ts'
import type { Said } from './warm.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

export type { Said }

/** Runs `linkspan`: in a process of its own where it has an input or others run, else in one that stays. No terminal is in its reach. */
export async function linkspan(line: readonly string[], input?: string): Promise<Said> {
  if (input === undefined && !isWarmBusy()) return warm(line)
  // In a session of its own: else it would ask the developer's terminal for passphrases.
  const child = spawn(process.execPath, [main, ...line], { detached: true })
  const tooLong = setTimeout(() => child.kill('SIGKILL'), 180_000)
  const exit = once(child, 'close') as Promise<[number | null]>
  child.stdin.on('error', () => undefined) // it may not read any
  child.stdin.end(input)
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exit])
  clearTimeout(tooLong)
  return { code: code ?? -1, stdout, stderr }
}

export class AuthorityRig {
  readonly directory: string
  readonly registry: string
  readonly ca: string

  /** `directory`: an empty one of the test's own. */
  constructor(directory: string) {
    this.directory = directory
    this.registry = path.join(directory, 'registry')
    this.ca = path.join(directory, 'ca')
  }

  /** `linkspan ca`, on this authority and, where none is remembered, this registry. */
  run(...line: readonly string[]): Promise<Said> {
    return linkspan(['ca', ...line, '--ca', this.ca])
  }

  /** The same; throws where it fails, and answers what `--json` says. */
  async json(...line: readonly string[]): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.run(...line, '--json')
    if (code !== 0) throw new Error(`linkspan ca ${line.join(' ')}: exit ${code}\n${stdout}${stderr}`)
    return JSON.parse(stdout) as Record<string, unknown>
  }

  /** An authority with a fabric document, and requests of these gateways in the registry. */
  async begin(requests: readonly number[] = [], yaml = 'fabric: prod\n'): Promise<void> {
    await this.json('init', 'prod', '--no-passphrase', '--registry', this.registry)
    const file = this.file('fabric.yml', yaml)
    await this.json('fabric', file)
    for (const number of requests) this.put(requestDocument(number))
  }

  file(name: string, content: string | Uint8Array): string {
    const file = path.join(this.directory, name)
    writeFileSync(file, content)
    return file
  }

  /** Puts a document into the registry, signed by who should or by `key`; its path. */
  put(document: Document, key = signerOf(document)): string {
    const bytes = sealed(document, key)
    const file = documentPath(this.registry, signed(document, key))
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, bytes)
    return file
  }

  /** Documents of a type in the registry. */
  documents<T extends DocumentType>(type: T): Signed<Extract<Document, { type: T }>>[] {
    const folder = type === 'authority' ? type : type === 'fabric' ? '.' : `${type}s`
    const at = path.join(this.registry, folder)
    const files = type === 'fabric' ? ['fabric.jws'] : readdirSync(at).filter((name) => name.endsWith('.jws'))
    return files.map((name) => {
      const parsed = parseDocument({ origin: name, bytes: readFileSync(path.join(at, name)) })
      if (isRefusal(parsed)) throw new Error(`${parsed.object}: ${parsed.reason}`)
      if (parsed.document.type !== type) throw new Error(`${name} is a ${parsed.document.type}`)
      return parsed as Signed<Extract<Document, { type: T }>>
    })
  }

  state(): Record<string, unknown> {
    return JSON.parse(readFileSync(path.join(this.ca, 'state.json'), 'utf8')) as Record<string, unknown>
  }

  /** Paths of the key files, in order. */
  keys(): string[] {
    return readdirSync(this.ca)
      .filter((name) => name.startsWith('key-'))
      .map((name) => path.join(this.ca, name))
  }
}
