#!/usr/bin/env node
/**
 * The process entry: from arguments to an exit code.
 *
 * Results go to stdout, messages to stderr, one line each. `status` is what people and programs ask most and must answer
 * at once, so its usual form is parsed here, without loading what the other commands need.
 */
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { parseArgs } from 'node:util'
import { exitCodeOf } from './cli/exit-code.ts'
import { formatReason, reasonOf } from './errors.ts'

/** Made by the package for the service; bytecode is read only from where nobody else can put any. */
const compileCache = '/var/cache/linkspan'

/** The options of a plain `status`, or undefined where yargs must look at it. */
function plainStatus(line: readonly string[]): { json: boolean; gateway?: string } | undefined {
  if (line[0] !== 'status') return undefined
  try {
    const { values, positionals } = parseArgs({
      args: line.slice(1),
      options: { json: { type: 'boolean' } },
      allowPositionals: true,
    })
    if (positionals.length > 1) return undefined
    const [gateway] = positionals
    return { json: values.json === true, ...(gateway === undefined ? {} : { gateway }) }
  } catch {
    return undefined // yargs says what is wrong
  }
}

async function main(line: readonly string[]): Promise<void> {
  const status = plainStatus(line)
  if (status !== undefined) {
    const { showStatus } = await import('./cli/status.ts')
    await showStatus(status)
    return
  }
  if (process.getuid?.() === 0 && 'enableCompileCache' in nodeModule) {
    if (existsSync(compileCache)) nodeModule.enableCompileCache(compileCache)
  }
  const { runCommandLine } = await import('./cli/command-line.ts')
  await runCommandLine(line)
}

// `linkspan routes | head`: the reader has what it wanted.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(Number(process.exitCode ?? 0))
    throw error
  })
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`linkspan: ${formatReason(reasonOf(error, 'linkspan'))}\n`)
  process.exitCode = exitCodeOf(error)
}
