/**
 * XML as far as EC2's Query API writes it: elements and text, nested lists of `item`, attributes that mean nothing. Anything
 * else (a DTD, CDATA, entities of its own) is no answer of that API and is refused.
 */

export class Element {
  readonly name: string
  readonly children: Element[] = []
  text = ''

  constructor(name: string) {
    this.name = name
  }

  child(name: string): Element | undefined {
    return this.children.find((each) => each.name === name)
  }

  /** Text of the element at that path below. */
  value(...path: readonly string[]): string | undefined {
    return path.reduce<Element | undefined>((at, name) => at?.child(name), this)?.text.trim()
  }

  /** The `item`s of a list. */
  items(name: string): readonly Element[] {
    return this.child(name)?.children.filter((each) => each.name === 'item') ?? []
  }
}

const maxDepth = 32
const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

/** The outermost element; undefined where the text is none. */
export function parseXml(text: string): Element | undefined {
  const root = new Element('')
  const open = [root]
  const tokens = /<\?[^>]*\?>|<!--[^]*?-->|<(\/?)([A-Za-z][\w.:-]*)((?:\s[^<>]*?)?)(\/?)>|([^<]+)/gy
  let at = 0
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    at = tokens.lastIndex
    const [, closing, name, , empty, words] = match
    const top = open.at(-1) ?? root
    if (words !== undefined) {
      const plain = unescaped(words)
      if (plain === undefined) return undefined
      top.text += plain
    } else if (name !== undefined && closing === '/') {
      if (top.name !== name || open.length === 1) return undefined
      open.pop()
    } else if (name !== undefined) {
      const element = new Element(name)
      top.children.push(element)
      if (empty !== '/') open.push(element)
      if (open.length > maxDepth) return undefined
    }
  }
  const isWhole = at === text.length && open.length === 1 && root.children.length === 1
  return isWhole && root.text.trim() === '' ? root.children[0] : undefined
}

function unescaped(text: string): string | undefined {
  let unknown = 0
  const plain = text.replace(/&([^;\s]*);?/g, (whole, name: string) => {
    const number = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(name)
    const code =
      number === null ? NaN : parseInt(number[1] ?? number[2] ?? '', number[1] === undefined ? 10 : 16)
    if (whole.endsWith(';') && code <= 0x10ffff) return String.fromCodePoint(code)
    const found = whole.endsWith(';') ? entities[name] : undefined
    if (found === undefined) unknown++
    return found ?? ''
  })
  return unknown === 0 ? plain : undefined
}
