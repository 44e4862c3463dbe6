/** Two real gateways, and more on paper: documents in their registry that no agent stands behind. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Status } from '../../agent/daemon/status.ts'
import type { Delivered, Document } from '../../agent/model/document.ts'
import type { Certificate, GatewayRecord } from '../../agent/model/fabric.ts'
import { address } from '../../agent/model/prefix.ts'
import { documentPath } from '../../agent/registry/file.ts'
import { certificateDocument, recordDocument, sealed, signed } from './documents.ts'
import { dump } from './dump.ts'
import { guest } from './fault.ts'
import { makePair } from './pair.ts'
import type { Pair } from './pair.ts'

export const seconds = guest ? 90 : 10
/** The number of the first gateway on paper. */
export const firstPaper = 10
let serial = 1

export function certificate(number: number, change: Partial<Certificate> = {}): Document {
  return certificateDocument(number, { fabric: 'lab', serial: ++serial, ...change })
}

export function record(number: number, change: Partial<GatewayRecord> = {}): Document {
  const at = address(`192.0.2.${number}`)
  const endpoints = [{ underlay: 'wan', address: at, port: 51820 }]
  return recordDocument(number, { fabric: 'lab', serial: ++serial, endpoints, ...change })
}

export interface Paper extends Pair {
  /** Numbers of the gateways on paper. */
  readonly paper: readonly number[]
  readonly documents: readonly { readonly certificate: Document; readonly record: Document }[]
  /** The kernel state of the left gateway when it knew them all. */
  readonly whole: ReturnType<typeof dump>
  /** Whole or not at all, as a careful writer does it; the path. */
  readonly put: (document: Document | string, text?: string) => string
  /** All in one moment, so that the agents see them as one piece of news. */
  readonly putTogether: (documents: readonly Delivered[]) => void
  readonly putAll: () => void
  /** The status of the left gateway, once that holds. Throws where it does not in time. */
  readonly until: (what: string, holds: (status: Status) => boolean) => Promise<Status>
}

export function isClean({ refusals, vanished, registry }: Status): boolean {
  return refusals.length + vanished.length + registry.unreadable.length === 0
}

/** A pair whose registry holds so many gateways more. */
export async function makePaper(directory: string, count: number): Promise<Paper> {
  const pair = await makePair(directory)
  const { lab, left } = pair
  const paper = Array.from({ length: count }, (_, i) => firstPaper + i)
  const documents = paper.map((n) => ({ certificate: certificate(n), record: record(n) }))

  function put(document: Document | string, text?: string): string {
    const file = typeof document === 'string' ? document : documentPath(lab.registry, signed(document))
    const whole = text ?? (typeof document === 'string' ? '' : sealed(document).toString())
    putTogether([{ origin: file, bytes: Buffer.from(whole) }])
    return file
  }
  function putTogether(some: readonly Delivered[]): void {
    for (const { origin, bytes } of some) {
      mkdirSync(path.dirname(origin), { recursive: true })
      writeFileSync(`${origin}.next`, bytes)
    }
    for (const { origin } of some) renameSync(`${origin}.next`, origin)
  }
  function putAll(): void {
    for (const each of documents) {
      put(each.certificate)
      put(each.record)
    }
  }
  async function until(what: string, holds: (status: Status) => boolean): Promise<Status> {
    let status: Status | undefined
    for (let i = 0; i < seconds * 20; i++) {
      await pause(50)
      status = await left.status()
      if (status !== undefined && holds(status)) return status
    }
    throw new Error(`not within ${seconds} s: ${what}\n${JSON.stringify(status, undefined, 1)}\n${left.log}`)
  }

  putAll()
  await until('all peers', ({ peers }) => peers.length === 1 + paper.length)
  await pause(300)
  return { ...pair, paper, documents, whole: dump(left.machine), put, putTogether, putAll, until }
}
