/**
 * Metadata services of the three clouds, as their providers document them, on any address: what they answer, which headers
 * they ask for and send, and what they say to a request that lacks one. Each counts what it was asked.
 */
import type { Test } from 'tap'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { MetadataClientOptions } from '../../agent/cloud/metadata-http.ts'
import { MetadataClient } from '../../agent/cloud/metadata-http.ts'

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}
/** Undefined: no answer at all. */
export type Service = (request: IncomingMessage) => Answer | undefined

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
}

export class MetadataServer {
  /** Every request, in order. */
  readonly asked: Asked[] = []
  readonly #server: Server
  #service: Service
  #port = 0

  private constructor(service: Service) {
    this.#service = service
    this.#server = createServer((request, response) => {
      this.#answer(request, response)
    })
  }

  static async listen(service: Service, host = '127.0.0.1', port = 0): Promise<MetadataServer> {
    const server = new MetadataServer(service)
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject)
      server.#server.listen(port, host, resolve)
    })
    server.#port = (server.#server.address() as AddressInfo).port
    return server
  }

  get port(): number {
    return this.#port
  }

  get paths(): readonly string[] {
    return this.asked.map(({ method, path }) => `${method} ${path}`)
  }

  /** Answers like this from now on. */
  become(service: Service): void {
    this.#service = service
  }

  readonly dial = (): Socket => connect({ host: '127.0.0.1', port: this.port })

  client(options: Partial<MetadataClientOptions> = {}): MetadataClient {
    const { signal } = new AbortController()
    return new MetadataClient({ object: 'metadata service', signal, dial: this.dial, ...options })
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request
    this.asked.push({ method, path: url, headers })
    const answer = this.#service(request)
    if (answer === undefined) return
    response.writeHead(answer.status ?? 200, { 'content-type': 'text/plain', ...answer.headers })
    response.end(answer.body ?? '')
  }
}

const page = (title: string): string =>
  `<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>${title}</title></head></html>\n`
const html = { 'content-type': 'text/html' }

/** Paths below /latest, with or without a first slash, and their texts. */
export type AwsPaths = Readonly<Record<string, string>>

export const awsIdentity = {
  accountId: '123456789012',
  architecture: 'x86_64',
  availabilityZone: 'us-east-1c',
  billingProducts: null,
  devpayProductCodes: null,
  marketplaceProductCodes: null,
  imageId: 'ami-0abcdef1234567890',
  instanceId: 'i-0123456789abcdef0',
  instanceType: 'c7gn.large',
  kernelId: null,
  pendingTime: '2026-11-02T08:15:30Z',
  privateIp: '10.1.16.10',
  ramdiskId: null,
  region: 'us-east-1',
  version: '2017-09-30',
}

export const awsMac = '06:b6:92:dd:9d:24'
const firstMac = awsMac
const secondMac = '0a:ff:c1:24:93:11'

/** A gateway with two interfaces in a dual-stack VPC of two IPv4 blocks; the first has an Elastic IP. */
export const awsInstance: AwsPaths = {
  'dynamic/instance-identity/document': JSON.stringify(awsIdentity, null, 2),
  'meta-data/network/interfaces/macs/': `${secondMac}/\n${firstMac}/`,
  [`meta-data/network/interfaces/macs/${firstMac}/device-number`]: '0',
  [`meta-data/network/interfaces/macs/${firstMac}/interface-id`]: 'eni-08c0c9fdb99b6e6f4',
  [`meta-data/network/interfaces/macs/${firstMac}/local-ipv4s`]: '10.1.16.10\n10.1.16.11',
  [`meta-data/network/interfaces/macs/${firstMac}/public-ipv4s`]: '54.1.2.3',
  [`meta-data/network/interfaces/macs/${firstMac}/ipv4-associations/54.1.2.3`]: '10.1.16.10',
  [`meta-data/network/interfaces/macs/${firstMac}/ipv6s`]: '2600:1f18:0b80:ad00:0:0:0:10',
  [`meta-data/network/interfaces/macs/${firstMac}/subnet-ipv4-cidr-block`]: '10.1.16.0/20',
  [`meta-data/network/interfaces/macs/${firstMac}/subnet-ipv6-cidr-blocks`]: '2600:1f18:b80:ad00::/64',
  [`meta-data/network/interfaces/macs/${firstMac}/vpc-ipv4-cidr-block`]: '10.1.0.0/16',
  [`meta-data/network/interfaces/macs/${firstMac}/vpc-ipv4-cidr-blocks`]: '10.1.0.0/16\n100.64.0.0/18',
  [`meta-data/network/interfaces/macs/${firstMac}/vpc-ipv6-cidr-blocks`]: '2600:1f18:b80:ad00::/56',
  [`meta-data/network/interfaces/macs/${secondMac}/device-number`]: '1',
  [`meta-data/network/interfaces/macs/${secondMac}/local-ipv4s`]: '10.1.32.10',
  [`meta-data/network/interfaces/macs/${secondMac}/subnet-ipv4-cidr-block`]: '10.1.32.0/20',
  [`meta-data/network/interfaces/macs/${secondMac}/vpc-ipv4-cidr-blocks`]: '10.1.0.0/16\n100.64.0.0/18',
}

