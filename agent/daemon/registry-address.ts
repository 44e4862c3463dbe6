/**
 * Addresses of the registry. Each gets a throw route, so that what we say to the registry uses the underlay even where its
 * address lies inside a prefix of a peer's: else a gateway that lost its peers could not learn how to find them again. An
 * address that a name no longer has stays for as long as this process runs: connections may still use it.
 */
import type { Address } from '../model/prefix.ts'

/** More than any name has; an answer of a thousand addresses is nonsense or an attack. */
const most = 64

export class RegistryAddresses {
  #all: readonly Address[] = []
  #onNew: (() => void) | undefined

  get all(): readonly Address[] {
    return this.#all
  }

  add(address: Address): void {
    if (this.#all.includes(address) || this.#all.length >= most) return
    this.#all = [...this.#all, address].sort()
    this.#onNew?.()
  }

  /** Called when there is one more. */
  onNew(call: () => void): void {
    this.#onNew = call
  }
}
