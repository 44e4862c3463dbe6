/**
 * EC2's instance metadata service, version 2 alone: a PUT gets a token, and every GET shows it. Version 1 has no token, so
 * whoever makes this host fetch a URL reads it; a VM that offers only that is told what to change, and not asked.
 *
 * The token comes back in a packet with the TTL that the operator chose, one by default: behind a container's bridge the
 * PUT is never answered.
 *
 * Only what is needed is read, path by path: user data, which the same service hands out, is not, and role credentials by the
 * program alone that changes route tables (hook/aws-role.ts).
 */
import type { Address } from '../model/prefix.ts'
import type { MetadataClient } from './metadata-http.ts'
import { MetadataFailure } from './metadata-http.ts'
import type { CloudFacts, CloudInterface, CloudProvider } from './port.ts'
import { fieldOf, isGlobalSix, isObject, jsonOf, Reading } from './reading.ts'

const tokenPath = '/latest/api/token'
const identityPath = '/latest/dynamic/instance-identity/document'
const macsPath = '/latest/meta-data/network/interfaces/macs/'
/** Seconds: one asking takes two. */
const tokenSeconds = 60
/** The largest instances have about 30. */
const maxInterfaces = 64

/** What is read of an interface; each is a path below its MAC, absent where there is none. */
const fields = [
  'device-number',
  'local-ipv4s',
  'public-ipv4s',
  'ipv6s',
  'vpc-ipv4-cidr-blocks',
  'vpc-ipv6-cidr-blocks',
  'subnet-ipv4-cidr-block',
  'subnet-ipv6-cidr-blocks',
] as const
type Field = (typeof fields)[number]

/** An interface as the service writes it. */
export interface AwsInterface {
  readonly mac: string
  readonly fields: Readonly<Partial<Record<Field, string | undefined>>>
  /** Private address behind each public one, asked for where there are several. */
  readonly associations?: Readonly<Record<string, string | undefined>>
}

export const aws: CloudProvider = {
  name: 'aws',
  async ask(client) {
    const session = new Session(client)
    await session.begin()
    const identity = await session.get(identityPath)
    const macs = macsOf(await session.get(macsPath))
    const interfaces: AwsInterface[] = []
    for (const mac of macs) interfaces.push(await interfaceFrom(session, mac))
    const facts = awsFacts(identity, interfaces)
    if (facts === undefined) {
      throw client.failure('its identity document is none', 'is this an instance of EC2, or a copy of it?')
    }
    return facts
  },
}

/** Requests under a token, which is renewed once when the service does not take it any more. */
export class Session {
  readonly #client: MetadataClient
  #token = ''
  #renewal: Promise<void> | undefined

  constructor(client: MetadataClient) {
    this.#client = client
  }

  async begin(): Promise<void> {
    const headers = { 'X-aws-ec2-metadata-token-ttl-seconds': String(tokenSeconds) }
    const { status, text } = await this.#client
      .ask({ path: tokenPath, method: 'PUT', headers })
      .catch(explainSilence)
    if (status !== 200) {
      const enable =
        'enable the instance metadata service, version 2 (HttpEndpoint enabled, HttpTokens required)'
      const reason =
        status === 403 ? 'is switched off (403 to the token request)' : `gives no token (${status})`
      throw this.#client.failure(`${reason}; version 1 is not used`, enable)
    }
    // It goes into a header: nothing else than what a token is made of.
    if (!/^[\w+/=.-]{8,512}$/.test(text)) {
      throw this.#client.failure('answered the token request with something that is no token')
    }
    this.#token = text
  }

