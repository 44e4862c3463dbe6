/**
 * A route table of Azure: what differs from what is wanted, and how it is changed.
 *
 *   GET table: what differs?   one route: PUT or DELETE it   several: PUT the table as it was read, If-Match its entity tag
 *
 * A table takes one change at a time, and each takes seconds, however much it holds: several routes are one change of the
 * whole table, which the service refuses where somebody else changed the table meanwhile; it is then read again. Who may not
 * write tables, but routes, changes one after the other. Ours are known by their name. A route that leads to something else
 * than an appliance is somebody's who knows why, and is not touched.
 */
import { fieldOf, isObject } from '../cloud/reading.ts'
import { LinkspanError } from '../errors.ts'
import { familyOf, isMalformed, parseAddress, parsePrefix } from '../model/prefix.ts'
import type { Address, Prefix } from '../model/prefix.ts'
import { each, retryAfterMs } from './api.ts'
import { ApiRefusal, textOf } from './json-api.ts'
import type { JsonAnswer, JsonApi } from './json-api.ts'

const ours = 'linkspan-'
const appliance = 'VirtualAppliance'
const pollMs = 1000
/** How often somebody else may come between reading a table and writing it. */
const patience = 4

export interface Change {
  readonly verb: 'PUT' | 'DELETE'
  readonly table: string
  readonly name: string
  readonly prefix: string
  readonly before?: string
  readonly address?: Address
}

interface Route {
  readonly name: string
  readonly prefix: string
  readonly type: string
  readonly address: string
  /** As it was read. */
  readonly value: unknown
}

export class RouteTable {
  readonly #api: JsonApi
  readonly #id: string
  readonly #wanted: readonly Prefix[]
  readonly #addresses: readonly Address[]
  #value: unknown
  #routes: readonly Route[] = []
  /** As of the last read(); what is new before what is old. */
  changes: readonly Change[] = []
  /** Wanted ones that lead elsewhere, in words. */
  foreign: readonly string[] = []

  /** `addresses`: this VM's, one of each family at most. */
  constructor(api: JsonApi, id: string, wanted: readonly Prefix[], addresses: readonly Address[]) {
    this.#api = api
    this.#id = id
    this.#wanted = wanted
    this.#addresses = addresses
  }

