/**
 * An agent on a VM of a cloud: its operator names the fabric, the site's name and the registry, and the metadata service
 * tells the rest. The service is one as EC2's, in the gateway's own namespace, at the address that hypervisors answer.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Status } from '../../agent/daemon/status.ts'
import type { Document } from '../../agent/model/document.ts'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { authority } from '../support/documents.ts'
import { guest } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { Lab, rareProbes, sitePlan } from '../support/lab.ts'
import { awsInstance, awsMac, firmware } from '../support/metadata-server.ts'
import type { AwsPaths } from '../support/metadata-server.ts'

const program = fileURLToPath(new URL('../support/metadata-service.js', import.meta.url))
const seconds = guest ? 240 : 60
const publicPath = `meta-data/network/interfaces/macs/${awsMac}/public-ipv4s`

/** The firmware of an EC2 instance; not every machine that runs tests has any. */
function dressAsEc2({ machine }: Gateway): void {
  const fields = Object.entries(firmware.nitro).map(([name, value]) => `printf '%s' '${value}' >${name}`)
  machine.run(
    'sh',
    '-ec',
    `mkdir /run/class-net
     mount --bind /sys/class/net /run/class-net
     mount -t tmpfs tmpfs /sys/class
     mkdir -p /sys/class/net /sys/class/dmi/id
     mount --bind /run/class-net /sys/class/net
     cd /sys/class/dmi/id
     ${fields.join('\n')}`,
  )
}

