/** `linkspan ca` with a registry in etcd: the authority writes there under its own role, and finds again what it wrote. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isRefusal, parseDocument } from '../../agent/trust/parse.ts'
import { AuthorityRig } from '../support/authority.ts'
import { requestDocument, sealed } from '../support/documents.ts'
import { Etcd, hasEtcd } from '../support/etcd.ts'

t.setTimeout(300_000) // a process for each command, and slow machines

void t.test('from nothing to a certificate', { skip: hasEtcd ? false : 'no etcd' }, async (t) => {
  const etcd = await Etcd.start()
  t.teardown(() => etcd.end())
  const rig = new AuthorityRig(t.testdir())
  const url = etcd.url.replace(/^http:/, 'etcd+http:')
  await rig.json('init', 'prod', '--no-passphrase', '--registry', url)
  t.match(rig.state(), { registry: url })
  const written = await rig.json('fabric', rig.file('fabric.yml', 'fabric: prod\n'))
  t.match(written, { path: '/linkspan/prod/fabric' })
  etcd.put('/linkspan/prod/requests/g1', sealed(requestDocument(1)).toString())
  t.match(await rig.json('issue', 'g1'), { path: '/linkspan/prod/certificates/g1', payload: { number: 1 } })
  const kept = Buffer.from(
    etcd.ctl('get', '--print-value-only', '/linkspan/prod/certificates/g1').replace(/\n+$/, '\n'),
  )
  const parsed = parseDocument({ origin: 'etcd', bytes: kept })
  t.notOk(isRefusal(parsed))
  t.match(await rig.json('show'), {
    registry: `${etcd.url} /linkspan/prod`,
    certificates: [{ gateway: 'g1' }],
    due: [],
  })

  // What is hidden there is remembered here.
  etcd.del('/linkspan/prod/certificates/g1')
  etcd.put('/linkspan/prod/requests/g2', sealed(requestDocument(2)).toString())
  t.match(await rig.json('issue', 'g2'), { payload: { number: 2 } })
  const shown = await rig.run('show')
  t.match(shown, { code: 3, stdout: /certificates\/g1\.jws: not in the registry/ })

  // By a file, as registries are named that ask for a password.
  const file = join(rig.directory, 'registry.yml')
  writeFileSync(file, `registry: { url: "${url}", prefix: /linkspan/prod }\n`)
  t.match(await rig.json('renew', 'g1', '--registry', file), { renewed: [{ gateway: 'g1' }] })
  t.match((await rig.run('show')).code, 0)
  await etcd.kill()
  const down = await rig.run('renew', 'g1')
  t.match(down, { code: 1, stdout: '', stderr: /127\.0\.0\.1/ })
  t.match(await rig.run('show'), { code: 1, stdout: /g1 +1 +s1/ }, 'and what is known is shown without it')
})
