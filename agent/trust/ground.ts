/** What documents are judged for: the fabric of this gateway, the key its authority began with, and who this gateway is. */
import type { Name } from '../model/fabric.ts'

export interface Ground {
  /** The only fabric whose documents count. */
  readonly fabric: Name
  /** Ed25519 public key, base64url: `authority:` of config.yml. */
  readonly authority: string
  /** Barred instead of refused where its own certificate ended (model/gateway.ts). */
  readonly self?: Name
}
