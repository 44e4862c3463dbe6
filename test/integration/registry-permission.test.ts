/** `linkspan registry` where it may not write: a directory of somebody else's, and a file system that is mounted read-only. */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { run } from '../support/command.ts'
import { authority, certificateDocument, fabricDocument, sealed } from '../support/documents.ts'
import { isolated } from '../support/isolate.ts'
import { repository } from '../support/repository.ts'

const main = fileURLToPath(new URL('../../agent/main.js', import.meta.url))

await isolated(import.meta.url, async () => {
  await t.test('nothing is written, and it is said why', (t) => {
    // The repository may lie where nobody may go, and so may this directory.
    mkdirSync('/run/repository')
    mkdirSync('/run/place')
    run('mount', '--bind', repository, '/run/repository')
    run('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'none', '/run/place')
    const registry = '/run/place/registry'
    mkdirSync(join(registry, 'certificates'), { recursive: true })
    writeFileSync(join(registry, 'fabric.jws'), sealed(fabricDocument({ freshUntil: 4_000_000_000_000 })))
    const file = '/run/place/c1'
    writeFileSync(file, sealed(certificateDocument(1)))
    const open = (path: string): string => path.replace(repository, '/run/repository')
    const as = (user: number, ...line: readonly string[]) => {
      const { status, stdout, stderr } = spawnSync(
        'setpriv',
        [
          ...[
            `--reuid=${user}`,
            `--regid=${user}`,
            '--clear-groups',
            '--',
            open(process.execPath),
            open(main),
          ],
          ...['registry', ...line, '--registry', registry],
        ],
        { encoding: 'utf8', timeout: 120_000 },
      )
      return { status, stdout, stderr }
    }
    const lines = [
      ['put', file, '--authority', authority],
      ['remove', 'fabric'],
    ]
    for (const line of lines)
      t.match(
        as(65_534, ...line),
        { status: 5, stdout: '', stderr: /EACCES.*give linkspan the right to it/ },
        line.join(' '),
      )
    t.match(as(65_534, 'bundle', '/run/place/bundle'), { status: 5, stderr: /cannot be written: EACCES/ })
    t.match(as(65_534, 'verify', '--authority', authority), { status: 0 }, 'reading is allowed')
    chmodSync(join(registry, 'fabric.jws'), 0o600)
    t.match(as(65_534, 'verify', '--authority', authority), {
      status: 1,
      stdout: /unreadable: .*fabric\.jws.*EACCES/,
    })

    run('mount', '-o', 'remount,ro', '/run/place')
    for (const line of lines)
      t.match(
        as(0, ...line),
        { status: 1, stdout: '', stderr: /EROFS: read-only file system/ },
        line.join(' '),
      )
    t.match(as(0, 'bundle', '/run/place/bundle'), { status: 1, stderr: /EROFS/ })
    run('mount', '-o', 'remount,rw', '/run/place')
    t.match(as(0, ...(lines[0] as string[])), { status: 0 })
    t.strictSame(readdirSync('/run/place').sort(), ['c1', 'registry'])
    t.strictSame(readdirSync(registry).sort(), ['certificates', 'fabric.jws'])
    t.end()
  })
})
