/**
 * Where this gateway runs, as its cloud tells it: what fills in for what the operator did not write. It comes in late and
 * piece by piece, or never: a start does not wait for it, and a cloud that falls silent takes nothing back.
 *
 * Until the first outcome nothing is said to the registry that it could change a moment later: peers would take up an
 * address, and then another one. While a cloud is known to be there and does not answer, the endpoints that our record
 * already names stay.
 */
import type { Reason } from '../errors.ts'
import type { Config } from '../model/config.ts'
import type { Address, Prefix } from '../model/prefix.ts'

export interface Cloud {
  readonly provider: string
  readonly region: string
  readonly zone: string
  readonly instance: string
  /** By which the internet reaches this VM; none: it is behind the cloud's NAT, or on an interconnect. */
  readonly addresses: readonly Address[]
  /** Whose they are, by what each interface itself carries; absent: nobody knows. */
  readonly interfaces?: readonly {
    readonly privateAddresses: readonly Address[]
    readonly publicAddresses: readonly Address[]
  }[]
  /** Address space of its network. */
  readonly prefixes: readonly Prefix[]
  /** The configuration to make a request from. */
  readonly request: Config
}

/** What `status` shows of it. */
export type CloudView = Partial<Omit<Cloud, 'request' | 'interfaces'>> & { readonly trouble?: Reason }

export class Surroundings {
  #isAsked: boolean
  #cloud: Cloud | undefined
  #trouble: Reason | undefined
  #onNew: (() => void) | undefined

  /** `isAsked`: somebody asks, and calls one of the methods below within seconds. */
  constructor(isAsked = false) {
    this.#isAsked = isAsked
  }

  /** There is no outcome yet. */
  get isAsked(): boolean {
    return this.#isAsked
  }

  get cloud(): Cloud | undefined {
    return this.#cloud
  }

  /** There is a cloud, or may be one, and it has not said by which address we are reached. */
  get isUncertain(): boolean {
    return this.#isAsked || (this.#trouble !== undefined && this.#cloud === undefined)
  }

  /** Undefined on premises. */
  get view(): CloudView | undefined {
    const trouble = this.#trouble === undefined ? {} : { trouble: this.#trouble }
    if (this.#cloud === undefined) return this.#trouble === undefined ? undefined : trouble
    const { provider, region, zone, instance, addresses, prefixes } = this.#cloud
    return { provider, region, zone, instance, addresses, prefixes, ...trouble }
  }

  /** There is no cloud, or none that is known here. */
  none(): void {
    this.#news()
  }

  learned(cloud: Cloud): void {
    this.#cloud = cloud
    this.#trouble = undefined
    this.#news()
  }

  /** What was learned before stays. */
  failed(trouble: Reason): void {
    this.#trouble = trouble
    this.#news()
  }

  /** Called when there is something new. */
  onNew(call: () => void): void {
    this.#onNew = call
  }

  #news(): void {
    this.#isAsked = false
    this.#onNew?.()
  }
}
