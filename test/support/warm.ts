/** One `linkspan` for the many commands of a test file (warm-linkspan.ts). */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('./warm-linkspan.js', import.meta.url))

export interface Said {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

let child: ChildProcess | undefined
let isBusy = false

/** True while a line is carried out: what runs at the same time needs a process of its own. */
export function isWarmBusy(): boolean {
  return isBusy
}

/** Carries a line out, one at a time, with nothing to read and no terminal in reach. */
export async function warm(line: readonly string[]): Promise<Said> {
  isBusy = true
  try {
    return await ask(line)
  } finally {
    isBusy = false
  }
}

async function ask(line: readonly string[]): Promise<Said> {
  // In a session of its own: else it would ask the developer's terminal for passphrases.
  child ??= fork(program, { detached: true, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const one = child
  one.ref()
  one.channel?.ref()
  const gone = new AbortController()
  try {
    const answer = once(one, 'message', { signal: gone.signal }) as Promise<[Said]>
    const end = once(one, 'exit', { signal: gone.signal }).then(() => {
      child = undefined
      throw new Error(`linkspan ${line.join(' ')}: the process ended`)
    })
    one.send({ line })
    const [said] = await Promise.race([answer, end])
    return said
  } finally {
    gone.abort()
    // A test file ends when its tests do.
    one.unref()
    one.channel?.unref()
  }
}
