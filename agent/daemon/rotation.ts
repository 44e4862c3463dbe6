/**
 * The rotation of this gateway's tunnel keys: asked for by `linkspan keys rotate` or by the fabric document's schedule, and
 * then taken from step to step (rotation-step.ts) as the record comes into force and peers go over to the new keys.
 */
import { LinkspanError, reasonOf } from '../errors.ts'
import type { Name } from '../model/fabric.ts'
import { deviceName } from '../model/device.ts'
import { generationsOf } from '../model/gateway.ts'
import type { PlanInput } from '../plan/input.ts'
import { currentPaths, isDown } from '../plan/lane.ts'
import { localOf } from '../plan/local.ts'
import { pathsTo } from '../plan/path.ts'
import { isPeer } from '../plan/wireguard.ts'
import type { Events } from './event.ts'
import type { Generation } from './key-store.ts'
import { dueAtMs, nextStep, quietMs } from './rotation-step.ts'
import type { RotationFacts, RotationPhase } from './rotation-step.ts'

/** What the key store does for it. */
export interface RotatingKeys {
  readonly newest: Generation
  readonly older: (Generation & { readonly isOffered: boolean }) | undefined
  begin(nowMs: number): Promise<void>
  retire(): Promise<void>
  forget(): Promise<void>
}

export interface RotationOptions {
  readonly gateway: Name
  readonly keys: RotatingKeys
  /** The input that the kernel was last made to agree with. */
  readonly planned: () => PlanInput | undefined
  /** ms since each tunnel last shook hands, by device and public key. */
  readonly handshakes: () => Promise<ReadonlyMap<string, number>>
  /** Why the schedule must wait; undefined: it need not. */
  readonly hindrance: () => Promise<string | undefined>
  /** The keys that we offer are others. */
  readonly onChange: () => void
  readonly events: Events
  /** Unix ms: of the wall clock, and what is surely past. */
  readonly wall?: () => number
  readonly sure: () => number
  /** ms that never go back. */
  readonly monotonic?: () => number
}

/** As people ask for it. Ages in seconds. */
export interface RotationView {
  readonly generation: number
  readonly ageSeconds: number
  readonly phase: RotationPhase
  readonly older?: { readonly generation: number; readonly ageSeconds: number }
  readonly waitsFor?: string
  /** When the schedule asks for the next one: Unix ms. */
  readonly nextAtMs?: number
}

/** How often handshakes are asked for, and how often the schedule asks whether it may, in ms. */
const askEveryMs = 5000
const tryEveryMs = 60_000

export class Rotation {
  readonly #options: RotationOptions
  #busy: Promise<void> | undefined
  #phase: RotationPhase = 'settled'
  #waitsFor: string | undefined
  /** When this run first saw our record list a generation. */
  #listed: { readonly generation: number; readonly atMs: number } | undefined
  #users: { readonly names: readonly Name[]; readonly atMs: number } | undefined
  #triedAtMs = -Infinity
  /** Of the generation that all peers moved to, once told. */
  #movedTold = -1
  #troubleTold = ''
  #heldTold = ''

  constructor(options: RotationOptions) {
    this.#options = options
  }

  get view(): RotationView {
    const { keys, gateway, sure } = this.#options
    const { newest, older } = keys
    const nowMs = sure()
    const ageOf = ({ madeAtMs }: Generation): number => Math.max(0, Math.round((nowMs - madeAtMs) / 1000))
    const nextAtMs = older === undefined ? dueAtMs({ gateway, newest, days: this.#days }) : undefined
    return {
      generation: newest.number,
      ageSeconds: ageOf(newest),
      phase: this.#phase,
      ...(older === undefined ? {} : { older: { generation: older.number, ageSeconds: ageOf(older) } }),
      ...(this.#waitsFor === undefined ? {} : { waitsFor: this.#waitsFor }),
      ...(nextAtMs === undefined ? {} : { nextAtMs: Math.round(nextAtMs) }),
    }
  }

  /**
   * Begins one by hand. False where one is under way already. Throws `registry-unreadable` while nobody could hear of new
   * keys, and what the key store throws.
   */
  async begin(): Promise<boolean> {
    while (this.#busy !== undefined) await this.#busy
    const { keys, gateway } = this.#options
    if (keys.older !== undefined) return false
    const self = this.#self
    if (self === undefined || self.barred === true) {
      const reason = 'has no certificate and record in force, so nobody would hear of new keys'
      const next = 'see what `linkspan status` says'
      throw new LinkspanError({ code: 'registry-unreadable', object: `gateway ${gateway}`, reason, next })
    }
    const beginning = this.#begin('hand')
    this.#busy = beginning
      .catch(() => undefined) // whoever asked has the error
      .finally(() => {
        this.#busy = undefined
      })
    await beginning
    return true
  }

  /** Something may be different: takes the next step where one is due. Resolves when it is done; never rejects. */
  look(): Promise<void> {
    this.#busy ??= this.#advance().finally(() => {
      this.#busy = undefined
    })
    return this.#busy
  }

  get #self() {
    const input = this.#options.planned()
    return input?.snapshot.gateways.get(this.#options.gateway)
  }

  get #days(): number {
    return this.#options.planned()?.snapshot.fabric.rotation.days ?? 0
  }

  get #now(): number {
    return this.#options.monotonic?.() ?? performance.now()
  }

