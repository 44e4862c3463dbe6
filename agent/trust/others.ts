/**
 * Those whom a refusal names beside its own. Of a conflict between many each is told, and whoever brings a conflict about may
 * bring in a thousand: so each names a few and a number, and what all say together is as much as there are.
 */

/** Named in one text. */
export const mostNamed = 3

/**
 * The first few of `all` but `own`, and how many more there are. `all`: each once, in order, so that every gateway says the
 * same.
 */
export function others(all: readonly string[], own: string): string {
  const named = all.slice(0, mostNamed + 1).filter((name) => name !== own)
  // Where it is not among the first, it stands further back.
  named.length = Math.min(named.length, mostNamed)
  const more = all.length - 1 - named.length
  return more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ')
}
