/** Programs of the lab's own, run to their end: what fails throws, with what it said. */
import { execFileSync } from 'node:child_process'

/** Runs a program to its end; its stdout. Throws where it fails. */
export function run(file: string, ...args: readonly string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The same in a named namespace. */
export function runIn(namespace: string, file: string, ...args: readonly string[]): string {
  return run('ip', 'netns', 'exec', namespace, file, ...args)
}

/** `ip` commands, one a line, in order. */
export function ip(commands: string): void {
  for (const line of commands.split('\n')) {
    const words = line.trim().split(/\s+/)
    if (words[0] !== '') run('ip', ...words)
  }
}
