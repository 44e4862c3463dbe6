#!/usr/bin/env -S node --max-semi-space-size=4
/**
 * The process entry.
 *
 * The flag in the first line (MiB) is V8's bound for young objects. Its own, 16, lets an agent of 100,000 routes keep 30 MB
 * more, and a collection copies for longer than a changed record should take; only a process that begins can set it.
 */
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { enter } from './cli/entry.ts'

/** Made by the package for the service; bytecode is read only from where nobody else can put any. */
const compileCache = '/var/cache/linkspan'

// `linkspan routes | head`: the reader has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(Number(process.exitCode ?? 0))
  throw error
})
// Nobody reads our messages: that stops nothing, an agent least of all.
process.stderr.on('error', () => undefined)

if (process.getuid?.() === 0 && 'enableCompileCache' in nodeModule && existsSync(compileCache)) {
  nodeModule.enableCompileCache(compileCache)
}
await enter(process.argv.slice(2))
