/** Where a bench's fleet has its documents: a directory, or a real etcd. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Document } from '../../agent/model/document.ts'
import { EtcdConnection } from '../../agent/registry/etcd-connection.ts'
import { parseEndpoint } from '../../agent/registry/etcd-endpoint.ts'
import { keyOfName } from '../../agent/registry/etcd-key.ts'
import { txn } from '../../agent/registry/etcd-message.ts'
import { EtcdSession } from '../../agent/registry/etcd-session.ts'
import { placeOf, sealed } from '../support/documents.ts'
import { Etcd } from '../support/etcd.ts'
import { fleetFabric, writeFleet } from '../support/fleet.ts'

export interface FleetRegistry {
  /** As config.yml has it. */
  readonly url: string
  /** What a gateway asked for; undefined: it did not yet. */
  requestOf(gateway: string): Uint8Array | undefined
  fill(documents: readonly Document[]): Promise<void>
  /** Puts one document there. Answers the Unix ms, with fractions, at which it was handed over. */
  say(document: Document): Promise<number>
  /** Nobody can read it any more. */
  fail(): Promise<void>
  end(): Promise<void>
}

export function directoryRegistry(): FleetRegistry {
  const directory = mkdtempSync(path.join(tmpdir(), 'linkspan-fleet-'))
  for (const folder of ['certificates', 'records', 'requests']) mkdirSync(path.join(directory, folder))
  const end = (): Promise<void> => {
    rmSync(directory, { recursive: true, force: true })
    return Promise.resolve()
  }
  return {
    url: `file://${directory}`,
    requestOf(gateway) {
      const file = path.join(directory, 'requests', `${gateway}.jws`)
      return existsSync(file) ? readFileSync(file) : undefined
    },
    fill: (documents) => writeFleet(directory, documents),
    say(document) {
      const file = path.join(directory, placeOf(document))
      writeFileSync(`${file}.tmp`, sealed(document))
      const at = performance.timeOrigin + performance.now()
      renameSync(`${file}.tmp`, file)
      return Promise.resolve(at)
    },
    fail: end,
    end,
  }
}

/** Its server ends with the bench: /run is the bench's own. */
export async function etcdRegistry(): Promise<FleetRegistry> {
  const etcd = await Etcd.start({ parent: '/run' })
  const connection = await EtcdConnection.to(
    parseEndpoint(etcd.url),
    { address: '127.0.0.1', family: 4 },
    undefined,
    1024 * 1024,
  )
  const patience = { answerMs: 10_000, transferMs: 10_000 }
  const nobody = { user: undefined, certificate: undefined }
  const session = new EtcdSession(connection, { user: undefined, token: undefined }, patience, nobody)
  const prefix = `/linkspan/${fleetFabric}`
  const write = (document: Document): Promise<unknown> => {
    const key = keyOfName(`${prefix}/${placeOf(document).replace(/\.jws$/, '')}`)
    return session.call(
      txn,
      { success: [{ put: { key, value: sealed(document) } }] },
      new AbortController().signal,
    )
  }
  return {
    url: etcd.url.replace(/^http:/, 'etcd+http:'),
    requestOf(gateway) {
      const text = etcd.ctl('get', '--print-value-only', `${prefix}/requests/${gateway}`)
      return text === '' ? undefined : Buffer.from(text.replace(/\n+$/, '\n'))
    },
    async fill(documents) {
      for (let i = 0; i < documents.length; i += 64) await Promise.all(documents.slice(i, i + 64).map(write))
    },
    async say(document) {
      sealed(document)
      const at = performance.timeOrigin + performance.now()
      await write(document)
      return at
    },
    fail: () => etcd.kill(),
    async end() {
      session.close()
      await etcd.end()
    },
  }
}
