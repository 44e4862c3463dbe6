/**
 * linkspan as a service of this machine, installed as a package would: in the guest with systemd (scripts/vm --systemd),
 * whose disk forgets everything.
 *
 * The service has a /tmp of its own and sees little of /home, and a clone of the repository may lie in either: so what it
 * runs is bound to where a package puts it.
 */
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { defaultRunDirectory } from '../../agent/cli/client.ts'
import type { Status } from '../../agent/daemon/status.ts'
import { makeAuthority } from './authority-directory.ts'
import { ip, run } from './command.ts'
import { authority } from './documents.ts'
import { wanFabric } from './lab.ts'
import type { Machine } from './machine.ts'
import { repository } from './repository.ts'
import { statusOf } from './status.ts'

export const inGuest = process.env['LINKSPAN_GUEST'] !== undefined && existsSync('/run/systemd/system')

export const packaging = path.join(repository, 'packaging')
export const registry = '/srv/registry'
const authorityDirectory = '/srv/ca'
const program = '/usr/bin/linkspan'
const library = '/usr/lib/linkspan'
/** Node under a name of its own: it may have come with the repository. */
const node = '/usr/lib/linkspan-node'
const unit = '/etc/systemd/system/linkspan.service'
const drainUnit = '/etc/systemd/system/linkspan-drain.service'

/** This machine, where a test takes one of the lab. */
export const here: Pick<Machine, 'name' | 'run' | 'spawn'> = {
  name: 'gw-1',
  run,
  spawn,
}

export function cli(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(program, args, { encoding: 'utf8' })
}

export function must(...args: readonly string[]): void {
  const { status, stderr } = cli(...args)
  if (status !== 0) throw new Error(`linkspan ${args.join(' ')}: exit ${String(status)} ${stderr}`)
}

/** Undefined where no agent answers. */
export function status(): Promise<Status | undefined> {
  return statusOf(defaultRunDirectory)
}

/** A property of the service, as systemd shows it. */
export function property(name: string): string {
  return run('systemctl', 'show', '--value', '-p', name, 'linkspan.service').trim()
}

/** Waits; the guest may be one of three on a slow machine. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  seconds = 240,
): Promise<void> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    if (await holds()) return
    await pause(500)
  }
  const log = spawnSync('systemctl', ['status', '--no-pager', '-n', '40', 'linkspan'], { encoding: 'utf8' })
  throw new Error(`not within ${seconds} s: ${what}\n${log.stdout}`)
}

/**
 * Installs the service, not started, as gateway `gw-1` of `site-1` (10.1.0.0/16) with an empty registry and the endpoint
 * 192.0.2.1 on `wan`, which the caller makes. What an earlier file or try left behind is removed.
 */
export function install(): void {
  uninstall()
  mkdirSync(library, { recursive: true })
  run('mount', '--bind', repository, library)
  writeFileSync(node, '')
  run('mount', '--bind', process.execPath, node)
  writeFileSync(program, `#!/bin/sh\nexec ${node} ${library}/dist/agent/main.js "$@"\n`, { mode: 0o755 })
  copyFileSync(path.join(packaging, 'linkspan.service'), unit)
  copyFileSync(path.join(packaging, 'linkspan-drain.service'), drainUnit)
  run('systemd-sysusers', path.join(packaging, 'sysusers.d/linkspan.conf'))
  run('systemd-tmpfiles', '--create', path.join(packaging, 'tmpfiles.d/linkspan.conf'))
  // A gateway that publishes to a directory must be let there.
  mkdirSync(`${unit}.d`, { recursive: true })
  writeFileSync(`${unit}.d/test.conf`, `[Service]\nReadWritePaths=${registry}\n`)
  mkdirSync(registry, { recursive: true })
  writeFileSync(
    '/etc/linkspan/config.yml',
    [
      'fabric: lab',
      `authority: ${authority}`,
      'site: site-1',
      'gateway: gw-1',
      `registry: file://${registry}`,
      'prefixes: [ 10.1.0.0/16 ]',
      'endpoints: [ { underlay: wan, address: 192.0.2.1 } ]',
      '',
    ].join('\n'),
  )
  const fabric = '/srv/fabric.yml'
  writeFileSync(fabric, ['fabric: lab', ...wanFabric, ''].join('\n'))
  makeAuthority(authorityDirectory, 'lab')
  must('ca', 'fabric', fabric, '--ca', authorityDirectory, '--registry', registry)
  run('systemctl', 'daemon-reload')
}

/** `wan` and the site of `gw-1`, with nobody on either. */
export function makeLinks(): void {
  ip(`
    link add name wan0 type dummy
    address add 192.0.2.1/24 dev wan0
    link set dev wan0 up
    link add name site0 type dummy
    address add 10.1.0.1/24 dev site0
    link set dev site0 up
  `)
}

/** Certifies `gateway` as soon as it has asked. */
export async function certify(gateway: string): Promise<void> {
  await until(`a request of ${gateway}`, () => existsSync(path.join(registry, `requests/${gateway}.jws`)))
  must('ca', 'issue', gateway, '--ca', authorityDirectory)
}

function uninstall(): void {
  if (!existsSync(unit)) return
  run('systemctl', 'stop', 'linkspan')
  cli('down')
  for (const mount of [node, library]) run('umount', mount)
  const state = readdirSync('/var/lib/linkspan').map((name) => `/var/lib/linkspan/${name}`) // it may be a mount
  for (const file of [
    unit,
    drainUnit,
    `${unit}.d`,
    registry,
    authorityDirectory,
    '/run/linkspan',
    ...state,
  ]) {
    rmSync(file, { recursive: true, force: true })
  }
  for (const link of ['wan0', 'site0']) spawnSync('ip', ['link', 'delete', 'dev', link])
}
