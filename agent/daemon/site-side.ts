/**
 * The site's own side: how hosts reach this gateway where nothing but a route table of the cloud, or a program of the
 * operator's, can send them here. While this gateway is the active one of its site, the hook `site-active` is to have run
 * with the remote prefixes there are: at once when it takes over, soon after they change, and from time to time, since
 * another hand may have changed the route table.
 */
import type { Config } from '../model/config.ts'
import type { Name } from '../model/fabric.ts'
import { overlayTable } from '../model/kernel-number.ts'
import type { PathState, Standing } from '../model/path-state.ts'
import { candidatesOf, rankOf } from '../plan/active.ts'
import type { Candidate } from '../plan/active.ts'
import type { PlanInput, Share } from '../plan/input.ts'
import type { Events } from './event.ts'
import { Hook } from './hook.ts'
import type { HookCause, HookView, RunHook } from './hook.ts'
import { fitMs, SiteRole } from './site-role.ts'
import type { Role } from './site-role.ts'
import type { Trouble } from './trouble.ts'

export interface SiteSideOptions {
  readonly config: Pick<Config, 'fabric' | 'site' | 'own' | 'hooks'>
  /** What the kernel agrees with; undefined while it does not yet. */
  readonly planned: () => PlanInput | undefined
  readonly paths: () => PathState
  /** How we stand, as far as the others are told. */
  readonly own: () => Standing
  readonly shares: () => Iterable<Share>
  readonly run: RunHook
  readonly events: Events
  /** Of a clock that never goes back. */
  readonly now?: () => number
}

export interface SiteSideView {
  readonly site: Name
  /** The gateway that is active, or about to be; absent: none is fit for it. */
  readonly active?: Name
  /** It is this one, and the hook is to have run. */
  readonly self: boolean
  /** Unix ms: since when that is so. */
  readonly sinceMs: number
  /** Gateways of the site that no path leads to: they count as well, and nobody takes over from them. */
  readonly unseen: readonly Name[]
  readonly hook?: HookView
}

/** News of prefixes come in bursts: a run so long, in ms, after the first. */
const settleMs = 2000

