/**
 * Device numbering: the plane formula (DESIGN "Planes").
 *
 * WireGuard gives a prefix to one peer per device, so gateways of one site must sit on different devices. On gateway G,
 * device i = 32·e_G + 8·u + slot(D) holds every peer gateway D of that slot over underlay u, where slot(D) = 4·e_D + plane
 * and e is a gateway's key generation mod 2. D, seen from the other end, holds us on 32·e_D + 8·u + slot(G): that is the
 * key we expect of it and the port we call.
 */

/** Devices a gateway can have; firewalls open base to base + 63. */
export const devices = 64
export const defaultBasePort = 51820

export interface Numbered {
  readonly generation: number
  readonly plane: number
}

/** 4·e + plane: 0-7. */
export function slotOf(gateway: Numbered): number {
  return 4 * (gateway.generation & 1) + gateway.plane
}

/** The device on `own` that holds `peer` over underlay number u: 0-63. */
export function deviceIndex(own: Numbered, u: number, peer: Numbered): number {
  return 32 * (own.generation & 1) + 8 * u + slotOf(peer)
}

/** Underlay number of a device index. */
export function underlayOf(index: number): number {
  return (index >> 3) & 3
}

export function deviceName(index: number): string {
  return `ls-wg${index}`
}

/**
 * Which lane a device is of: 2·e of ours + e of theirs, 0-3. While one end's keys rotate there are two lanes to it over each
 * underlay, while both ends' do there are four; each is a device of its own at either end.
 */
export function laneOf(index: number): number {
  return 2 * ((index >> 5) & 1) + ((index >> 2) & 1)
}