await isolated(import.meta.url, async (directory) => {
  const lab = new Lab(directory)
  lab.underlay('wan')
  const cloud = await lab.gateway('aws-a', {
    ...sitePlan(1),
    underlays: {
      wan0: { underlay: 'wan', addresses: ['10.1.16.10/20', '198.51.100.7/24', '198.51.100.8/24'] },
    },
    via: '10.1.16.1',
  })
  // Nothing but what only the operator can know.
  const own = [
    'fabric: lab',
    `authority: ${authority}`,
    'site: aws-use1',
    'gateway: aws-a',
    `registry: file://${lab.registry}`,
  ]
  cloud.configure(own)
  const onPremises = await lab.gateway('dc-a', {
    ...sitePlan(2),
    underlays: { wan0: { underlay: 'wan', addresses: ['198.51.100.2/24'] } },
    config: ['endpoints: [ { underlay: internet, address: 198.51.100.2 } ]'],
  })
  onPremises.configure([
    'fabric: lab',
    `authority: ${authority}`,
    'site: dc',
    'gateway: dc-a',
    `registry: file://${lab.registry}`,
    'endpoints: [ { underlay: internet, address: 198.51.100.2 } ]',
  ])
  await lab.writeFabric([
    'overlay: { ipv4: 100.127.0.0/16, ipv6: "fd4c:53aa:bb00::/48" }',
    'underlays: [ { name: dx }, { name: internet } ]',
    rareProbes,
  ])
  dressAsEc2(cloud)
  cloud.machine.ip('address add 169.254.169.254/32 dev lo')

  const said = path.join(directory, 'instance.json')
  const say = (paths: AwsPaths): void => {
    writeFileSync(said, JSON.stringify(paths))
  }
  const instance: AwsPaths = {
    ...awsInstance,
    [publicPath]: '198.51.100.7',
    [`meta-data/network/interfaces/macs/${awsMac}/ipv4-associations/198.51.100.7`]: '10.1.16.10',
  }
  say(instance)
  let service: ChildProcess | undefined
  const serve = async (): Promise<void> => {
    service = cloud.machine.spawn(process.execPath, [program, said], { stdio: ['ignore', 'pipe', 'inherit'] })
    if (service.stdout !== null) await once(service.stdout, 'data')
  }
  const silence = async (): Promise<void> => {
    const server = service
    service = undefined
    if (server === undefined) return
    const gone = once(server, 'exit')
    server.kill('SIGKILL')
    await gone
  }
  const document = (name: string): Document | undefined => {
    const file = path.join(lab.registry, name)
    if (!existsSync(file)) return undefined
    const parsed = parseDocument({ origin: name, bytes: readFileSync(file) })
    return isRefusal(parsed) ? undefined : parsed.document
  }
  const until = async <T>(what: string, look: () => T | undefined | Promise<T | undefined>): Promise<T> => {
    for (let i = 0; i < seconds * 10; i++) {
      const found = await look()
      if (found !== undefined) return found
      await pause(100)
    }
    throw new Error(`not within ${seconds} s: ${what}\n${cloud.log}`)
  }
  const endpoints = (): string | undefined => {
    const record = document('records/aws-a.jws')
    return record?.type === 'record' ? JSON.stringify(record.payload.endpoints) : undefined
  }
  const statusWith = (holds: (status: Status) => boolean): Promise<Status> =>
    until('status', async () => {
      const status = await cloud.status()
      return status !== undefined && holds(status) ? status : undefined
    })

  await t.test('a service that is not there holds up no start, and is asked again', async (t) => {
    cloud.start()
    await cloud.untilLogged('cloud-silent', seconds)
    const request = await until('a request', () => document('requests/aws-a.jws'))
    t.match(request.payload, { site: { provider: '', region: '' } }, 'it asks without the cloud')
    t.notMatch(cloud.log.split('cloud-silent')[0], /published/, 'but not before that was tried')
    const { cloud: view, health } = await statusWith((status) => status.cloud !== undefined)
    t.match(view, { trouble: { object: 'metadata service of aws' } })
    t.equal(health, 'waiting')
    await serve()
    await cloud.untilLogged('cloud-found', seconds)
  })

  await t.test('the request carries provider, region, zone and prefixes', async (t) => {
    const request = await until('the cloud in the request', () => {
      const found = document('requests/aws-a.jws')
      return found?.type === 'request' && found.payload.site.provider !== '' ? found.payload : undefined
    })
    t.same(request.site, {
      name: 'aws-use1',
      provider: 'aws',
      region: 'us-east-1',
      labels: { zone: 'us-east-1c' },
    })
    t.same(request.prefixes, ['10.1.0.0/16', '100.64.0.0/18', '2600:1f18:b80:ad00::/56'])
  })

  await t.test('elsewhere the site links say what is asked for', async (t) => {
    onPremises.start()
    const request = await until('a request', () => document('requests/dc-a.jws'))
    t.match(request.payload, { site: { provider: '', region: '' }, prefixes: ['10.2.0.0/24', 'fd00:2::/64'] })
    t.notMatch(onPremises.log, /cloud-/)
  })

  await t.test(
    'the record names the public address, on the internet, and peers reach it there',
    async (t) => {
      await lab.ca('issue', 'aws-a')
      await lab.ca('issue', 'dc-a')
      await onPremises.untilUp(1, seconds)
      const status = await cloud.untilUp(1, seconds)
      const [endpoint, ...others] = JSON.parse(endpoints() ?? '[]') as unknown[]
      t.match(endpoint, { underlay: 'internet', address: '198.51.100.7', port: 51820 })
      t.same(others, [], 'and not an IPv6 address that the VM does not carry')
      t.match((await onPremises.status())?.peers, [{ gateway: 'aws-a', endpoint: /^198\.51\.100\.7:/ }])
      t.match(status.cloud, {
        provider: 'aws',
        region: 'us-east-1',
        zone: 'us-east-1c',
        instance: 'i-0123456789abcdef0',
        addresses: ['198.51.100.7', '2600:1f18:b80:ad00::10'],
      })
      t.equal(status.cloud?.trouble, undefined)
      const { stdout } = cloud.cli('status')
      t.match(
        stdout,
        /^cloud aws us-east-1 us-east-1c: public address 198\.51\.100\.7, .*prefixes 10\.1\.0\.0\/16, /m,
      )
    },
  )

  await t.test('a start with a silent service keeps the address that was told before', async (t) => {
    await cloud.stop()
    await silence()
    const before = readFileSync(path.join(lab.registry, 'records/aws-a.jws'), 'utf8')
    cloud.log = ''
    cloud.start()
    await cloud.untilLogged('cloud-silent', seconds)
    await cloud.untilUp(1, seconds)
    await pause(1000)
    t.equal(readFileSync(path.join(lab.registry, 'records/aws-a.jws'), 'utf8'), before)
    t.match((await cloud.status())?.cloud, { trouble: { reason: /./ } })
    t.match(cloud.cli('status').stdout, /metadata service of aws: /)
  })

  await t.test('another public address is taken up', async (t) => {
    say({ ...instance, [publicPath]: '198.51.100.8' })
    await serve()
    await until('the new address', () =>
      endpoints()?.includes('"198.51.100.8"') === true ? true : undefined,
    )
    const peer = await until('the peer', async () =>
      (await onPremises.status())?.peers.find(({ endpoint }) => endpoint?.startsWith('198.51.100.8:')),
    )
    t.equal(peer.gateway, 'aws-a')
  })

  await t.test('without an agent a dry run knows the address, too, and what it was', async (t) => {
    await until('the agent has taken it up', () => {
      const { stdout } = cloud.cli('plan', '--json')
      return (JSON.parse(stdout) as { ops: readonly unknown[] }).ops.length === 0 ? true : undefined
    })
    await cloud.stop()
    for (const what of ['asked', 'silent']) {
      if (what === 'silent') await silence()
      const { stdout, stderr } = cloud.cli('plan', '--json')
      t.strictSame(JSON.parse(stdout), { schema: 1, ops: [], conflicts: [] }, `${what}: ${stderr}`)
    }
  })

  await silence()
  await lab.end()
})
