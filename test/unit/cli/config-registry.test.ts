/** `registry:` of config.yml: what each kind of registry takes, and how each mistake is shown. */
import t from 'tap'
import { configOf } from '../../../agent/cli/config.ts'
import { YamlFile } from '../../../agent/cli/yaml.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import type { RegistryConfig } from '../../../agent/model/config.ts'
import { authority } from '../../support/documents.ts'

const file = '/etc/linkspan/config.yml'
/** Written as the fifth line. */
const registryOf = (text: string): RegistryConfig => {
  const least = `fabric: prod\nauthority: ${authority}\nsite: aws\ngateway: aws-a\n`
  return configOf(YamlFile.parse(file, Buffer.from(`${least}registry: ${text}\n`))).registry
}

const accepted: Readonly<Record<string, RegistryConfig>> = {
  'file:///srv/registry/': { kind: 'file', directory: '/srv/registry' },
  '{ url: "file:///srv/registry" }': { kind: 'file', directory: '/srv/registry' },
  'https://registry.example/prod': { kind: 'https', urls: ['https://registry.example/prod'], files: {} },
  '{ url: "https://a/x", mirrors: ["https://b/y"], ca: /ca, certificate: /c, key: /k, token: /t }': {
    kind: 'https',
    urls: ['https://a/x', 'https://b/y'],
    files: { ca: '/ca', certificate: '/c', key: '/k', token: '/t' },
  },
  'etcd://a:2379': { kind: 'etcd', endpoints: ['https://a:2379'], prefix: '/linkspan/prod', files: {} },
  'etcd://a:2379,[2001:db8::1]:2379': {
    kind: 'etcd',
    endpoints: ['https://a:2379', 'https://[2001:db8::1]:2379'],
    prefix: '/linkspan/prod',
    files: {},
  },
  'etcd+http://127.0.0.1:2379': {
    kind: 'etcd',
    endpoints: ['http://127.0.0.1:2379'],
    prefix: '/linkspan/prod',
    files: {},
  },
  '{ url: "etcd://a:2379", prefix: /x/y, ca: /ca, user: aws-a, password: /p }': {
    kind: 'etcd',
    endpoints: ['https://a:2379'],
    prefix: '/x/y',
    files: { ca: '/ca' },
    user: { name: 'aws-a', password: '/p' },
  },
}

for (const [text, wanted] of Object.entries(accepted)) {
  void t.test(text, (t) => {
    t.strictSame(registryOf(text), wanted)
    t.end()
  })
}

/** What is written, the column that is pointed at, and what is said. */
const refused: readonly (readonly [text: string, column: number, says: RegExp])[] = [
  ['/srv/registry', 11, /expected a URL\n[^]*did you mean "file:\/\/\/srv\/registry"/],
  ['srv', 11, /expected a URL such as "file:\/\/\/var\/lib\/registry", "https:\/\/HOST\/PATH" or "etcd/],
  ['file://host/srv', 11, /expected a URL such as/],
  ['file:///x%00', 11, /zero byte/],
  ['file:///x%2Fy', 11, /names no path/],
  ['http://registry.example', 11, /expected a URL such as .*, found "http:\/\/registry\.example"/],
  ['s3://bucket', 11, /expected a URL such as/],
  ['7', 11, /expected a text or keys and values, found 7/],
  ['[a]', 11, /expected a text or keys and values/],
  ['https://', 11, /expected a URL such as "https:\/\/HOST\/PATH", found "https:\/\/"/],
  ['https:///x', 11, /expected a URL such as "https:\/\/HOST\/PATH", found "https:\/\/\/x"/],
  ['https:a/x', 11, /found "https:a\/x"/],
  ['https://a/x#y', 11, /found "https:\/\/a\/x#y"[^]*leave out what follows #/],
  ['"https://a/ x?sig=secret"', 11, /found "https:\/\/a\/ x\?…"/],
  ['"https://a/\\tx"', 11, /expected a URL such as/],
  ['{ url: "https://a", mirrors: ["http://b"] }', 11, /found "http:\/\/b"/],
  ['{ url: "https://a", tokn: /t }', 31, /unknown key "tokn"[^]*did you mean "token"/],
  ['{ url: "https://a", token: secret }', 38, /registry\.token: expected an absolute path/],
  ['{ url: "https://a", certificate: /c }', 11, /certificate and key go together[^]*both or neither/],
  ['{ url: "https://a", key: /k }', 11, /certificate and key go together/],
  ['{ url: "https://a", prefix: /x }', 39, /prefix is nothing that https: registries know/],
  ['{ url: "https://a", user: aws-a, password: /p }', 37, /user is nothing that https: registries know/],
  ['{ mirrors: ["https://b"] }', 11, /the key "url" is missing/],
  ['etcd://', 11, /expected hosts such as "etcd:\/\/HOST:2379,HOST:2379"/],
  ['etcd://a,,b', 11, /expected hosts such as/],
  ['etcd://a:2379/linkspan', 11, /expected hosts such as .*\n[^]*given as prefix:/],
  ['etcd://a?x=1', 11, /expected hosts such as .*, found "etcd:\/\/a\?x=1"/],
  ['etcd://a#x', 11, /expected hosts such as/],
  ['etcd:///a', 11, /expected hosts such as/],
  ['etcd:a:2379', 11, /expected hosts such as/],
  ['etcd://a\\', 11, /expected hosts such as/],
  ['"etcd://a\\tb"', 11, /expected hosts such as/],
  ['"etcd://a:"', 11, /expected hosts such as/],
  ['etcd://a:02379', 11, /expected hosts such as/],
  ['etcd://a:70000', 11, /expected hosts such as/],
  ['etcd://[::1', 11, /expected hosts such as/],
  ['etcd://256.1.1.1', 11, /expected hosts such as/],
  ['etcd+http:///x', 11, /expected hosts such as/],
  ['{ url: "etcd://a", user: aws-a }', 11, /user and password go together[^]*the path of a file/],
  ['{ url: "etcd://a", prefix: linkspan }', 38, /expected a prefix such as "\/linkspan\/prod"/],
  ['{ url: "etcd://a", prefix: /linkspan/ }', 38, /expected a prefix such as/],
  ['{ url: "etcd://a", token: /t }', 37, /token is nothing that etcd: registries know/],
  ['{ url: "file:///srv", ca: /ca }', 37, /ca is nothing that file: registries know/],
]

for (const [text, column, says] of refused) {
  void t.test(text, (t) => {
    try {
      registryOf(text)
      t.fail('accepted')
    } catch (error) {
      if (!(error instanceof LinkspanError)) throw error
      t.equal(error.code, 'config-invalid')
      t.equal(error.object, `${file}:5:${column}`)
      t.match(error.message, says)
      t.match(error.message, /\n +5 \| registry: .*\n +\| *\^/, 'the source line and a caret')
    }
    t.end()
  })
}

void t.test('a URL that holds a password is refused, and the reason does not repeat it', (t) => {
  for (const url of [
    'https://aws-a:hunter2@registry.example',
    'etcd://aws-a:hunter2@host',
    'ftp://a:hunter2@b',
  ]) {
    t.throws(() => registryOf(url), { code: 'config-invalid', reason: /^registry: [^\n]*$/m })
    try {
      registryOf(url)
    } catch (error) {
      const [first = ''] = error instanceof LinkspanError ? error.reason.split('\n') : ['hunter2']
      t.notMatch(first, /hunter2/)
    }
  }
  t.end()
})
