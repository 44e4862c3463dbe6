/** What `status` and metrics say of trust: whose documents count, until when, and what is about to end. */
import type { Fabric } from '../model/fabric.ts'
import { graceMs } from '../trust/moment.ts'
import type { RuleId } from '../trust/rulebook.ts'
import type { Inputs } from './inputs.ts'

export interface TrustView {
  /** Keys of the authority whose signatures count. */
  readonly authorities: readonly string[]
  readonly fabric?: { readonly serial: number; readonly freshUntilMs: number; readonly isStale: boolean }
  /** Our own certificate. */
  readonly certificate?: {
    readonly serial: number
    readonly notBeforeMs: number
    readonly notAfterMs: number
    /** By the clock that documents are judged by; negative once it is over. */
    readonly secondsLeft: number
  }
  /** Of our own record in force. */
  readonly recordSerial?: number
  /** Why we have no peers any more, and what was set up for them leads nowhere. */
  readonly barred?: string
  /** The clock leapt ahead by so many ms and nothing expires by it yet, or is so far behind. */
  readonly clock?: { readonly leapMs: number; readonly lagMs: number }
  /** What somebody should do something about, the most urgent first: one sentence each. */
  readonly alarms: readonly string[]
}

/** Said from here on, in ms before the end. */
const soonMs = 30 * 86_400_000

export function trustView(inputs: Inputs, gateway: string): TrustView {
  const { admission, clock } = inputs
  const { sureMs } = clock.now()
  const document = inputs.documentOf('certificate')
  const certificate = document?.type === 'certificate' ? document.payload : undefined
  const record = inputs.documentOf('record')
  const fabric = admission.snapshot?.fabric
  const alarms: string[] = []
  const barred = barredBy(inputs, gateway)
  if (barred !== undefined) alarms.push(`our certificate counts no more, so all peers are gone: ${barred}`)
  if (certificate !== undefined) {
    const { notAfter } = certificate
    const renew = `linkspan ca renew ${gateway}`
    if (notAfter + graceMs < sureMs)
      alarms.push(`our certificate expired ${span(sureMs - notAfter)} ago: ${renew}`)
    else if (notAfter - sureMs < soonMs)
      alarms.push(`certificate expires in ${span(notAfter - sureMs)}: ${renew}`)
  }
  const isStale = admission.stale
  if (fabric !== undefined) alarms.push(...staleness(fabric, isStale, sureMs))
  const { leapMs, lagMs } = clock
  if (leapMs > 0)
    alarms.push(`the clock leapt ahead by ${span(leapMs)}; nothing expires by it for an hour: is it right?`)
  if (lagMs > 0) alarms.push(`the clock is ${span(lagMs)} behind what was signed already: set it right`)
  return {
    authorities: [...admission.authorities.trusted],
    ...(fabric === undefined
      ? {}
      : { fabric: { serial: fabric.serial, freshUntilMs: fabric.freshUntil, isStale } }),
    ...(certificate === undefined
      ? {}
      : {
          certificate: {
            serial: certificate.serial,
            notBeforeMs: certificate.notBefore,
            notAfterMs: certificate.notAfter,
            secondsLeft: Math.floor((certificate.notAfter - sureMs) / 1000),
          },
        }),
    ...(record?.type === 'record' ? { recordSerial: record.payload.serial } : {}),
    ...(barred === undefined ? {} : { barred }),
    ...(leapMs > 0 || lagMs > 0 ? { clock: { leapMs, lagMs } } : {}),
    alarms,
  }
}

const endings: ReadonlySet<RuleId> = new Set<RuleId>(['revoked', 'expired', 'removed'])

/** Why the gateway is in the snapshot only to close what it had opened. */
function barredBy({ admission: { snapshot }, ownRefusals }: Inputs, gateway: string): string | undefined {
  if (snapshot?.gateways.get(gateway)?.barred !== true) return undefined
  return ownRefusals.find(({ rule }) => endings.has(rule))?.reason ?? ''
}

function staleness({ freshUntil }: Fabric, isStale: boolean, sureMs: number): string[] {
  const renew = 'linkspan ca fabric'
  if (isStale)
    return [
      `the fabric document is stale since ${span(sureMs - freshUntil)}, so no new gateway is let in: ${renew}`,
    ]
  return freshUntil - sureMs < soonMs / 3
    ? [`the fabric document is fresh for ${span(freshUntil - sureMs)} more: ${renew}`]
    : []
}

/** `9 days`, `3 hours`, `5 minutes`. */
function span(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000))
  const [count, unit] =
    minutes >= 2880
      ? [Math.floor(minutes / 1440), 'days']
      : minutes >= 120
        ? [Math.floor(minutes / 60), 'hours']
        : [minutes, 'minutes']
  return `${count} ${unit}`
}
