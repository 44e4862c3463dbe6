import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { openSysctls } from '../../../agent/kernel/sysctl.ts'
import type { Sysctls } from '../../../agent/kernel/sysctl.ts'
import type { Sysctl } from '../../../agent/model/kernel-object.ts'

interface Ground {
  readonly open: () => Promise<Sysctls>
  readonly read: (name: string) => string
  readonly write: (name: string, value: string) => void
  readonly root: string
  readonly file: string
}

function ground(t: Test): Ground {
  const directory = t.testdir()
  const root = path.join(directory, 'sys')
  const write = (name: string, value: string): void => {
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true })
    writeFileSync(path.join(root, name), value)
  }
  return {
    open: () => openSysctls(path.join(directory, 'state'), root),
    read: (name) => readFileSync(path.join(root, name), 'utf8'),
    write,
    root,
    file: path.join(directory, 'state', 'sysctl.json'),
  }
}

const sysctl = (name: string, value: string): Sysctl => ({ kind: 'sysctl', name, value })
const link = 'net/ipv4/conf/eth0/rp_filter'

void t.test('the value before the first write is kept over restarts and put back', async (t) => {
  const { open, read, write, file } = ground(t)
  write(link, '1\n')
  const first = await open()
  t.same(await first.observe([link]), [sysctl(link, '1')])
  t.equal(await first.apply('set', sysctl(link, '2')), undefined)
  t.ok(existsSync(file))
  t.equal(await first.apply('set', sysctl(link, '0')), undefined)
  const second = await open()
  t.same(await second.observe([]), [{ ...sysctl(link, '0'), previous: '1' }], 'remembered ones come unasked')
  t.equal(await second.apply('restore', sysctl(link, '0')), undefined)
  t.equal(read(link), '1')
  t.same(await second.observe([link]), [sysctl(link, '1')], 'and are forgotten then')
  t.equal(await second.apply('restore', sysctl(link, '0')), undefined, 'nothing to put back')
  t.equal(read(link), '1')
})

void t.test('a value of an earlier boot is not put back', async (t) => {
  const { open, read, write } = ground(t)
  write('kernel/random/boot_id', 'first\n')
  write(link, '0\n')
  t.equal(await (await open()).apply('set', sysctl(link, '2')), undefined)
  t.same(await (await open()).observe([]), [{ ...sysctl(link, '2'), previous: '0' }], 'the same boot')
  write('kernel/random/boot_id', 'second\n')
  write(link, '1\n')
  const second = await open()
  t.same(await second.observe([link]), [sysctl(link, '1')])
  t.equal(await second.apply('set', sysctl(link, '2')), undefined)
  t.equal(await second.apply('restore', sysctl(link, '2')), undefined)
  t.equal(read(link), '1', 'the value of this boot')
})

void t.test('it is on disk before the write', async (t) => {
  const { open, read, write, file } = ground(t)
  write(link, '1\n')
  const sysctls = await open()
  mkdirSync(path.join(path.dirname(file), '.sysctl.json.next.tmp'), { recursive: true }) // the state file cannot be written
  t.match(await sysctls.apply('set', sysctl(link, '2')), { object: 'sysctl net.ipv4.conf.eth0.rp_filter' })
  t.equal(read(link), '1\n')
})

void t.test('a link that is gone takes the memory with it', async (t) => {
  const { open, write, root, file } = ground(t)
  write(link, '1\n')
  const sysctls = await open()
  await sysctls.apply('set', sysctl(link, '2'))
  rmSync(path.join(root, 'net/ipv4/conf/eth0'), { recursive: true })
  const before = readFileSync(file, 'utf8')
  t.same(await sysctls.observe([link]), [])
  t.equal(readFileSync(file, 'utf8'), before, 'looking writes nothing')
  write(link, '3\n')
  t.same(
    await sysctls.observe([link]),
    [{ kind: 'sysctl', name: link, value: '3' }],
    'a new link of that name',
  )
  rmSync(path.join(root, 'net/ipv4/conf/eth0'), { recursive: true })
  t.match(await sysctls.apply('set', sysctl(link, '2')), { code: 'netlink', reason: /ENOENT/ })
})

void t.test('forwarding of all links: those that differed are put back too', async (t) => {
  const { open, read, write } = ground(t)
  const name = (each: string): string => `net/ipv6/conf/${each}/forwarding`
  for (const [each, value] of Object.entries({ all: '0', default: '0', lan: '1', wan: '0' }))
    write(name(each), `${value}\n`)
  await (await open()).apply('set', sysctl(name('all'), '1'))
  for (const each of ['all', 'default', 'lan', 'wan']) write(name(each), '0\n') // as the kernel does when all goes off
  await (await open()).apply('restore', sysctl(name('all'), '1'))
  t.equal(read(name('lan')), '1')
  t.equal(read(name('wan')), '0\n')
})

void t.test('unchanged: as observed or written by us', async (t) => {
  const { open, write } = ground(t)
  write(link, '1\n')
  const sysctls = await open()
  t.ok(await sysctls.unchanged(), 'nothing was looked at yet')
  await sysctls.observe([link])
  t.ok(await sysctls.unchanged())
  await sysctls.apply('set', sysctl(link, '2'))
  t.ok(await sysctls.unchanged())
  write(link, '1\n')
  t.notOk(await sysctls.unchanged())
})

void t.test('a state file of strange content writes nothing strange', async (t) => {
  const { open, write, file } = ground(t)
  write(link, '1\n')
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(
    file,
    JSON.stringify({
      boot: '',
      [link]: { value: 7 },
      '../../etc/motd': { value: 'x' },
      'net/../x': { value: 'x' },
    }),
  )
  t.same(await (await open()).observe([link]), [sysctl(link, '1')])
  writeFileSync(file, '{"net/ipv4')
  await t.rejects(open(), { code: 'state-unreadable', object: file })
})
