/**
 * A gateway alone with its kernel: links that lead nowhere, a registry of its own, peers that exist on paper. For tests of
 * what it writes, of which several may run side by side.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { makeAuthority } from './authority-directory.ts'
import { authority } from './documents.ts'
import { dump } from './dump.ts'
import { guest, publish } from './fault.ts'
import { Gateway } from './gateway.ts'
import { wanFabric } from './lab.ts'
import { others } from './others.ts'
import { lanConfig, lanFabric } from './pair.ts'
import { paperChange } from './paper-change.ts'

export interface LoneGateway {
  readonly gateway: Gateway
  /** The host before the first start. */
  readonly untouched: readonly string[]
}

/** Certified, not running; its keys are made, and others have theirs on its host. */
export async function makeLoneGateway(directory: string, name: string): Promise<LoneGateway> {
  const gateway = await Gateway.make(name)
  const { machine } = gateway
  const registry = path.join(directory, `registry-${name}`)
  const fabric = path.join(directory, `${name}.yml`)
  mkdirSync(registry)
  for (const [link, ...addresses] of [
    ['wan0', '192.0.2.1/24'],
    ['site0', '10.1.0.1/24', 'fd00:1::1/64'],
    ['lan0'],
  ] as const) {
    machine.ip(`link add name ${link} type veth peer name far${link}`) // not every kernel has dummies
    machine.ip(`link set dev far${link} up`)
    for (const address of addresses) machine.ip(`address add ${address} dev ${link}`)
    machine.ip(`link set dev ${link} up`)
  }
  for (const line of others) machine.run('sh', '-c', line)
  gateway.configure([
    'fabric: lab',
    `authority: ${authority}`,
    'site: site-1',
    `gateway: ${name}`,
    `registry: file://${registry}`,
    'prefixes: [ 10.1.0.0/16, "fd00:1::/48" ]',
    'endpoints: [ { underlay: wan, address: 192.0.2.1 } ]',
    ...lanConfig,
  ])
  const ca = path.join(directory, `ca-${name}`)
  makeAuthority(ca, 'lab')
  const must = (...args: readonly string[]): void => {
    const { status, stderr } = gateway.cli('ca', ...args, '--ca', ca, '--registry', registry)
    if (status !== 0) throw new Error(`linkspan ca ${args.join(' ')}: ${stderr}`)
  }
  writeFileSync(fabric, ['fabric: lab', ...wanFabric, ...lanFabric, ''].join('\n'))
  must('fabric', fabric)
  // Link-local addresses are tentative for about two seconds.
  while (machine.ip('address show tentative') !== '') await pause(200)
  const untouched = dump(machine)
  gateway.start()
  const request = path.join(registry, 'requests', `${name}.jws`)
  for (let i = 0; i < (guest ? 2400 : 600) && !existsSync(request); i++) await pause(50)
  await gateway.stop()
  must('issue', name)
  await publish(registry, paperChange('b', 1))
  return { gateway, untouched }
}
