/**
 * `linkspan` that stays: a process that carries out one command line after the other, since most of what a command costs is its
 * start. It is a child of warm.ts, which asks by messages.
 */
import { enter } from '../../agent/cli/entry.ts'

interface Asked {
  readonly line: readonly string[]
}

process.on('message', ({ line }: Asked) => {
  void carryOut(line)
})
process.on('disconnect', () => {
  process.exit()
})

async function carryOut(line: readonly string[]): Promise<void> {
  const out = captured(process.stdout)
  const err = captured(process.stderr)
  process.exitCode = undefined
  await enter(line)
  const said = { code: exitCode(), stdout: out(), stderr: err() }
  process.send?.(said)
}

function exitCode(): number {
  return Number(process.exitCode ?? 0)
}

/** Takes what is written from now on; answers what gives it, and lets go. */
function captured(stream: NodeJS.WriteStream): () => string {
  const chunks: Buffer[] = []
  const write = stream.write.bind(stream)
  stream.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
    chunks.push(Buffer.from(chunk))
    const done = rest.at(-1)
    if (typeof done === 'function') process.nextTick(done)
    return true
  }
  return () => {
    stream.write = write
    return Buffer.concat(chunks).toString()
  }
}
