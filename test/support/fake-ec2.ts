/**
 * EC2 as far as the hook asks it, and the metadata service of an instance whose role may change route tables: as the API
 * reference and the documentation of instance metadata (IMDSv2) say.
 */
import { signed } from '../../agent/hook/sigv4.ts'
import type { Asked, Said } from './hook-program.ts'

export const own = 'eni-0bbbbbbbbbbbbbbbb'
export const other = 'eni-0aaaaaaaaaaaaaaaa'
export const table = 'rtb-0123456789abcdef0'
export const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
const sessionToken = 'IQoJb3JpZ2luX2VjEXAMPLE=='
export const local = 'gatewayId local CreateRouteTable'

const metadata: Readonly<Record<string, string>> = {
  '/latest/meta-data/placement/region': 'eu-west-1',
  '/latest/meta-data/mac': '0a:00:00:00:00:01',
  '/latest/meta-data/network/interfaces/macs/0a:00:00:00:00:01/interface-id': own,
  '/latest/meta-data/iam/security-credentials/': 'linkspan-gateway',
  '/latest/meta-data/iam/security-credentials/linkspan-gateway': JSON.stringify({
    Code: 'Success',
    Type: 'AWS-HMAC',
    AccessKeyId: 'ASIAEXAMPLE',
    SecretAccessKey: secret,
    Token: sessionToken,
    Expiration: '2030-01-01T00:00:00Z',
  }),
}

export class FakeEc2 {
  /** Destination -> `KEY TARGET ORIGIN`, as in `networkInterfaceId eni-1 CreateRoute`. */
  readonly routes: Map<string, string>
  isChecked = false
  role = true
  /** Answers that come first, whatever is asked of EC2. */
  readonly first: (Said | ((form: URLSearchParams) => Said | undefined))[] = []

  constructor(routes: Readonly<Record<string, string>> = {}) {
    this.routes = new Map(Object.entries({ '10.1.0.0/16': local, ...routes }))
  }

  answer(asked: Asked): Said | undefined {
    if (asked.path === '/latest/api/token') return { body: 'AQAEAExampleToken==' }
    if (asked.path.startsWith('/latest/')) {
      if (asked.headers['x-aws-ec2-metadata-token'] !== 'AQAEAExampleToken==') return { status: 401 }
      if (!this.role && asked.path.includes('/iam/')) return undefined
      const body = metadata[asked.path]
      return body === undefined ? undefined : { body }
    }
    if (!isSigned(asked)) {
      return refused(401, 'AuthFailure', 'AWS was not able to validate the provided access credentials')
    }
    const form = new URLSearchParams(asked.body)
    const next = this.first.shift()
    const said = typeof next === 'function' ? next(form) : next
    return said ?? this.#ec2(form)
  }

  #ec2(form: URLSearchParams): Said {
    const action = form.get('Action') ?? ''
    const prefix = form.get('DestinationCidrBlock') ?? form.get('DestinationIpv6CidrBlock') ?? ''
    const target = `networkInterfaceId ${form.get('NetworkInterfaceId') ?? ''} CreateRoute`
    switch (action) {
      case 'DescribeNetworkInterfaces':
        return done(
          action,
          `<networkInterfaceSet><item><networkInterfaceId>${form.get('NetworkInterfaceId.1') ?? ''}</networkInterfaceId>
          <sourceDestCheck>${this.isChecked}</sourceDestCheck><status>in-use</status></item></networkInterfaceSet>`,
        )
      case 'DescribeRouteTables':
        return done(
          action,
          `<routeTableSet><item><routeTableId>${form.get('RouteTableId.1') ?? ''}</routeTableId><vpcId>vpc-1</vpcId>
          <routeSet>${[...this.routes].map(routeXml).join('')}</routeSet><associationSet/><tagSet/></item></routeTableSet>`,
        )
      case 'ReplaceRoute':
        if (!this.routes.has(prefix)) {
          return refused(
            400,
            'InvalidParameterValue',
            `There is no route defined for '${prefix}' in the route table`,
          )
        }
        this.routes.set(prefix, target)
        return done(action, '<return>true</return>')
      case 'CreateRoute':
        if (this.routes.has(prefix)) {
          return refused(400, 'RouteAlreadyExists', `The route identified by ${prefix} already exists.`)
        }
        this.routes.set(prefix, target)
        return done(action, '<return>true</return>')
      case 'DeleteRoute':
        if (!this.routes.delete(prefix)) return refused(400, 'InvalidRoute.NotFound', `no route ${prefix}`)
        return done(action, '<return>true</return>')
      default:
        return refused(400, 'InvalidAction', `The action ${action} is not valid for this web service.`)
    }
  }
}

/** As the service works it out for itself. */
function isSigned({ headers, body }: Asked): boolean {
  const date = headers['x-amz-date'] as string
  const at = new Date(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  const sent = { host: headers.host ?? '', 'content-type': headers['content-type'] ?? '' }
  const credentials = { accessKeyId: 'ASIAEXAMPLE', secretAccessKey: secret, sessionToken }
  const scope = { region: 'eu-west-1', service: 'ec2', at }
  const { authorization } = signed({ method: 'POST', path: '/', headers: sent, body }, credentials, scope)
  return headers.authorization === authorization
}

export function done(action: string, body: string): Said {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>
<${action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>${body}</${action}Response>`
  return { headers: { 'content-type': 'text/xml;charset=UTF-8' }, body: xml }
}

export function refused(status: number, code: string, message: string): Said {
  const body = `<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>`
  return { status, headers: { 'content-type': 'text/xml;charset=UTF-8' }, body }
}

function routeXml([prefix, text]: readonly [string, string]): string {
  const [key = '', target = '', origin = ''] = text.split(' ')
  const destination = prefix.includes(':') ? 'destinationIpv6CidrBlock' : 'destinationCidrBlock'
  return `<item><${destination}>${prefix}</${destination}><${key}>${target}</${key}><state>active</state><origin>${origin}</origin></item>`
}