export class SiteSide {
  readonly #options: SiteSideOptions
  readonly #now: () => number
  readonly #role: SiteRole
  readonly #hook: Hook | undefined
  #last: Role = { chosen: undefined, isActive: false }
  #sinceMs = Date.now()
  #candidates: readonly Candidate[] = []
  /** Shares that hold what the hook was told, or will be in a moment. */
  #sites: ReadonlyMap<string, Share> = new Map()
  #told = ''
  #again: NodeJS.Timeout | undefined
  #audit: NodeJS.Timeout | undefined
  #change: NodeJS.Timeout | undefined
  #returned: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: SiteSideOptions) {
    const { config, now = () => performance.now(), run, events } = options
    const { gateway, site } = config.own
    this.#options = options
    this.#now = now
    this.#role = new SiteRole(gateway)
    const given = config.hooks?.siteActive
    if (given === undefined) return
    this.#hook = new Hook({
      name: 'site-active',
      program: given.program,
      timeoutMs: given.limitSeconds * 1000,
      run,
      input: (cause) => this.#input(cause),
      environment: {
        LINKSPAN_GATEWAY: gateway,
        LINKSPAN_SITE: site,
        LINKSPAN_FABRIC: config.fabric,
      },
      events,
    })
  }

  /** Absent where nobody asked for it and there is nobody to take over from. */
  get view(): SiteSideView | undefined {
    const { chosen, isActive } = this.#last
    if (this.#hook === undefined && this.#candidates.length < 2) return undefined
    return {
      site: this.#options.config.own.site,
      ...(chosen === undefined ? {} : { active: chosen }),
      self: isActive,
      sinceMs: Math.round(this.#sinceMs),
      unseen: this.#candidates.filter(({ seen }) => !seen).map(({ name }) => name),
      ...(this.#hook === undefined ? {} : { hook: this.#hook.view }),
    }
  }

  /** How many gateways of the site could take over from us, as far as paths tell. */
  get others(): number {
    const { gateway } = this.#options.config.own
    const isOther = ({ name, seen, standing }: Candidate): boolean =>
      name !== gateway && seen && rankOf(standing) !== Infinity
    return this.#candidates.filter(isOther).length
  }

  get trouble(): Trouble | undefined {
    return this.#hook?.trouble
  }

  /** A path, a prefix, a gateway of the site or we ourselves may stand otherwise. */
  look(): void {
    if (this.#isClosed) return
    clearTimeout(this.#again)
    const { planned, paths, own } = this.#options
    const input = planned()
    const candidates = input === undefined ? [] : candidatesOf(input, paths(), own())
    const role = this.#role.look(candidates, this.#now())
    if (role.againMs !== undefined) {
      this.#again = setTimeout(() => {
        this.look()
      }, role.againMs + 1).unref()
    }
    const before = this.#last
    const known = this.#candidates
    this.#last = role
    this.#candidates = candidates
    if (role.isActive !== before.isActive || role.chosen !== before.chosen) this.#sinceMs = Date.now()
    if (this.#hook === undefined) return
    if (role.isActive !== before.isActive) this.#turn(role, candidates)
    else if (role.isActive) {
      this.#followPrefixes()
      if (hasReturned(known, candidates)) this.#lookAgain()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#rest()
    this.#hook?.stop()
  }

  #turn({ isActive, chosen }: Role, candidates: readonly Candidate[]): void {
    const { config, events } = this.#options
    const { site, gateway } = config.own
    this.#rest()
    if (!isActive) {
      this.#hook?.stop()
      const own = candidates.find(({ name }) => name === gateway)?.standing ?? 'down'
      const reason =
        chosen === undefined || own !== 'fit' ? `this gateway is ${own}` : `${chosen} goes before`
      events.emit('notice', 'site-passive', { site, active: chosen, reason })
      return
    }
    const others = candidates.filter(({ name }) => name !== gateway).map(textOf)
    events.emit('notice', 'site-active', {
      site,
      others: others.length === 0 ? undefined : others.join(', '),
    })
    this.#sites = this.#siteShares()
    this.#hook?.want('takeover')
    const everyMs = (config.hooks?.siteActive.auditSeconds ?? 0) * 1000
    this.#audit = setInterval(() => this.#hook?.want('audit'), everyMs).unref()
  }

  #rest(): void {
    clearTimeout(this.#again)
    clearInterval(this.#audit)
    clearTimeout(this.#change)
    clearTimeout(this.#returned)
    this.#change = undefined
  }

  #followPrefixes(): void {
    if (this.#change !== undefined) return
    const sites = this.#siteShares()
    if (sameShares(sites, this.#sites)) return
    this.#change = setTimeout(() => {
      this.#change = undefined
      this.#sites = this.#siteShares()
      if (this.#prefixes().join(' ') !== this.#told) this.#hook?.want('change')
    }, settleMs).unref()
  }

  /** Whoever could not see us may have taken over meanwhile, and stepped down by now. */
  #lookAgain(): void {
    clearTimeout(this.#returned)
    this.#returned = setTimeout(() => this.#hook?.want('audit'), fitMs).unref()
  }

  #siteShares(): ReadonlyMap<string, Share> {
    const sites = new Map<string, Share>()
    for (const share of this.#options.shares()) if (share.key.startsWith('site ')) sites.set(share.key, share)
    return sites
  }

  /** Those of other sites that this gateway has a route for, in order. */
  #prefixes(): readonly string[] {
    const prefixes = new Set<string>()
    for (const { objects } of this.#siteShares().values()) {
      for (const object of objects) {
        const isRoute = object.kind === 'route' && object.table === overlayTable && object.type === 'unicast'
        if (isRoute) prefixes.add(object.prefix)
      }
    }
    return [...prefixes].sort()
  }

  #input(cause: HookCause): string {
    const { config } = this.#options
    const { gateway, site } = config.own
    const prefixes = this.#prefixes()
    this.#told = prefixes.join(' ')
    return `${JSON.stringify({ schema: 1, cause, fabric: config.fabric, site, gateway, prefixes })}\n`
  }
}

function textOf({ name, standing, seen }: Candidate): string {
  return `${name} ${seen ? standing : 'unseen'}`
}

function hasReturned(before: readonly Candidate[], now: readonly Candidate[]): boolean {
  const down = new Set(before.filter(({ standing }) => rankOf(standing) === Infinity).map(({ name }) => name))
  return now.some(({ name, standing }) => down.has(name) && rankOf(standing) !== Infinity)
}

function sameShares(one: ReadonlyMap<string, Share>, other: ReadonlyMap<string, Share>): boolean {
  if (one.size !== other.size) return false
  for (const [key, share] of one) if (other.get(key) !== share) return false
  return true
}
