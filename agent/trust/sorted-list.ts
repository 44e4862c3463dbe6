/**
 * A list in order that is cheap to change: blocks of a few hundred elements, so that one more moves a few hundred others and
 * never all of them.
 */

/** A block that grows beyond it is cut in two. */
const mostInBlock = 512

export class SortedList<T> {
  readonly #compare: (a: T, b: T) => number
  readonly #blocks: T[][] = []
  #size = 0

  /** `compare`: a total order. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  get size(): number {
    return this.#size
  }

  add(element: T): void {
    this.#size++
    const at = this.#blockOf(element)
    const block = this.#blocks[at]
    if (block === undefined) {
      this.#blocks.push([element])
      return
    }
    block.splice(this.#placeIn(block, element), 0, element)
    if (block.length > mostInBlock) this.#blocks.splice(at + 1, 0, block.splice(mostInBlock >> 1))
  }

  /** Removes one that compares equal; false where there is none. */
  delete(element: T): boolean {
    const at = this.#blockOf(element)
    const block = this.#blocks[at]
    if (block === undefined) return false
    const place = this.#placeIn(block, element)
    const found = block[place]
    if (found === undefined || this.#compare(found, element) !== 0) return false
    block.splice(place, 1)
    if (block.length === 0) this.#blocks.splice(at, 1)
    this.#size--
    return true
  }

  /** The first so many. */
  first(most: number): T[] {
    const list: T[] = []
    for (const block of this.#blocks) {
      if (list.length >= most) break
      list.push(...block.slice(0, most - list.length))
    }
    return list
  }

  /** The first block that ends with it or with what follows it; else the last. */
  #blockOf(element: T): number {
    const before = (block: T[]): boolean => {
      const last = block.at(-1)
      return last !== undefined && this.#compare(last, element) < 0
    }
    return Math.min(bisect(this.#blocks, before), Math.max(0, this.#blocks.length - 1))
  }

  #placeIn(block: readonly T[], element: T): number {
    return bisect(block, (one) => this.#compare(one, element) < 0)
  }
}

/** How many elements come before, where all that do lie in front. */
function bisect<T>(list: readonly T[], comesBefore: (element: T) => boolean): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const element = list[middle]
    if (element !== undefined && comesBefore(element)) low = middle + 1
    else high = middle
  }
  return low
}
