/*
 * Lint. Two things matter beyond style: no floating promise in a daemon, and imports that point one way:
 *
 *   model <- trust, plan, diff, probe/state <- daemon <- cli
 *
 * Pure folders (model, plan, diff, trust) may not touch Node's I/O modules, nor any driver. Programs are started in one
 * place, which takes no shell. That imports make no cycle is held by test/unit/module.test.ts.
 */
import tseslint from 'typescript-eslint'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Folders of agent/ a folder may import from, besides itself and errors.ts. */
const mayImport = {
  model: [],
  trust: ['model'],
  plan: ['model'],
  diff: ['model'],
  probe: ['model'],
  registry: ['model', 'trust'],
  kernel: ['model', 'diff/ownership'],
  cloud: ['model', 'trust'],
  hook: ['model', 'trust', 'cloud', 'cli/yaml', 'cli/config'],
  daemon: [
    'model',
    'trust',
    'plan',
    'diff',
    'probe/state',
    'probe/table',
    'probe/port',
    'probe/known-paths',
    'probe/mtu',
    'probe/mtu-table',
    'registry/port',
    'kernel/port',
  ],
}
const folders = Object.keys(mayImport)
const pure = ['model', 'trust', 'plan', 'diff']

function boundary(folder) {
  const allowed = mayImport[folder]
  const forbidden = [...folders, 'cli']
    .filter((other) => other !== folder && !allowed.includes(other))
    .map((other) => {
      const doors = allowed.filter((a) => a.startsWith(`${other}/`)).map((a) => a.slice(other.length + 1))
      return {
        regex: `(^|/)\\.\\./(\\.\\./)*${other}/${doors.length ? `(?!(${doors.join('|')})\\.ts$)` : ''}`,
        message: `${folder} may not import from ${other}: imports point model <- trust, plan, diff <- daemon <- cli`,
      }
    })
  if (pure.includes(folder)) {
    forbidden.push({ regex: '^node:(?!crypto$|buffer$)', message: `${folder} is pure: no I/O` })
  }
  return {
    files: [`agent/${folder}/**/*.ts`],
    rules: { 'no-restricted-imports': ['error', { patterns: forbidden }] },
  }
}

/** What starts a process: with a deadline, without a shell, its environment empty. */
const starter = 'agent/kernel/exec.ts'
const useStarter = `programs are started by ${starter} only`

export default tseslint.config(
  { ignores: ['dist/**', 'native/build/**', 'node_modules/**', '.cache/**'] },
  {
    files: ['agent/**/*.ts', 'test/**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: root } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      'no-console': 'error',
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: { 'no-console': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  ...folders.map(boundary),
  {
    files: ['agent/**/*.ts'],
    ignores: [starter],
    rules: {
      // A rule of its own name, so that it adds to the boundaries instead of replacing them.
      '@typescript-eslint/no-restricted-imports': [
        'error',
        { paths: ['node:child_process', 'child_process'].map((name) => ({ name, message: useStarter })) },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: 'ImportExpression[source.value=/child_process$/]', message: useStarter },
        {
          selector: 'CallExpression > Literal.arguments[value=/^(node:)?child_process$/]',
          message: useStarter,
        },
      ],
    },
  },
)
