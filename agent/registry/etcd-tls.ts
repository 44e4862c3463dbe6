/**
 * Certificates for talking to etcd. What is given as a file is read anew for every connection, so that a certificate that
 * was renewed on disk is taken up by the next one, and no restart is needed.
 */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { LinkspanError } from '../errors.ts'

/** PEM text, or the file that holds it. */
export type Source = string | { readonly file: string }

export interface EtcdTls {
  /** Who may have signed the servers' certificates; absent: the public authorities Node knows. */
  readonly ca?: Source
  /** Ours, with its chain; together with `key`. */
  readonly cert?: Source
  readonly key?: Source
}

export interface Material {
  readonly context: SecureContext
  /** Our certificate, for a message when it is refused; undefined where there is none. */
  readonly own: string | undefined
}

/** The text of a source. Throws config-invalid, and never quotes it. */
export async function textOf(source: Source, what: string): Promise<string> {
  if (typeof source === 'string') return source
  try {
    return await readFile(source.file, 'utf8')
  } catch (error) {
    const denied = error instanceof Error && 'code' in error && error.code === 'EACCES'
    throw new LinkspanError(
      {
        code: denied ? 'permission' : 'config-invalid',
        object: source.file,
        reason: `${what} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
        ...(denied ? { next: 'give linkspan the right to it' } : {}),
      },
      { cause: error },
    )
  }
}

/** Throws config-invalid. */
export async function readMaterial({ ca, cert, key }: EtcdTls): Promise<Material> {
  if ((cert === undefined) !== (key === undefined)) {
    const object = cert === undefined ? nameOf(key, 'the key') : nameOf(cert, 'the client certificate')
    const missing = cert === undefined ? 'certificate' : 'key'
    throw new LinkspanError({ code: 'config-invalid', object, reason: `comes without a ${missing}` })
  }
  const pem = {
    ...(ca === undefined ? {} : { ca: await textOf(ca, 'the CA certificate') }),
    ...(cert === undefined ? {} : { cert: await textOf(cert, 'the client certificate') }),
    ...(key === undefined ? {} : { key: await textOf(key, 'the key') }),
  }
  // One by one, so that the message can say which is wrong. createSecureContext takes a CA that is none in silence.
  for (const [source, text, what] of [
    [ca, pem.ca, 'the CA certificate'],
    [cert, pem.cert, 'the client certificate'],
  ] as const) {
    if (text === undefined) continue
    attempt(nameOf(source, what), 'holds no certificate in PEM', () => new X509Certificate(text))
  }
  const object = nameOf(key ?? cert ?? ca, 'the certificates')
  const wrong =
    key === undefined
      ? 'cannot be used'
      : 'is no key of the client certificate, in PEM and without passphrase'
  return {
    context: attempt(object, wrong, () => createSecureContext({ ...pem, minVersion: 'TLSv1.2' })),
    own: pem.cert === undefined ? undefined : describe(new X509Certificate(pem.cert)),
  }
}

function attempt<T>(object: string, reason: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    // OpenSSL's word ("no start line", "key values mismatch"); it quotes nothing of its input.
    const said = error instanceof Error ? error.message.replace(/^error:[0-9A-F]+:/, '') : ''
    throw new LinkspanError(
      { code: 'config-invalid', object, reason: `${reason}: ${said}` },
      { cause: error },
    )
  }
}

function nameOf(source: Source | undefined, what: string): string {
  return source === undefined || typeof source === 'string' ? what : source.file
}

/** Subject and validity: what an operator compares. */
function describe(certificate: X509Certificate): string {
  const subject = certificate.subject.replaceAll('\n', ', ')
  return `${subject}, valid ${new Date(certificate.validFrom).toISOString()} to ${new Date(certificate.validTo).toISOString()}`
}
