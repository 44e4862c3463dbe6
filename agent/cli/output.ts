/** What commands say: results to stdout, as text or as JSON with a schema number, and remarks to stderr. */

export function print(options: { readonly json: boolean }, json: object, text: string): void {
  process.stdout.write(`${options.json ? JSON.stringify({ schema: 1, ...json }) : text}\n`)
}

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
