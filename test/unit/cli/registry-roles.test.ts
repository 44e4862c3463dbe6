/** `linkspan registry roles` as a process; etcd itself follows its lines in test/integration/etcd-access.test.ts. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { linkspan } from '../../support/authority.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

void t.test('lines for etcdctl', async (t) => {
  const file = join(t.testdir(), 'registry.yml')
  writeFileSync(file, 'registry: { url: "etcd://etcd-a", prefix: /linkspan/prod }\n')
  const at = ['registry', 'roles', '--registry', file]
  t.match(await linkspan(at), {
    code: 0,
    stdout: /^etcdctl role add linkspan-prod-read\n(etcdctl role .*\n){3}(# .*\n){2}$/,
  })
  const { stdout } = await linkspan([...at, 'aws-a', 'gcp-b'])
  const grant = 'etcdctl role grant-permission linkspan-prod-gateway-aws-a readwrite /linkspan/prod'
  t.strictSame(stdout.split('\n').slice(0, 7), [
    'etcdctl user add aws-a',
    'etcdctl role add linkspan-prod-gateway-aws-a',
    ...['records', 'requests', 'claims'].map((type) => `${grant}/${type}/aws-a`),
    'etcdctl user grant-role aws-a linkspan-prod-gateway-aws-a',
    'etcdctl user grant-role aws-a linkspan-prod-read',
  ])
  t.equal(stdout.split('\n').length, 15, 'and as many of the other')
  const { stdout: json } = await linkspan([...at, 'aws-a', '--no-password', '--json'])
  t.match(JSON.parse(json), { schema: 1, commands: [['user', 'add', 'aws-a', '--no-password']] })
  t.match(await linkspan([...at, 'aws-a; reboot']), {
    code: 2,
    stdout: '',
    stderr: /aws-a; reboot: expected a name/,
  })
  t.match(await linkspan(['registry', 'roles', '--registry', '/srv/linkspan']), {
    code: 2,
    stderr: /only etcd has users and roles/,
  })
})