  async #advance(): Promise<void> {
    const { keys, events } = this.#options
    try {
      const { phase, step, waitsFor } = nextStep(await this.#facts())
      this.#phase = phase
      this.#waitsFor = waitsFor
      if (phase === 'moving') this.#tellMoved()
      if (step === 'begin') await this.#beginOnSchedule()
      else if (step === 'retire') {
        const generation = keys.older?.number
        const users = this.#users?.names ?? []
        await keys.retire()
        this.#phase = 'retiring'
        events.emit(users.length > 0 ? 'warning' : 'notice', 'keys-retired', {
          generation,
          ...(users.length > 0 ? { reason: 'their time was over', stillUsedBy: users.join(' ') } : {}),
        })
        this.#options.onChange()
      } else if (step === 'forget') {
        const generation = keys.older?.number
        await keys.forget()
        this.#phase = 'settled'
        this.#waitsFor = undefined
        events.emit('notice', 'keys-deleted', { generation })
      }
      this.#troubleTold = ''
    } catch (error) {
      const { object, reason, next } = reasonOf(error, 'key rotation')
      this.#waitsFor = `${object}: ${reason}`
      if (reason !== this.#troubleTold) events.emit('error', 'rotation-failed', { object, reason, next })
      this.#troubleTold = reason
    }
  }

  async #begin(by: 'hand' | 'schedule'): Promise<void> {
    const { keys, events, wall = Date.now } = this.#options
    await keys.begin(wall())
    this.#phase = 'announcing'
    this.#users = undefined
    events.emit('notice', 'keys-begun', { generation: keys.newest.number, by })
    this.#options.onChange()
  }

  async #beginOnSchedule(): Promise<void> {
    const nowMs = this.#now
    if (nowMs - this.#triedAtMs < tryEveryMs) return
    this.#triedAtMs = nowMs
    const hindrance =
      this.#self === undefined ? 'no record of ours is in force' : await this.#options.hindrance()
    this.#waitsFor =
      hindrance === undefined ? undefined : `the next generation is due and waits: ${hindrance}`
    if (hindrance === undefined) await this.#begin('schedule')
    else if (hindrance !== this.#heldTold) {
      this.#options.events.emit('notice', 'rotation-waits', { reason: hindrance })
    }
    this.#heldTold = hindrance ?? ''
  }

  async #facts(): Promise<RotationFacts> {
    const { keys, gateway, sure } = this.#options
    const { newest, older } = keys
    const self = this.#self
    const listed =
      self === undefined ? undefined : { generation: self.generation, older: generationsOf(self).length > 1 }
    if (listed?.generation !== newest.number) this.#listed = undefined
    else if (this.#listed?.generation !== newest.number) {
      this.#listed = { generation: newest.number, atMs: this.#now }
    }
    const users =
      older?.isOffered === true && this.#listed !== undefined ? await this.#usersOf(older) : undefined
    return {
      gateway,
      nowMs: sure(),
      newest,
      older,
      ...(listed === undefined ? {} : { listed }),
      ...(this.#listed === undefined ? {} : { listedMs: this.#now - this.#listed.atMs }),
      ...(users === undefined ? {} : { users }),
      days: this.#days,
    }
  }

  /** Who shook hands on devices of a generation lately. */
  async #usersOf({ number }: Generation): Promise<readonly Name[]> {
    const known = this.#users
    if (known !== undefined && this.#now - known.atMs < askEveryMs) return known.names
    const ages = await this.#options.handshakes()
    const names = new Set<Name>()
    for (const { name, path } of this.#paths()) {
      if (((path.device >> 5) & 1) !== (number & 1)) continue
      const age = ages.get(`${deviceName(path.device)} ${path.publicKey}`)
      if (age !== undefined && age < quietMs) names.add(name)
    }
    this.#users = { names: [...names].sort(), atMs: this.#now }
    return this.#users.names
  }

  /** Once: nothing of ours is sent by the old keys any more. */
  #tellMoved(): void {
    const { keys, events } = this.#options
    const { number } = keys.newest
    if (this.#movedTold === number) return
    const input = this.#options.planned()
    if (input === undefined) return
    const peers = new Map<Name, boolean>()
    let isAnyDown = false
    for (const { name, path, isCurrent } of this.#paths()) {
      if (!isCurrent) continue
      if (isDown(path, name, input.paths)) {
        // It carries nothing, by whatever keys. Should all be, more is amiss than keys.
        isAnyDown = true
        continue
      }
      const isNew = ((path.device >> 5) & 1) === (number & 1)
      peers.set(name, isNew && peers.get(name) !== false)
    }
    if ([...peers.values()].includes(false) || (isAnyDown && peers.size === 0)) return
    this.#movedTold = number
    events.emit('notice', 'keys-moved', { generation: number, peers: peers.size })
  }

  *#paths() {
    const input = this.#options.planned()
    const local = input === undefined ? undefined : localOf(input)
    if (input === undefined || local === undefined) return
    for (const gateway of input.snapshot.gateways.values()) {
      if (!isPeer(local, gateway)) continue
      const { paths } = pathsTo(local, gateway)
      const current = new Set(currentPaths(paths, gateway.name, input.paths))
      for (const path of paths) yield { name: gateway.name, path, isCurrent: current.has(path) }
    }
  }
}
