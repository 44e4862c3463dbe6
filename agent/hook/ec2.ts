/** EC2's Query API: form in, XML out, signed with the credentials of the instance's role. */
import { Session } from '../cloud/aws.ts'
import type { MetadataClient } from '../cloud/metadata-http.ts'
import { fieldOf, jsonOf } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { Api } from './api.ts'
import type { ApiAnswer } from './api.ts'
import { encoded, signed } from './sigv4.ts'
import type { AwsCredentials } from './sigv4.ts'
import { parseXml } from './xml.ts'
import type { Element } from './xml.ts'

const version = '2016-11-15'
const throttled = /Throttl|RequestLimitExceeded|TooManyRequests|Unavailable|InternalError/

/** What an instance knows of itself, and may do. */
export interface Instance {
  readonly region: string
  /** Of the interface that routes are to lead to. */
  readonly networkInterface: string
  readonly credentials: AwsCredentials
}

const metadata = '/latest/meta-data'

/** `given`: the network interface, where it is not the primary one. */
export async function instanceOf(client: MetadataClient, given: string | undefined): Promise<Instance> {
  const session = new Session(client)
  await session.begin()
  const must = async (path: string, otherwise: string): Promise<string> => {
    const found = (await session.get(`${metadata}${path}`))?.trim()
    if (found === undefined || !/^[\w.:/@+=-]{1,200}$/.test(found)) throw client.failure(otherwise)
    return found
  }
  const region = await must('/placement/region', 'does not say in which region this is')
  const networkInterface =
    given ??
    (await must(
      `/network/interfaces/macs/${await must('/mac', 'does not say what the primary interface is')}/interface-id`,
      'does not say what the primary interface is',
    ))
  const path = '/iam/security-credentials/'
  const next = 'give the instance a role that may change its route tables (an instance profile)'
  const role = (await session.get(`${metadata}${path}`))?.trim().split('\n')[0] ?? ''
  if (!/^[\w+=,.@-]{1,128}$/.test(role)) throw client.failure('this instance has no role', next)
  const document = jsonOf((await session.get(`${metadata}${path}${role}`)) ?? '')
  const text = (key: string): string => {
    const value = fieldOf(document, key)
    if (typeof value !== 'string' || value === '')
      throw client.failure(`gives no credentials for role ${role}`, next)
    return value
  }
  return {
    region,
    networkInterface,
    credentials: {
      accessKeyId: text('AccessKeyId'),
      secretAccessKey: text('SecretAccessKey'),
      sessionToken: text('Token'),
    },
  }
}

/** EC2 refused: its own code, such as `RouteAlreadyExists`. */
export class Ec2Refusal extends LinkspanError {
  readonly ec2Code: string

  constructor(action: string, ec2Code: string, message: string) {
    const isDenied = /^(UnauthorizedOperation|AuthFailure|AccessDenied|OptInRequired)/.test(ec2Code)
    const next = isDenied
      ? `let the instance's role do ec2:${action}`
      : ec2Code === 'RouteLimitExceeded'
        ? 'give `routes:` fewer prefixes, or have the quota of routes a table raised'
        : undefined
    // What is denied comes with an encoded message of a kilobyte.
    const reason = `${ec2Code}: ${message.split(' Encoded authorization')[0] ?? ''}`.slice(0, 400)
    super({ code: 'exec', object: `ec2 ${action}`, reason, ...(next === undefined ? {} : { next }) })
    this.ec2Code = ec2Code
  }
}

export class Ec2 {
  readonly #api: Api
  readonly #url: URL
  readonly #instance: Instance

  constructor(instance: Instance, endpoint: string | undefined, signal: AbortSignal) {
    const domain = instance.region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
    this.#url = new URL(endpoint ?? `https://ec2.${instance.region}.${domain}`)
    this.#instance = instance
    this.#api = new Api({
      object: `ec2 at ${this.#url.host}`,
      signal,
      isThrottled: (answer) => throttled.test(refusalOf(answer)?.code ?? ''),
    })
  }

  /** The answer's outermost element. Throws Ec2Refusal, or another LinkspanError where it is none. */
  async call(action: string, parameters: Readonly<Record<string, string>>): Promise<Element> {
    const { region, credentials } = this.#instance
    const body = Object.entries({ Action: action, Version: version, ...parameters })
      .map(([key, value]) => `${encoded(key)}=${encoded(value)}`)
      .join('&')
    const url = this.#url
    const answer = await this.#api.ask(() => {
      const headers = {
        host: url.host,
        'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
      }
      const scope = { region, service: 'ec2', at: new Date() }
      const sent = signed({ method: 'POST', path: '/', headers, body }, credentials, scope)
      return { method: 'POST', url, headers: sent, body }
    })
    const refusal = refusalOf(answer)
    if (refusal !== undefined) throw new Ec2Refusal(action, refusal.code, refusal.message)
    const document = answer.status === 200 ? parseXml(answer.text) : undefined
    if (document?.name === `${action}Response`) return document
    throw this.#api.failure(
      `answered ${answer.status} to ${action} with what is no answer`,
      'see `endpoint:`',
    )
  }
}

/** `<Response><Errors><Error><Code/><Message/></Error></Errors></Response>` */
function refusalOf({
  status,
  text,
}: ApiAnswer): { readonly code: string; readonly message: string } | undefined {
  if (status === 200) return undefined
  const error = parseXml(text)?.child('Errors')?.child('Error')
  const code = error?.value('Code')
  return code === undefined ? undefined : { code, message: error?.value('Message') ?? '' }
}