  async read(): Promise<void> {
    this.#value = (await this.#api.call('GET', this.#id)).value
    this.#routes = this.#routesRead()
    const changes: Change[] = []
    const foreign: string[] = []
    for (const prefix of this.#wanted) {
      const address = this.#addresses.find((each) => familyOf(each) === familyOf(prefix))
      if (address === undefined) {
        throw this.#api.failure(`this VM has no private address that ${prefix} could lead to`)
      }
      const route = this.#routes.find((each) => each.prefix === prefix)
      if (route?.type === appliance && route.address === address) continue
      if (route !== undefined && route.type !== appliance) {
        foreign.push(`${prefix} in ${this.#id} leads to ${route.type}`)
        continue
      }
      const [name, before] = [route?.name ?? nameOf(prefix), route?.address ?? 'none']
      changes.push({ verb: 'PUT', table: this.#id, name, prefix, address, before })
    }
    for (const { name, prefix } of this.#routes) {
      const isOver = name.startsWith(ours) && !this.#wanted.some((one) => one === prefix)
      if (isOver) changes.push({ verb: 'DELETE', table: this.#id, name, prefix })
    }
    this.changes = changes
    this.foreign = foreign
  }

  /** Makes it as wanted, from what read() found. */
  async change(say: (line: string) => void): Promise<void> {
    for (let tries = 1; this.changes.length > 1; tries++) {
      const body = this.#wholeBody()
      const etag = textOf(fieldOf(this.#value, 'etag'))
      if (body === undefined || etag === undefined) break
      try {
        await this.#finished(this.#id, await this.#api.call('PUT', this.#id, { body, ifMatch: etag }))
        return
      } catch (error) {
        if (!(error instanceof ApiRefusal)) throw error
        if (error.status === 403) {
          say('routes are changed one by one: routeTables/write would change all of a table at once')
          break
        }
        if (error.status !== 412 || tries === patience) throw error
        await this.read()
      }
    }
    await each(this.changes, 1, (change) => this.#changeRoute(change))
  }

  /** All of the table, with the changes made; undefined where it was not read in the form that we know. */
  #wholeBody(): unknown {
    const [location, tags] = [textOf(fieldOf(this.#value, 'location')), fieldOf(this.#value, 'tags')]
    if (location === undefined) return undefined
    const gone = new Set(this.changes.filter(({ verb }) => verb === 'DELETE').map(({ name }) => name))
    const puts = new Map(this.changes.flatMap((one) => (one.verb === 'PUT' ? [[one.name, one]] : [])))
    const kept = this.#routes.flatMap(({ name, value }) => {
      if (gone.has(name)) return []
      const put = puts.get(name)
      puts.delete(name)
      if (put === undefined) return [value]
      const properties = { ...objectOf(fieldOf(value, 'properties')), ...propertiesOf(put) }
      return [{ ...objectOf(value), properties }]
    })
    const added = [...puts.values()].map((put) => ({ name: put.name, properties: propertiesOf(put) }))
    const propagation = fieldOf(this.#value, 'properties', 'disableBgpRoutePropagation')
    return {
      location,
      ...(tags === undefined ? {} : { tags }),
      properties: {
        ...(propagation === undefined ? {} : { disableBgpRoutePropagation: propagation }),
        routes: [...kept, ...added],
      },
    }
  }

  async #changeRoute(change: Change): Promise<void> {
    const path = `${this.#id}/routes/${change.name}`
    const more = change.verb === 'PUT' ? { body: { properties: propertiesOf(change) } } : {}
    await this.#finished(path, await this.#api.call(change.verb, path, more))
  }

  /** A change is accepted first and made later; the next one must not come before. */
  async #finished(path: string, begun: JsonAnswer): Promise<void> {
    const operation = begun.header('azure-asyncoperation')
    let answer = begun
    let state = operation === undefined ? stateOf(begun) : 'InProgress'
    while (state !== 'Succeeded') {
      if (state === 'Failed' || state === 'Canceled') {
        const of = (key: string): string => textOf(fieldOf(answer.value, 'error', key)) ?? ''
        const reason = `${state} ${of('code')} ${of('message')}`.trim()
        throw new LinkspanError({ code: 'exec', object: `azure, ${path}`, reason })
      }
      await this.#api.wait(retryAfterMs(answer) ?? pollMs)
      answer = operation === undefined ? await this.#api.call('GET', path) : await this.#api.follow(operation)
      state =
        operation === undefined ? stateOf(answer) : (textOf(fieldOf(answer.value, 'status')) ?? 'Failed')
    }
  }

  #routesRead(): readonly Route[] {
    const routes = fieldOf(this.#value, 'properties', 'routes')
    if (!Array.isArray(routes)) throw this.#api.failure(`its answer holds no routes of ${this.#id}`)
    return routes.map((value: unknown): Route => {
      const of = (key: string): string => textOf(fieldOf(value, 'properties', key)) ?? ''
      const [prefix, address] = [parsePrefix(of('addressPrefix')), parseAddress(of('nextHopIpAddress'))]
      return {
        name: textOf(fieldOf(value, 'name')) ?? '',
        prefix: isMalformed(prefix) ? of('addressPrefix') : prefix,
        type: of('nextHopType'),
        address: isMalformed(address) ? '' : address,
        value,
      }
    })
  }
}

/** `PUT NAME (PREFIX) in TABLE: BEFORE -> ADDRESS` */
export function textOfChange({ verb, table, name, prefix, before, address }: Change): string {
  const leads = verb === 'PUT' ? `: ${before ?? ''} -> ${address ?? ''}` : ''
  return `${verb} ${name} (${prefix}) in ${table}${leads}`
}

function propertiesOf({ prefix, address }: Change) {
  return { addressPrefix: prefix, nextHopType: appliance, nextHopIpAddress: address }
}

function objectOf(value: unknown): object {
  return isObject(value) ? (value as object) : {}
}

/** Of a route or a table itself. */
function stateOf({ value }: JsonAnswer): string {
  return textOf(fieldOf(value, 'properties', 'provisioningState')) ?? 'Succeeded'
}

/** Letters, digits, `_`, `.` and `-`. */
function nameOf(prefix: Prefix): string {
  return `${ours}${prefix.replaceAll(':', '-').replace('/', '_')}`
}
