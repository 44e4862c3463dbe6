/** Who may do what at an etcd, and what it says to those who may not: users, roles and certificates, with real servers. */
import { writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Reason } from '../../agent/errors.ts'
import { EtcdRegistry } from '../../agent/registry/etcd.ts'
import { authorityRole } from '../../agent/registry/etcd-role.ts'
import { CertificateAuthority } from '../support/certificate-authority.ts'
import { etcdFor, hasEtcd, hasIpv6 } from '../support/etcd.ts'
import { Following, prefix, refusalOf, signal, unreadableOf } from '../support/etcd-following.ts'
import type { Options } from '../support/etcd-following.ts'
import { isolated } from '../support/isolate.ts'

if (!hasEtcd) t.pass('etcd', { skip: 'needs etcd-server and etcd-client' })
else await isolated(import.meta.url, tests)

async function tests(directory: string): Promise<void> {
  await t.test('users and roles', async (t) => {
    const etcd = await etcdFor(t, { parent: directory, args: ['--auth-token-ttl=1'] })
    etcd.put(`${prefix}/fabric`, 'f1')
    const user = { name: 'aws-a', password: 'aws-a-password' }
    // A user configured before etcd has any: everybody is served.
    const open = new EtcdRegistry({ endpoints: [etcd.url], prefix, user })
    t.equal((await open.store.list(signal())).documents.length, 1)

    etcd.enableAuth(prefix, { 'aws-a': 'aws-a-password', 'gcp-b': 'gcp-b-password' })
    t.equal((await open.store.list(signal())).documents.length, 1, 'and once it has')
    const following = new Following(t, { endpoints: [etcd.url], user, auditMs: 3000 })
    await following.until('the first bag', ({ bags }) => bags.length === 1)
    t.same(following.names, ['fabric'])

    const { store } = following.registry
    for (const own of ['records/aws-a', 'requests/aws-a', 'claims/aws-a']) {
      t.equal(await store.put(own, Buffer.from('own'), signal()), true, own)
    }
    await following.until('own documents', ({ documents }) => documents.size === 4)
    for (const other of [
      'fabric',
      'certificates/aws-a',
      'records/gcp-b',
      'records/aws-a/x',
      'records/aws-ab',
    ]) {
      t.match(
        await refusalOf(store.put(other, Buffer.from('not ours'), signal())),
        {
          code: 'permission',
          object: `etcd:${prefix}/${other}`,
          reason: 'user "aws-a" has no permission',
          next: /role/,
        },
        other,
      )
      t.match(await refusalOf(store.remove(other, signal())), { code: 'permission' }, `remove ${other}`)
    }
    t.equal(await store.remove('claims/aws-a', signal()), true)

    // The token ends after a second, or after a few: audits and reconnects fetch another.
    await pause(4000)
    await following.until('an audit', ({ bags }) => bags.at(-1)?.documents.length === 0)
    t.same(following.unreadable, [])
    await etcd.kill()
    await following.until('it is missed', ({ unreadable }) => unreadable.length === 1)
    await etcd.start()
    etcd.put(`${prefix}/fabric`, 'f2')
    await following.until('it is back', ({ documents }) => documents.get('fabric') === 'f2')

    // Somebody else's password, and none.
    const wrong = await unreadableOf(t, {
      endpoints: [etcd.url],
      user: { ...user, password: 'gcp-b-password' },
    })
    t.match(wrong, {
      code: 'permission',
      object: etcd.url,
      reason: 'refuses user "aws-a" with this password',
    })
    t.notMatch(JSON.stringify(wrong), /gcp-b-password/)
    t.match(await unreadableOf(t, { endpoints: [etcd.url] }), {
      code: 'permission',
      reason: 'asks for a user',
      next: /user and password/,
    })
    const file = join(directory, 'password')
    writeFileSync(file, 'gcp-b-password\n', { mode: 0o600 })
    const byFile = new EtcdRegistry({
      endpoints: [etcd.url],
      prefix,
      user: { name: 'gcp-b', password: { file } },
    })
    t.equal(await byFile.store.put('records/gcp-b', Buffer.from('b1'), signal()), true)

    // A right that is taken away ends the watch, and comes back.
    etcd.ctl('user', 'revoke-role', 'aws-a', 'linkspan-prod-read')
    await following.until('no right to read', ({ unreadable }) => unreadable[0]?.code === 'permission')
    t.match(following.unreadable, [{ object: etcd.url, reason: 'user "aws-a" has no permission' }])
    etcd.ctl('user', 'grant-role', 'aws-a', 'linkspan-prod-read')
    await following.until('it may read again', ({ unreadable }) => unreadable.length === 0)

    etcd.ctlWith('authority-password\n', 'user', 'add', 'authority', '--interactive=false')
    etcd.ctl('user', 'grant-role', 'authority', authorityRole(prefix))
    const authority = { name: 'authority', password: 'authority-password' }
    const asAuthority = new EtcdRegistry({ endpoints: [etcd.url], prefix, user: authority })
    t.equal(await asAuthority.store.put('certificates/gcp-b', Buffer.from('c1'), signal()), true)
  })

  await t.test('certificates', async (t) => {
    const authority = await CertificateAuthority.create(directory, 'authority')
    const stranger = await CertificateAuthority.create(directory, 'stranger')
    const server = await authority.issue({ name: 'server', hosts: ['127.0.0.1', '::1', 'localhost'] })
    const own = await authority.issue({ name: 'aws-a', hosts: ['aws-a'] })
    const old = await authority.issue({ name: 'old', days: -1 })
    const foreign = await stranger.issue({ name: 'foreign' })
    const { certificateFile: ca } = authority.pair
    const etcd = await etcdFor(t, {
      parent: directory,
      tls: { cert: server.certificateFile, key: server.keyFile, clientCa: ca },
      client: { ca, cert: own.certificateFile, key: own.keyFile },
    })
    etcd.put(`${prefix}/fabric`, 'f1')
    const filesOf = ({ certificateFile, keyFile }: typeof own): Options['files'] => {
      return { ca, certificate: certificateFile, key: keyFile }
    }
    const files = filesOf(own) ?? {}
    const endpoints = [etcd.url]
    for (const host of ['127.0.0.1', 'localhost', ...(hasIpv6 ? ['[::1]'] : [])]) {
      const at = new EtcdRegistry({ endpoints: [`https://${host}:${etcd.port}`], prefix, files })
      t.equal((await at.store.list(signal())).documents.length, 1, host)
    }

    const reasons: Record<string, Reason> = {
      'an authority that did not sign it': await unreadableOf(t, {
        endpoints,
        files: { ...files, ca: stranger.pair.certificateFile },
      }),
      'well-known authorities': await unreadableOf(t, {
        endpoints,
        files: { ...files, ca: undefined } as object,
      }),
      'no client certificate': await unreadableOf(t, { endpoints, files: { ca } }),
      'a foreign client certificate': await unreadableOf(t, { endpoints, files: filesOf(foreign) ?? {} }),
      'an expired client certificate': await unreadableOf(t, { endpoints, files: filesOf(old) ?? {} }),
      'a missing file': await unreadableOf(t, { endpoints, files: { ...files, key: '/nowhere' } }),
      'a certificate for other names': await unreadableOf(t, {
        endpoints: [`https://127.0.0.2:${etcd.port}`],
        files,
      }),
      'no TLS to a server that has it': await unreadableOf(t, {
        endpoints: [`http://127.0.0.1:${etcd.port}`],
      }),
      'TLS to a server that has none': await unreadableOf(t, {
        endpoints: [`https://127.0.0.1:${etcd.peerPort}`],
        files,
      }),
      'a name that is none': await unreadableOf(t, { endpoints: ['https://nosuch.invalid:2379'], files }),
    }
    for (const [what, { object, reason, next }] of Object.entries(reasons)) {
      t.comment(`${what}: ${object}: ${reason} (${next ?? ''})`)
    }
    t.match(reasons, {
      'an authority that did not sign it': { object: etcd.url, reason: /no authority that we trust/ },
      'well-known authorities': { reason: /no authority that we trust/ },
      'no client certificate': { reason: 'asks for a client certificate' },
      'a foreign client certificate': { reason: /^refuses our client certificate \(CN=foreign, valid/ },
      'an expired client certificate': { reason: /^refuses our client certificate \(CN=old, valid/ },
      'a missing file': { object: '/nowhere', reason: /cannot be read/ },
      'a certificate for other names': { reason: /other names/ },
      'no TLS to a server that has it': { reason: 'ends the connection at once', next: /https/ },
      'TLS to a server that has none': { reason: 'does not speak TLS' },
      'a name that is none': { object: 'https://nosuch.invalid:2379', reason: /cannot be resolved/ },
    })

    // Renewed on disk: the next connection has it.
    const [certificate, key] = [join(directory, 'now.pem'), join(directory, 'now.key')]
    await copyFile(old.certificateFile, certificate)
    await copyFile(old.keyFile, key)
    const following = new Following(t, { endpoints, files: { ca, certificate, key } })
    await following.until('it is refused', ({ unreadable }) => unreadable.length === 1)
    await copyFile(own.certificateFile, certificate)
    await copyFile(own.keyFile, key)
    await following.until('it is taken', ({ documents }) => documents.size === 1)
    t.same(following.unreadable, [])

    // The common name as the user.
    etcd.enableAuth(prefix, { 'aws-a': 'unused' })
    const { store } = new EtcdRegistry({ endpoints, prefix, files })
    t.equal(await store.put('records/aws-a', Buffer.from('a1'), signal()), true)
    t.match(await refusalOf(store.put('records/gcp-b', Buffer.from('b1'), signal())), { code: 'permission' })
    await following.until('news', ({ documents }) => documents.has('records/aws-a'))
  })
}
