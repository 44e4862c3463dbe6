/** An authority for TLS certificates, made with the openssl program in a directory of the test's own. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Files (PEM), and what is in them. */
export interface KeyPair {
  readonly certificateFile: string
  readonly keyFile: string
  readonly certificate: string
  readonly key: string
}

export interface Leaf {
  /** Of its files; also its common name. */
  readonly name: string
  /** Host names and addresses that it is for. */
  readonly hosts?: readonly string[]
  /** How long it is valid; below 0: it has expired. */
  readonly days?: number
}

export class CertificateAuthority {
  readonly directory: string
  readonly pair: KeyPair

  private constructor(directory: string, pair: KeyPair) {
    this.directory = directory
    this.pair = pair
  }

  /** `name` tells authorities in one directory apart. */
  static async create(directory: string, name = 'authority'): Promise<CertificateAuthority> {
    const [certificateFile, keyFile] = [
      path.join(directory, `${name}.pem`),
      path.join(directory, `${name}.key`),
    ]
    await openssl(
      ...['req', '-x509', ...newKey, '-keyout', keyFile, '-out', certificateFile],
      ...['-subj', `/CN=${name}`, '-days', '30'],
    )
    return new CertificateAuthority(directory, await pairOf(certificateFile, keyFile))
  }

  /** For servers and clients alike. */
  async issue({ name, hosts = [], days = 30 }: Leaf): Promise<KeyPair> {
    const file = (ending: string): string => path.join(this.directory, `${name}.${ending}`)
    const [keyFile, requestFile, certificateFile] = [file('key'), file('csr'), file('pem')]
    const { certificateFile: caFile, keyFile: caKeyFile } = this.pair
    const names = hosts.map((host) => `${/^[0-9.]+$|:/.test(host) ? 'IP' : 'DNS'}:${host}`)
    const extensions = [
      'extendedKeyUsage=serverAuth,clientAuth',
      ...(names.length === 0 ? [] : [`subjectAltName=${names.join(',')}`]),
    ]
    await writeFile(file('ext'), `${extensions.join('\n')}\n`)
    await openssl('req', ...newKey, '-keyout', keyFile, '-out', requestFile, '-subj', `/CN=${name}`)
    await openssl(
      ...['x509', '-req', '-in', requestFile, '-CA', caFile, '-CAkey', caKeyFile, '-CAcreateserial'],
      ...['-days', String(days), '-extfile', file('ext'), '-out', certificateFile],
    )
    return pairOf(certificateFile, keyFile)
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

async function openssl(...args: readonly string[]): Promise<void> {
  await run('openssl', args, { timeout: 30_000 })
}

async function pairOf(certificateFile: string, keyFile: string): Promise<KeyPair> {
  const [certificate, key] = await Promise.all([readFile(certificateFile, 'utf8'), readFile(keyFile, 'utf8')])
  return { certificateFile, keyFile, certificate, key }
}