/** EC2's service: IMDSv2 required, unless `optional`, where a GET without a token is answered, too. */
export function awsService(paths: AwsPaths = awsInstance, { optional = false } = {}): Service {
  let tokens = 0
  return ({ method, url = '', headers }) => {
    const server = { server: 'EC2ws' }
    if (url === '/latest/api/token') {
      const seconds = headers['x-aws-ec2-metadata-token-ttl-seconds']
      if (method !== 'PUT')
        return { status: 405, headers: { ...html, allow: 'OPTIONS, PUT' }, body: page('405') }
      if (!/^[0-9]{1,5}$/.test(String(seconds)) || headers['x-forwarded-for'] !== undefined) {
        return { status: 400, headers: html, body: page('400 - Bad Request') }
      }
      const body = `AQAEAG9zd3Nkb2FtZXRhZGF0YXRva2Vu${++tokens}_x9A==`
      return { headers: { ...server, 'x-aws-ec2-metadata-token-ttl-seconds': String(seconds) }, body }
    }
    const token = headers['x-aws-ec2-metadata-token']
    const valid = typeof token === 'string' && token.startsWith('AQAEAG9zd3')
    if (!valid && !(optional && token === undefined)) {
      return { status: 401, headers: html, body: page('401 - Unauthorized') }
    }
    const body = paths[url.replace(/^\/latest\//, '')]
    if (body === undefined) return { status: 404, headers: html, body: page('404 - Not Found') }
    return { headers: server, body }
  }
}

/** A service that knows nothing of tokens, as before 2019, and as some copies of EC2's still do. */
export function awsServiceWithoutTokens(paths: AwsPaths = awsInstance): Service {
  return ({ method, url = '' }) => {
    const body = paths[url.replace(/^\/latest\//, '')]
    if (method !== 'GET') return { status: 405, headers: html, body: page('405 - Method Not Allowed') }
    return body === undefined ? { status: 404, headers: html, body: page('404') } : { body }
  }
}

export const azureCompute = {
  azEnvironment: 'AzurePublicCloud',
  location: 'westeurope',
  name: 'gw-west-a',
  osType: 'Linux',
  placementGroupId: '',
  plan: { name: '', product: '', publisher: '' },
  provider: 'Microsoft.Compute',
  resourceGroupName: 'gateways',
  subscriptionId: '8d10da13-8125-4ba9-a717-bf7490507b3d',
  tags: 'role:gateway;stage:prod',
  tagsList: [{ name: 'role', value: 'gateway' }],
  vmId: '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
  vmScaleSetName: '',
  vmSize: 'Standard_D4s_v5',
  zone: '2',
}

/** Two interfaces; no public address in here, because the Standard SKU's are in the load balancer's document. */
export const azureInterfaces = [
  {
    ipv4: {
      ipAddress: [{ privateIpAddress: '10.2.0.4', publicIpAddress: '' }],
      subnet: [{ address: '10.2.0.0', prefix: '24' }],
    },
    ipv6: { ipAddress: [{ privateIpAddress: 'fd00:a1b:8b8c::4' }] },
    macAddress: '0022480F1B2C',
  },
  {
    ipv4: {
      ipAddress: [{ privateIpAddress: '10.2.1.4', publicIpAddress: '' }],
      subnet: [{ address: '10.2.1.0', prefix: '24' }],
    },
    ipv6: { ipAddress: [] },
    macAddress: '0022480F1B2D',
  },
]

export const azureInstance: unknown = { compute: azureCompute, network: { interface: azureInterfaces } }

export const azureBalancer: unknown = {
  loadbalancer: {
    publicIpAddresses: [
      { frontendIpAddress: '20.61.5.6', privateIpAddress: '10.2.0.4' },
      { frontendIpAddress: '[2603:1020:206:4::17]', privateIpAddress: '[fd00:a1b:8b8c::4]' },
    ],
    inboundRules: [
      {
        frontendIpAddress: '20.61.9.9',
        protocol: 'tcp',
        frontendPort: 443,
        backendPort: 8443,
        privateIpAddress: '10.2.0.4',
      },
    ],
    outboundRules: [{ frontendIpAddress: '20.61.9.10', privateIpAddress: '10.2.0.4' }],
  },
}

const azureNoBalancer =
  'No load balancer metadata is found. Please check if your VM is using any non-basic SKU load balancer and retry later.'

/** Azure's service; `balancer` null: the VM has no public address of the Standard SKU. */
export function azureService(instance: unknown = azureInstance, balancer: unknown = azureBalancer): Service {
  const json = (status: number, value: unknown): Answer => ({
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', server: 'IMDS/150.870.65.1475' },
    body: JSON.stringify(value),
  })
  return ({ url = '', headers }) => {
    if (headers['metadata'] !== 'true' || headers['x-forwarded-for'] !== undefined) {
      return json(400, { error: 'Bad request. Required metadata header not specified' })
    }
    const { pathname, searchParams } = new URL(url, 'http://host')
    if (!searchParams.has('api-version'))
      return json(400, { error: 'Bad request. api-version was not specified' })
    if (pathname === '/metadata/instance') return json(200, instance)
    if (pathname !== '/metadata/loadbalancer') return json(404, { error: 'Not found' })
    return balancer === null ? json(404, { error: azureNoBalancer }) : json(200, balancer)
  }
}

export const gcpInterfaces = [
  {
    accessConfigs: [{ externalIp: '34.71.112.18', type: 'ONE_TO_ONE_NAT' }],
    dhcpv6Refresh: '1762071330',
    dnsServers: ['169.254.169.254'],
    forwardedIps: [],
    gateway: '10.128.0.1',
    ip: '10.128.0.7',
    ipAliases: ['10.24.3.0/24'],
    ipv6s: ['2600:1900:4000:9b21:0:0:0:0'],
    mac: '42:01:0a:80:00:07',
    mtu: 1460,
    network: 'projects/705208488469/networks/transit',
    subnetmask: '255.255.240.0',
    targetInstanceIps: [],
  },
  {
    accessConfigs: [{ externalIp: '', type: 'ONE_TO_ONE_NAT' }],
    dnsServers: ['169.254.169.254'],
    forwardedIps: [],
    gateway: '192.168.1.1',
    ip: '192.168.1.2',
    ipAliases: [],
    mac: '42:01:c0:a8:01:02',
    mtu: 8896,
    network: 'projects/705208488469/networks/inside',
    subnetmask: '255.255.255.0',
    targetInstanceIps: [],
  },
]

/** An id beyond 2^53, as they are. */
export const gcpId = '3459161384849251192'
export const gcpZone = 'projects/705208488469/zones/us-central1-a'

export function gcpService(
  interfaces: unknown = gcpInterfaces,
  { id = gcpId, zone = gcpZone }: { readonly id?: string; readonly zone?: string } = {},
): Service {
  const flavor = { 'metadata-flavor': 'Google', server: 'Metadata Server for VM' }
  const text = { ...flavor, 'content-type': 'application/text' }
  return ({ url = '', headers }) => {
    if (headers['metadata-flavor'] !== 'Google' || headers['x-forwarded-for'] !== undefined) {
      return { status: 403, headers: { ...flavor, ...html }, body: page('Error 403 (Forbidden)!!1') }
    }
    const { pathname } = new URL(url, 'http://host')
    switch (pathname.replace('/computeMetadata/v1/instance/', '')) {
      case 'id':
        return { headers: text, body: id }
      case 'zone':
        return { headers: text, body: zone }
      case 'network-interfaces/':
        return {
          headers: { ...flavor, 'content-type': 'application/json' },
          body: JSON.stringify(interfaces),
        }
      default:
        return { status: 404, headers: { ...flavor, ...html }, body: page('Error 404 (Not Found)!!1') }
    }
  }
}

/** What the firmware of each says, as files of /sys/class/dmi/id. */
export const firmware = {
  nitro: {
    sys_vendor: 'Amazon EC2\n',
    product_name: 'c7gn.large\n',
    board_vendor: 'Amazon EC2\n',
    bios_vendor: 'Amazon EC2\n',
    bios_version: '1.0\n',
    chassis_asset_tag: 'Amazon EC2\n',
  },
  xen: {
    sys_vendor: 'Xen\n',
    product_name: 'HVM domU\n',
    bios_vendor: 'Xen\n',
    bios_version: '4.11.amazon\n',
  },
  azure: {
    sys_vendor: 'Microsoft Corporation\n',
    product_name: 'Virtual Machine\n',
    board_vendor: 'Microsoft Corporation\n',
    bios_vendor: 'Microsoft Corporation\n',
    chassis_asset_tag: '7783-7084-3265-9085-8269-3286-77\n',
  },
  gcp: {
    sys_vendor: 'Google\n',
    product_name: 'Google Compute Engine\n',
    board_vendor: 'Google\n',
    bios_vendor: 'Google\n',
  },
  hyperV: {
    sys_vendor: 'Microsoft Corporation\n',
    product_name: 'Virtual Machine\n',
    board_vendor: 'Microsoft Corporation\n',
    bios_vendor: 'Microsoft Corporation\n',
    chassis_asset_tag: '4217-6203-1890-7712-3345-9911-04\n',
  },
  qemu: {
    sys_vendor: 'QEMU\n',
    product_name: 'Standard PC (Q35 + ICH9, 2009)\n',
    bios_vendor: 'SeaBIOS\n',
    chassis_asset_tag: '\n',
  },
  laptop: { sys_vendor: 'Google\n', product_name: 'Eve\n', bios_vendor: 'coreboot\n' },
} as const

/** One that goes with the test. */
export async function serve(t: Test, service: Service): Promise<MetadataServer> {
  const server = await MetadataServer.listen(service)
  t.teardown(() => {
    server.close()
  })
  return server
}