  async get(path: string, again = true): Promise<string | undefined> {
    const asked = { path, headers: { 'X-aws-ec2-metadata-token': this.#token } }
    const { status, text } = await this.#client.ask(asked)
    if (status === 200) return text
    if (status === 404) return undefined
    if (status === 401 && again) {
      // One new token for all requests that were under way with the old one.
      this.#renewal ??= this.begin()
      await this.#renewal
      return this.get(path, false)
    }
    throw this.#client.failure(`answered ${status} to ${path}`)
  }
}

function explainSilence(error: unknown): never {
  if (!(error instanceof MetadataFailure) || !error.silent) throw error
  const next =
    'in a container raise the hop limit of the token: HttpPutResponseHopLimit 2, or use the host network'
  const { object } = error
  throw new MetadataFailure({ object, reason: 'took the token request and gave no answer', next }, true)
}

async function interfaceFrom(session: Session, mac: string): Promise<AwsInterface> {
  const below = `${macsPath}${mac}/`
  const values = await Promise.all(fields.map((field) => session.get(below + field)))
  const found = Object.fromEntries(fields.map((field, i) => [field, values[i]])) as AwsInterface['fields']
  const publics = new Reading().addresses((found['public-ipv4s'] ?? '').split('\n').slice(0, 32), '')
  if (publics.length < 2) return { mac, fields: found }
  const behind = await Promise.all(publics.map((at) => session.get(`${below}ipv4-associations/${at}`)))
  return { mac, fields: found, associations: Object.fromEntries(publics.map((at, i) => [at, behind[i]])) }
}

/** The interfaces that the listing names, each with a trailing slash. Anything else in it is no path to ask. */
export function macsOf(listing: string | undefined): readonly string[] {
  const lines = (listing ?? '').split('\n').map((line) => line.trim().replace(/\/$/, ''))
  return lines.filter((line) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(line)).slice(0, maxInterfaces)
}

/** Undefined where the identity document is none, so that this is another service. */
export function awsFacts(
  identity: string | undefined,
  interfaces: readonly AwsInterface[],
): CloudFacts | undefined {
  const document = jsonOf(identity ?? '')
  if (!isObject(document)) return undefined
  const reading = new Reading()
  const order = (of: AwsInterface): number => {
    const text = of.fields['device-number']?.trim() ?? ''
    return /^[0-9]{1,3}$/.test(text) ? Number(text) : Infinity
  }
  const sorted = [...interfaces].sort((a, b) => {
    const [left, right] = [order(a), order(b)]
    return left === right ? (a.mac < b.mac ? -1 : 1) : left < right ? -1 : 1
  })
  return {
    provider: 'aws',
    region: reading.words(fieldOf(document, 'region'), 'region'),
    zone: reading.words(fieldOf(document, 'availabilityZone'), 'zone'),
    instance: reading.words(fieldOf(document, 'instanceId'), 'instance'),
    interfaces: sorted.map((each) => interfaceOf(each, reading)),
    unusable: reading.unusable,
  }
}

function interfaceOf({ mac, fields: of, associations = {} }: AwsInterface, reading: Reading): CloudInterface {
  const list = (field: Field): readonly string[] => reading.lines(of[field], `${mac} ${field}`)
  const four = reading.addresses(list('local-ipv4s'), `${mac} local-ipv4s`)
  const six = reading.addresses(list('ipv6s'), `${mac} ipv6s`)
  const place = (at: Address): number => {
    const behind = four.findIndex((own) => own === associations[at]?.trim())
    return behind < 0 ? four.length : behind
  }
  const publicFour = list('public-ipv4s')
    .map((value) => reading.publicAddress(value, `${mac} public-ipv4s`))
    .filter((value) => value !== undefined)
  const prefixes = (...names: readonly Field[]): CloudInterface['networkPrefixes'] =>
    names.flatMap((name) => reading.prefixes(list(name), `${mac} ${name}`))
  return {
    mac: mac.toLowerCase(),
    privateAddresses: [...four, ...six],
    // The one behind which the primary private address is comes first: it is what others see when this host calls.
    publicAddresses: [...publicFour.sort((a, b) => place(a) - place(b)), ...six.filter(isGlobalSix)],
    networkPrefixes: prefixes('vpc-ipv4-cidr-blocks', 'vpc-ipv6-cidr-blocks'),
    subnetPrefixes: prefixes('subnet-ipv4-cidr-block', 'subnet-ipv6-cidr-blocks'),
  }
}
