/**
 * Failpoints for a whole agent, from outside: NODE_OPTIONS=--import=failpoint.js loads this before the agent's own code and
 * counts its writes to the kernel where they leave JavaScript: netlink messages of the addon, programs that write, lines to
 * wireguard-go, files below /proc/sys. The agent itself knows nothing of it.
 *
 *   FAILPOINT_KILL=N    the process kills itself (SIGKILL) when N writes are done; a batch is cut short for that
 *   FAILPOINT_ARM=signal   counting begins with SIGUSR2, not with the start
 *   FAILPOINT_BLOCK=MS  SIGUSR2 makes the event loop stand still for so long; before it `failpoint blocks`, after it
 *                       `failpoint blocked from=UNIX-MS to=UNIX-MS`
 *   FAILPOINT_HANG=MS   SIGUSR2 makes netlink give no answer for so long, while the event loop goes on
 *
 * At its exit it prints `failpoint writes=N`.
 */
import childProcess from 'node:child_process'
import { existsSync, writeSync } from 'node:fs'
import fsPromises from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

interface Native {
  call(handle: object, verb: number, bytes: Uint8Array, batch: number): Promise<unknown>
}

const limit = Number(process.env['FAILPOINT_KILL'] ?? Infinity)
const blockMs = Number(process.env['FAILPOINT_BLOCK'] ?? 0)
const hangMs = Number(process.env['FAILPOINT_HANG'] ?? 0)
let hangsUntil = 0
let armed = process.env['FAILPOINT_ARM'] !== 'signal'
let writes = 0

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

/** Before a write that cannot be cut. */
function begin(): void {
  if (armed && writes >= limit) die()
}

function end(count = 1): void {
  if (!armed) return
  writes += count
  if (writes >= limit) die()
}

function block(): void {
  if (blockMs === 0) return
  writeSync(2, 'failpoint blocks\n')
  const from = Date.now()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMs)
  writeSync(2, `failpoint blocked from=${from} to=${Date.now()}\n`)
}

wrapAddon()
wrapPrograms()
wrapWireGuardGo()
wrapSysctls()
syncBuiltinESMExports()
process.on('SIGUSR2', () => {
  block()
  hangsUntil = performance.now() + hangMs
  armed = true
})
process.on('exit', () => {
  writeSync(2, `failpoint writes=${writes}\n`)
})

/** agent/kernel/addon.ts requires the compiled file by its path: it gets this module's copy out of the cache. */
function wrapAddon(): void {
  const require = createRequire(import.meta.url)
  const file = addonFile()
  const native = require(file) as Native
  const module = require.cache[file]
  if (module === undefined) throw new Error(`${file} is not in the cache of require`)
  module.exports = {
    ...native,
    async call(handle: object, verb: number, bytes: Uint8Array, batch: number): Promise<unknown> {
      const hang = hangsUntil - performance.now()
      if (hang > 0) await new Promise((resolve) => setTimeout(resolve, hang))
      if (verb !== 0 || !armed) return native.call(handle, verb, bytes, batch)
      begin()
      const isTransaction = batch === 0 // all or nothing: one write
      const ends = isTransaction ? [bytes.length] : messageEnds(bytes)
      const left = limit - writes
      const done = Math.min(ends.length, left)
      const result = await native.call(handle, verb, bytes.subarray(0, ends[done - 1] ?? 0), batch)
      end(done)
      return result
    },
  }
}

/** Where each message ends; struct nlmsghdr begins with its length, and messages are aligned to 4 bytes. */
function messageEnds(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const ends: number[] = []
  for (let at = 0; at < bytes.length;) {
    at += (view.getUint32(at, true) + 3) & ~3
    ends.push(at)
  }
  return ends
}

function wrapPrograms(): void {
  const { spawn } = childProcess
  childProcess.spawn = ((file: string, args: readonly string[], options: childProcess.SpawnOptions) => {
    const line = [file, ...args].join(' ')
    const isWrite = /^(wg set|nft .*-f|wireguard-go|systemd-run|ip )/.test(line)
    if (isWrite) begin()
    const child = spawn(file, args, options)
    if (isWrite) {
      child.prependOnceListener('exit', () => {
        end()
      })
    }
    return child
  }) as typeof spawn
}

function wrapWireGuardGo(): void {
  type Write = (this: net.Socket, chunk: unknown, ...rest: never[]) => boolean
  const prototype = net.Socket.prototype as { write: Write }
  const { write } = prototype
  prototype.write = function (chunk, ...rest) {
    if (typeof chunk === 'string' && chunk.startsWith('set=1\n')) {
      begin()
      this.prependOnceListener('data', () => {
        end()
      })
    }
    return write.call(this, chunk, ...rest)
  }
}

function wrapSysctls(): void {
  const { writeFile } = fsPromises
  fsPromises.writeFile = async (...args: Parameters<typeof writeFile>) => {
    const isWrite = typeof args[0] === 'string' && args[0].startsWith('/proc/sys/')
    if (isWrite) begin()
    await writeFile(...args)
    if (isWrite) end()
  }
}

function addonFile(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'native', 'build', 'linkspan.node')
    if (existsSync(file)) return file
    if (folder === path.dirname(folder)) throw new Error('the addon has not been built')
  }
}
