/** The modules of the agent, as their sources import each other: no cycles. Types count, too: they are part of the design. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { repository } from '../support/repository.ts'

/** Module -> modules it imports, at its start; `import()` waits until all are there, and closes no cycle. */
type Imports = ReadonlyMap<string, readonly string[]>

function importsOf(directory: string): Imports {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  return new Map(
    files.map((file) => {
      const text = readFileSync(path.join(directory, file), 'utf8')
      const { statements } = ts.createSourceFile(file, text, ts.ScriptTarget.Latest)
      const specifiers = statements.flatMap((statement) => {
        const isImport = ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)
        const from = isImport ? statement.moduleSpecifier : undefined
        return from !== undefined && ts.isStringLiteral(from) && from.text.startsWith('.') ? [from.text] : []
      })
      return [file, specifiers.map((specifier) => path.join(path.dirname(file), specifier))]
    }),
  )
}

/** The first cycle that is found, as a path that ends where it began; undefined where there is none. */
function cycleIn(imports: Imports): readonly string[] | undefined {
  const done = new Set<string>()
  const way: string[] = []
  const visit = (file: string): readonly string[] | undefined => {
    if (done.has(file)) return undefined
    const at = way.indexOf(file)
    if (at >= 0) return [...way.slice(at), file]
    way.push(file)
    for (const next of imports.get(file) ?? []) {
      const cycle = visit(next)
      if (cycle !== undefined) return cycle
    }
    way.pop()
    done.add(file)
    return undefined
  }
  for (const file of imports.keys()) {
    const cycle = visit(file)
    if (cycle !== undefined) return cycle
  }
  return undefined
}

void t.test('no module imports itself, by whatever detour', (t) => {
  const imports = importsOf(path.join(repository, 'agent'))
  t.ok(imports.size > 100, `${imports.size} modules`)
  for (const [file, list] of imports) {
    for (const imported of list) t.ok(imports.has(imported), `${file} imports ${imported}`)
  }
  t.equal(cycleIn(imports)?.join(' -> '), undefined)
  t.end()
})

void t.test('control: a cycle is found', (t) => {
  const directory = t.testdir({
    'a.ts': "import { b } from './deep/b.ts'\nexport const a = b\n",
    deep: { 'b.ts': "export type { C } from '../c.ts'\nexport const b = 1\n" },
    'c.ts': "import type { a } from './a.ts'\nexport type C = typeof a\n",
    'd.ts': "export const d = await import('./a.ts')\n",
  })
  t.same(cycleIn(importsOf(directory))?.slice(1).toSorted(), ['a.ts', 'c.ts', 'deep/b.ts'])
  t.end()
})
