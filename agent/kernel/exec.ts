/**
 * Running programs: `wg`, `nft`, `wireguard-go`. The only place that starts a process.
 *
 * No shell, ever: a program and its argument array. The environment is PATH and LC_ALL=C, so messages are in English and
 * nothing of ours leaks into a child, and what a hook is told. Every run has a deadline. Secrets go in by stdin; such a run is `quiet`, because
 * `wg` quotes a key it dislikes in its error text.
 *
 * Input is a file in memory that has no name: `wg` and `nft` open /dev/stdin, which fails (ENXIO) on the sockets that Node
 * calls pipes.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { LinkspanError, errnoOf } from '../errors.ts'

export interface RunOptions {
  /** Written to stdin, which is then closed. */
  readonly input?: string | Uint8Array
  /** Milliseconds until the program is killed; default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** What the run is about, for the error; default: the command. */
  readonly object?: string
  /** Keep stderr out of the error: the input holds a key. */
  readonly quiet?: boolean
  /** Where the program writes its complaints; default stderr, which is taken, too, where stdout stayed empty. */
  readonly complaints?: 'stdout'
  /** Start a session of its own, for a program that daemonises. */
  readonly detached?: boolean
  /** A session of its own, and whatever of it is left is killed with it, and at its end. */
  readonly group?: boolean
  /** Variables besides PATH and LC_ALL; no secrets. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Exec {
  /** Runs to the end and resolves with stdout. Throws LinkspanError `exec`, or the signal's reason. */
  run(file: string, args: readonly string[], options?: RunOptions): Promise<string>
  /** The same, stdout in pieces as they come (not cut at line ends): for outputs of megabytes. */
  stream(file: string, args: readonly string[], options?: RunOptions): AsyncGenerator<string, void>
}

/** What a program that reads files opens to read its input. /dev/stdin is a link to it that not every container has. */
export const stdinFile = '/proc/self/fd/0'

export const exec: Exec = { run, stream }

const stderrTail = 2000
const standardPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  let stdout = ''
  for await (const piece of stream(file, args, options)) stdout += piece
  return stdout
}

async function* stream(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): AsyncGenerator<string, void> {
  const { signal, timeoutMs = 10_000 } = options
  signal?.throwIfAborted()
  const input = options.input === undefined ? undefined : await nameless(options.input)
  const child = spawn(file, args, {
    env: { ...options.environment, PATH: process.env['PATH'] ?? standardPath, LC_ALL: 'C' },
    cwd: '/',
    stdio: [input?.fd ?? 'ignore', 'pipe', 'pipe'],
    detached: options.detached ?? options.group ?? false,
  })
  const deadline = AbortSignal.timeout(timeoutMs)
  const kill = (): void => {
    if (options.group === true) killGroup(child)
    else child.kill('SIGKILL')
  }
  deadline.addEventListener('abort', kill, { once: true })
  signal?.addEventListener('abort', kill, { once: true })
  const end = ended(child)
  let complete = false
  try {
    const stderr = tail(child)
    let written = ''
    // Nothing is awaited between the spawn and this: at a child's end Node drains (child_process flushStdio) what nobody
    // reads yet, and a quick program's whole output would be gone.
    try {
      for await (const piece of child.stdout?.setEncoding('utf8') ?? []) {
        if (options.complaints === 'stdout') written += piece as string
        yield piece as string
      }
    } catch (error) {
      // What fled from its group held the pipe, and it was taken away.
      if (!deadline.aborted && signal?.aborted !== true) throw error
    }
    const failure = await end
    complete = true
    signal?.throwIfAborted()
    if (failure === undefined) return
    const reason = deadline.aborted ? `no end after ${timeoutMs} ms` : failure
    const said = options.quiet === true ? '' : oneLine(written === '' ? stderr() : written)
    throw new LinkspanError({
      code: 'exec',
      object: options.object ?? [file, ...args].join(' '),
      reason: said === '' ? `${file}: ${reason}` : `${file}: ${reason}: ${said}`,
      ...(failure.includes('ENOENT') ? { next: `install ${file}` } : {}),
    })
  } finally {
    deadline.removeEventListener('abort', kill)
    signal?.removeEventListener('abort', kill)
    if (!complete)
      kill() // the reader left early
    else if (options.group === true) killGroup(child)
    await input?.close()
  }
}

/** For how long, in ms, what left the group of a killed program may hold its pipes. */
const fledMs = 500

/** All that it began and that did not make a session of its own; what did loses its pipes, so that nobody waits for it. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error // nothing is left of it
  }
  setTimeout(() => {
    child.stdout?.destroy()
    child.stderr?.destroy()
  }, fledMs).unref()
}

/** O_TMPFILE: a file that never had a name; not among Node's constants. */
const temporary = 0o20000000 | constants.O_DIRECTORY

/** The text in an open file, its offset at the start. In memory, so that a key never reaches a disk. */
async function nameless(text: string | Uint8Array): Promise<FileHandle> {
  const file = await open('/dev/shm', temporary | constants.O_RDWR, 0o600)
  try {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text
    for (let at = 0; at < bytes.length;) {
      at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten
    }
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Undefined where the program succeeded. */
function ended(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      resolve(error.message)
    })
    child.once('close', (code, signal) => {
      resolve(
        code === 0 ? undefined : code === null ? `killed by ${signal ?? 'a signal'}` : `exit code ${code}`,
      )
    })
  })
}

function tail(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8')
  child.stderr?.on('data', (piece: string) => {
    text = (text + piece).slice(-stderrTail)
  })
  return () => text
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, '; ')
}
