/** `file:` URLs of directories: only what names exactly one path on this host. */
import { fileURLToPath } from 'node:url'

/** The path, or what is wrong with the URL. */
export function pathOfUrl(url: string): { readonly path: string } | { readonly malformed: string } {
  if (!/^file:\/\/\/[^?#]*$/i.test(url) || !URL.canParse(url))
    return { malformed: 'is no file: URL of a path' }
  try {
    const path = fileURLToPath(url)
    // No path has a zero byte (path_resolution(7)); node would take it for a mistake of ours.
    if (path.includes('\0')) return { malformed: 'has a zero byte (%00) in its path' }
    return { path: path.replace(/(?<=.)\/+$/, '') }
  } catch (error) {
    return { malformed: `names no path: ${error instanceof Error ? error.message : String(error)}` }
  }
}
