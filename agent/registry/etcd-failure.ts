/**
 * What went wrong with a call, in words an operator can act on. gRPC has a status and a text; the texts are those of etcd
 * (api/v3rpc/rpctypes/error.go), of Node's sockets and of OpenSSL. A text nobody foresaw is passed on, cut and made
 * printable, since the server that wrote it may not be ours. Texts of one cause must be equal: news of a registry that
 * cannot be read go out once a reason.
 */
import type { Reason } from '../errors.ts'

/** gRPC's status codes that mean something here. */
export const status = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const

/** What the message may name. */
export interface Caller {
  readonly user?: string | undefined
  /** Subject and validity of our client certificate. */
  readonly certificate?: string | undefined
}

export class EtcdFailure extends Error {
  override readonly name = 'EtcdFailure'
  readonly status: number
  /** As gRPC gave it: may come from the server. */
  readonly detail: string
  readonly caller: Caller

  constructor(code: number, detail: string, caller: Caller = {}) {
    super(`${code} ${printable(detail)}`)
    this.status = code
    this.detail = detail
    this.caller = caller
  }

  /** The same, of a caller the message may name. */
  by(caller: Caller): EtcdFailure {
    return new EtcdFailure(this.status, this.detail, caller)
  }

  /** The server said nothing for so long that it counts as dead. */
  get isSilence(): boolean {
    return this.status === status.deadlineExceeded
  }

  /** The server is there and will not have us: another endpoint, or a quick retry, changes nothing. */
  get isRefusal(): boolean {
    return (
      this.status === status.permissionDenied || this.wantsToken || /authentication failed/.test(this.detail)
    )
  }

  /** We are not who we say, or say not who we are. */
  get isUnknown(): boolean {
    return this.wantsToken || /authentication failed/.test(this.detail)
  }

  /** What was asked is at fault: no server of the cluster will do it. */
  get isFinal(): boolean {
    return (
      this.isRefusal || this.status === status.invalidArgument || this.status === status.resourceExhausted
    )
  }

  /** A token may help that is not there, or newer than ours. */
  get wantsToken(): boolean {
    return (
      this.status === status.unauthenticated ||
      /auth token|revision of auth store is old|user name is empty/.test(this.detail)
    )
  }

  /** etcd forgot the revision that was asked for. */
  get isCompacted(): boolean {
    return /required revision has been compacted/.test(this.detail)
  }

  /** An answer longer than we take. */
  get isTooLarge(): boolean {
    return /^Received message larger than max/.test(this.detail)
  }

  /** Auth is off in this cluster: no token is needed. */
  get isAuthOff(): boolean {
    return /authentication is not enabled/.test(this.detail)
  }
}

interface Saying {
  readonly reason: string
  readonly next?: string
}

/** `object`: the endpoint's URL, or the key. */
export function reasonOfFailure(failure: EtcdFailure, object: string): Reason {
  const said = sayings.find(([pattern]) => pattern.test(failure.detail))?.[1](failure.caller)
  const denied = failure.isRefusal
  return {
    code: denied ? 'permission' : 'registry-unreadable',
    object,
    reason: said?.reason ?? printable(failure.detail),
    ...(said?.next === undefined ? {} : { next: said.next }),
  }
}

/** In order: the first that fits. */
const sayings: readonly (readonly [RegExp, (caller: Caller) => Saying])[] = [
  [/^no answer in/, () => ({ reason: 'does not answer', next: 'is etcd alive, and the way to it open?' })],
  [/ECONNREFUSED/, () => ({ reason: 'refuses the connection', next: 'is etcd running there?' })],
  [
    /E(HOST|NET)UNREACH/,
    () => ({
      reason: 'cannot be reached: no route to it',
      next: 'is the underlay up, and the address right?',
    }),
  ],
  [
    /Name resolution failed|ENOTFOUND|EAI_/,
    () => ({ reason: 'its name cannot be resolved', next: 'is the name right, and DNS reachable?' }),
  ],
  [
    /unable to (verify the first certificate|get (local )?issuer)|self[- ]signed certificate/,
    () => ({
      reason: 'its certificate is signed by no authority that we trust',
      next: 'give the ca that signed it',
    }),
  ],
  [/certificate has expired/, () => ({ reason: 'its certificate has expired', next: 'renew it' })],
  [
    /certificate is not yet valid/,
    () => ({ reason: 'its certificate is not yet valid', next: 'is the clock of this host right?' }),
  ],
  [
    /does not match certificate/,
    () => ({
      reason: 'its certificate is for other names',
      next: 'use a name of the certificate, or add this one to it',
    }),
  ],
  [
    /wrong version number|packet length too long|http request/,
    () => ({ reason: 'does not speak TLS', next: 'is it http:// there?' }),
  ],
  [
    // RFC 8446 section 6.2: bad_certificate to unknown_ca, certificate_required.
    /SSL alert number (4[2-68]|116)/,
    ({ certificate }) =>
      certificate === undefined
        ? { reason: 'asks for a client certificate', next: 'give certificate and key' }
        : {
            reason: `refuses our client certificate (${certificate})`,
            next: 'is it in its time, and signed by the authority that etcd trusts (--trusted-ca-file)?',
          },
  ],
  [
    /Failed to connect|Socket closed|Connection closed before/,
    () => ({ reason: 'ends the connection at once', next: 'does it expect TLS (https://)?' }),
  ],
  [/Connection dropped|ECONNRESET|socket hang up/, () => ({ reason: 'the connection broke' })],
  [
    /no leader|leader changed|leader is lost|request timed out|not capable|server stopped/,
    () => ({ reason: 'its cluster has no leader', next: 'are most members of the cluster up?' }),
  ],
  [
    /authentication failed/,
    ({ user = '' }) => ({
      reason: `refuses user "${user}" with this password`,
      next: 'check user and password',
    }),
  ],
  [
    /user name is empty/,
    () => ({
      reason: 'asks for a user',
      next: 'give user and password, or a client certificate whose common name is a user of etcd',
    }),
  ],
  [
    /auth token|auth store is old/,
    ({ user }) => ({
      reason: user === undefined ? 'asks for a user' : `does not take the token it gave to user "${user}"`,
    }),
  ],
  [
    /permission denied/,
    ({ user }) => ({
      reason: `${user === undefined ? 'our user' : `user "${user}"`} has no permission`,
      next: 'give the user a role that has it (etcdctl role grant-permission, etcdctl user grant-role)',
    }),
  ],
  [
    /database space exceeded/,
    () => ({ reason: 'is full', next: 'compact and defragment it, then `etcdctl alarm disarm`' }),
  ],
  [
    /request is too large|message larger than max/,
    () => ({
      reason: 'is longer than this etcd takes; where nothing else is said to it, that is 1.5 MiB',
      next: 'start etcd with a larger --max-request-bytes',
    }),
  ],
  [
    /Protocol error|HTTP status code|invalid content[- ]type/i,
    () => ({ reason: 'is something else than etcd', next: 'is there a proxy in between?' }),
  ],
]

/** One line, no control characters, at most 200 characters; without the time that grpc-js puts into it. */
function printable(text: string): string {
  const plain = text
    .replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)/g, '')
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\. Resolution note: .*$/s, '')
    .replace(/[^\x21-\x7e]+/g, ' ')
    .trim()
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain === '' ? 'failed without a word' : plain
}
