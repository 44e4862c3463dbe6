/** Files without an end, and files that are none. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { readBounded } from '../../../agent/cli/bounded-file.ts'
import { pathOfUrl } from '../../../agent/cli/file-url.ts'
import { YamlFile } from '../../../agent/cli/yaml.ts'

void t.test('regular files of allowed size', async (t) => {
  const directory = t.testdir({ a: 'x'.repeat(10_000), empty: '' })
  t.equal((await readBounded(join(directory, 'a'), 10_000)).toString(), 'x'.repeat(10_000))
  t.equal((await readBounded(join(directory, 'empty'), 0)).length, 0)
  t.match((await readBounded('/proc/self/status', 100_000)).toString(), /^Name:/, 'of unknown size')
  await t.rejects(readBounded(join(directory, 'a'), 9_999), /10000 bytes long, expected at most 9999/)
  await t.rejects(readBounded('/proc/self/status', 10), /longer than 10 bytes/)
  await t.rejects(readBounded(join(directory, 'none'), 10), { code: 'ENOENT' })
})

void t.test('what is no regular file', { timeout: 10_000 }, async (t) => {
  const directory = t.testdir()
  const fifo = join(directory, 'fifo')
  spawnSync('mkfifo', [fifo])
  for (const path of ['/dev/zero', directory, fifo]) {
    const refused = { code: 'config-invalid', object: path, reason: 'is not a regular file' }
    await t.rejects(readBounded(path, 10), refused)
    await t.rejects(YamlFile.read(path), refused)
  }
})

void t.test('file: URLs', (t) => {
  t.same(pathOfUrl('file:///srv/a%20b/'), { path: '/srv/a b' })
  t.same(pathOfUrl('FILE:///'), { path: '/' })
  for (const [url, says] of [
    ['file:///x%00', /zero byte/],
    ['file:///x%2Fy', /names no path/],
    ['file:///x%zz', /names no path/],
    ['file://host/x', /no file: URL/],
    ['file:x', /no file: URL/],
    ['file:///x?y', /no file: URL/],
  ] as const) {
    t.match(pathOfUrl(url), { malformed: says }, url)
  }
  t.end()
})
