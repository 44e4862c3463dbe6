/**
 * Which routes this gateway made, where the routes of a cloud carry no mark of their own: in a file of the state directory,
 * written before a route is made, so that none is forgotten. Without the file nothing counts as ours, and nothing is deleted.
 */
import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'
import { writeAtomically } from '../atomic-file.ts'
import { errnoOf, reasonOf } from '../errors.ts'

/** What an entry says of a route; one that leads elsewhere now is no longer ours. */
export interface MadeRoute {
  readonly table: string
  readonly prefix: string
  /** Where we led it. */
  readonly target: string
}

const shape = z.object({
  schema: z.literal(1),
  routes: z.array(z.object({ table: z.string(), prefix: z.string(), target: z.string() })),
})

export class MadeRoutes {
  readonly #file: string
  readonly #say: (line: string) => void
  #routes: readonly MadeRoute[]

  private constructor(file: string, routes: readonly MadeRoute[], say: (line: string) => void) {
    this.#file = file
    this.#routes = routes
    this.#say = say
  }

  /** Empty where there is no such file, or none that can be read, which is said. */
  static async read(file: string, say: (line: string) => void): Promise<MadeRoutes> {
    try {
      const { routes } = shape.parse(JSON.parse(await readFile(file, 'utf8')))
      return new MadeRoutes(file, routes, say)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') say(`${file} cannot be read: routes that are not wanted any more stay`)
      return new MadeRoutes(file, [], say)
    }
  }

  get routes(): readonly MadeRoute[] {
    return this.#routes
  }

  /** Adds and forgets. What cannot be written is said, and keeps no route from being made. */
  async change(add: readonly MadeRoute[], forget: readonly MadeRoute[]): Promise<void> {
    const gone = new Set([...add, ...forget].map(placeOf))
    const routes = [...this.#routes.filter((route) => !gone.has(placeOf(route))), ...add]
    if (JSON.stringify(routes) === JSON.stringify(this.#routes)) return
    this.#routes = routes
    try {
      await mkdir(path.dirname(this.#file), { recursive: true, mode: 0o700 })
      await writeAtomically(this.#file, `${JSON.stringify({ schema: 1, routes })}\n`, 0o600)
    } catch (error) {
      const { reason } = reasonOf(error, this.#file)
      this.#say(`${this.#file} cannot be written (${reason}): what is made now will stay`)
    }
  }
}

function placeOf({ table, prefix }: MadeRoute): string {
  return `${table} ${prefix}`
}
