/** `--registry` as it is typed. */
import { join, resolve } from 'node:path'
import t from 'tap'
import { registryOf, registryOption } from '../../../agent/cli/registry-option.ts'

async function read(given: string, fabric?: string): Promise<object> {
  const option = await registryOption(given)
  return { text: option.text, ...registryOf(option, fabric) }
}

void t.test('directories', async (t) => {
  const file = { kind: 'file', directory: '/srv/linkspan' }
  t.match(await read('/srv/linkspan'), { ...file, text: '/srv/linkspan' })
  t.match(await read('file:///srv/linkspan'), file)
  t.match(
    await read('registry'),
    { directory: resolve('registry'), text: resolve('registry') },
    'seen from here',
  )
})

void t.test('URLs', async (t) => {
  t.match(await read('etcd://a:2379,b:2379', 'prod'), {
    kind: 'etcd',
    prefix: '/linkspan/prod',
    endpoints: ['https://a:2379', 'https://b:2379'],
  })
  t.match(await read('https://bundles.example.com/prod'), { kind: 'https' })
  await t.rejects(read('etcd://a:2379'), { code: 'usage', next: /prefix/ }, 'whose keys?')
  for (const wrong of ['ftp://x', 'etcd://u:p@a:2379', 'file://host/x', 'https:']) {
    await t.rejects(read(wrong, 'prod'), { code: 'usage', object: '--registry' }, wrong)
  }
  const error = await read('etcd://u:hidden@a:2379', 'prod').catch(String)
  t.notMatch(error, /hidden/)
})

void t.test('a file that says it', async (t) => {
  const directory = t.testdir({
    'etcd.yml': 'registry: { url: "etcd://a:2379", user: ca, password: /etc/linkspan/ca-password }\n',
    'config.yml': 'fabric: prod\nsite: a\nregistry: file:///srv/linkspan\n',
    'wrong.yml': 'registry: { url: "etcd://a:2379", user: ca }\n',
    'none.yml': 'fabric: prod\n',
  })
  const etcd = join(directory, 'etcd.yml')
  t.match(await read(etcd, 'lab'), {
    text: etcd,
    kind: 'etcd',
    prefix: '/linkspan/lab',
    user: { name: 'ca', password: '/etc/linkspan/ca-password' },
  })
  t.match(await read(join(directory, 'config.yml')), { kind: 'file', directory: '/srv/linkspan' })
  for (const [name, says] of [
    ['wrong.yml', /wrong\.yml:1:\d+: .*user and password go together/],
    ['none.yml', /none\.yml:1:1: registry: expected a text or keys/],
    ['gone.yml', /cannot be read/],
  ] as const) {
    await t.rejects(read(join(directory, name), 'prod'), { code: 'config-invalid', message: says }, name)
  }
})
