/**
 * URLs of bundles: https, a host, no user and no password. What a query holds may be a secret (the signature of an object
 * store's link), so texts show URLs without it.
 */

/** The URL, or what is wrong with it. The text may hold a password: never repeat it in a message. */
export function bundleUrl(text: string): { readonly url: URL } | { readonly malformed: string } {
  // What URL() would quietly repair (white space, control characters, backslashes, missing slashes) is no URL here.
  if (!/^https:\/\/[^\s\p{Cc}\\/?#][^\s\p{Cc}\\]*$/iu.test(text) || !URL.canParse(text))
    return { malformed: 'is no URL such as https://registry.example/fabric.bundle' }
  const [authority = ''] = text.slice('https://'.length).split(/[/?#]/)
  if (authority.includes('@')) return { malformed: 'has a user or password: those belong into a token file' }
  if (text.includes('#')) return { malformed: 'has a fragment (#), which no server ever sees' }
  return { url: new URL(text) }
}

/** For messages: without the query. */
export function shownUrl({ origin, pathname, search }: URL): string {
  return `${origin}${pathname}${search === '' ? '' : '?…'}`
}
