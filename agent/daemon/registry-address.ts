/**
 * Addresses of the registry. Each gets a throw route, so that what we say to the registry uses the underlay even where its
 * address lies inside a prefix of a peer's: else a gateway that lost its peers could not learn how to find them again. An
 * address that a name no longer has stays for a while: connections may still use it.
 */
import type { Address } from '../model/prefix.ts'

/** Of object stores that rotate hundreds the ones used last. An answer of a thousand addresses is nonsense or an attack. */
const most = 64

export class RegistryAddresses {
  /** The last used is the last. */
  readonly #used = new Set<Address>()
  #all: readonly Address[] = []
  #onNew: (() => void) | undefined

  get all(): readonly Address[] {
    return this.#all
  }

  add(address: Address): void {
    const isNew = !this.#used.delete(address)
    this.#used.add(address)
    if (!isNew) return
    const [oldest] = this.#used
    if (this.#used.size > most && oldest !== undefined) this.#used.delete(oldest)
    this.#all = [...this.#used].sort()
    this.#onNew?.()
  }

  /** Called when there is one more. */
  onNew(call: () => void): void {
    this.#onNew = call
  }
}
