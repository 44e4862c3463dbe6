import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { nameserverLines, NameServers } from '../../../agent/daemon/name-server.ts'

interface Host {
  readonly servers: NameServers
  readonly news: () => number
  readonly resolver: string
  readonly upstream: string
}

function host(t: Test): Host {
  const directory = t.testdir({})
  const resolver = path.join(directory, 'resolv.conf')
  const upstream = path.join(directory, 'upstream.conf')
  const servers = new NameServers({ resolver, upstream }, 5)
  let news = 0
  servers.onNew(() => news++)
  return { servers, news: () => news, resolver, upstream }
}

void t.test('lines count as the libraries read them', (t) => {
  const text = [
    '# nameserver 192.0.2.1',
    ' nameserver 192.0.2.2',
    'nameservers 192.0.2.3',
    'nameserver\t192.0.2.4 # the near one',
    'nameserver 2001:db8::53\r',
    'nameserver',
    'search nameserver 192.0.2.5',
  ].join('\n')
  t.strictSame(nameserverLines(text), ['192.0.2.4', '2001:db8::53'])
  t.equal(nameserverLines('nameserver 192.0.2.1\n'.repeat(1000)).length, 16, 'and no more than a host has')
  t.end()
})

void t.test('no route is thrown for what no route leads to', async (t) => {
  const { servers, resolver } = host(t)
  const named = [
    '127.0.0.1',
    '::1',
    '169.254.169.253',
    'fe80::1%eth0',
    'ns.example',
    '010.0.0.1',
    '10.2.0.53',
  ]
  writeFileSync(resolver, ['options edns0', ...named.map((each) => `nameserver ${each}`), ''].join('\n'))
  await servers.look()
  t.strictSame(servers.all, ['10.2.0.53'])
})

void t.test('the stub of systemd-resolved stands for whom it asks', async (t) => {
  const { servers, resolver, upstream } = host(t)
  writeFileSync(upstream, 'nameserver 10.2.0.53\nnameserver 10.3.0.53\n')
  writeFileSync(resolver, 'nameserver 127.0.0.53\n')
  await servers.look()
  t.strictSame(servers.all, ['10.2.0.53', '10.3.0.53'])
  writeFileSync(resolver, 'nameserver 127.0.0.1\n')
  await servers.look()
  t.strictSame(servers.all, [], 'another server on this host does not')
  writeFileSync(resolver, 'nameserver 127.0.0.53\nnameserver 192.0.2.1\n')
  await servers.look()
  t.strictSame(servers.all, ['192.0.2.1'], 'nor one of several')
})

void t.test('changes are followed', async (t) => {
  const { servers, news, resolver, upstream } = host(t)
  const stop = new AbortController()
  const following = servers.follow(stop.signal)
  const until = async (expected: readonly string[]): Promise<void> => {
    for (let i = 0; i < 2000 && servers.all.join() !== expected.join(); i++)
      await new Promise((resolve) => setTimeout(resolve, 5))
    t.strictSame(servers.all, expected)
  }
  writeFileSync(resolver, 'nameserver 10.2.0.53\n')
  await until(['10.2.0.53'])
  writeFileSync(upstream, 'nameserver 10.3.0.53\n')
  symlinkSync(upstream, `${resolver}.new`)
  renameSync(`${resolver}.new`, resolver)
  await until(['10.3.0.53'])
  writeFileSync(upstream, '')
  await servers.look()
  t.strictSame(servers.all, ['10.3.0.53'], 'a file that names none is being written')
  rmSync(upstream)
  await servers.look()
  t.strictSame(servers.all, ['10.3.0.53'], 'as is one that is not there')
  t.equal(news(), 2)
  stop.abort()
  await following
})
