/** The runner of a hook, with programs that are run. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { Events } from '../../../agent/daemon/event.ts'
import { Hook } from '../../../agent/daemon/hook.ts'
import type { HookOptions } from '../../../agent/daemon/hook.ts'
import { exec } from '../../../agent/kernel/exec.ts'
import { runHook } from '../../../agent/kernel/hook.ts'

interface Begun {
  readonly hook: Hook
  readonly told: () => readonly string[]
  readonly directory: string
  readonly file: (name: string) => string
}

/** A hook whose program is a shell script; `$D` in it is a directory of the test's. */
function begin(t: Test, script: string, change: Partial<HookOptions> = {}): Begun {
  const directory = t.testdir()
  const program = path.join(directory, 'hook')
  writeFileSync(program, `#!/bin/sh\nD=${directory}\n${script}\n`)
  chmodSync(program, 0o755)
  const events = new Events()
  const hook = new Hook({
    name: 'site-active',
    program,
    timeoutMs: 20_000,
    run: (file, request) => runHook(exec, file, request),
    input: (cause) => `{"cause":"${cause}"}\n`,
    environment: { LINKSPAN_GATEWAY: 'aws-a' },
    events,
    random: () => 0.5,
    ...change,
  })
  t.teardown(() => {
    hook.stop()
  })
  const told = (): readonly string[] =>
    events.since(0).map(({ level, event, fields }) => `${level} ${event} ${String(fields['cause'])}`)
  const file = (name: string): string => {
    const at = path.join(directory, name)
    return existsSync(at) ? readFileSync(at, 'utf8') : ''
  }
  return { hook, told, directory, file }
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (holds()) return
    await pause(10)
  }
  throw new Error('it never came to that')
}

const ends = ({ hook }: Begun, runs: number): Promise<void> =>
  until(() => hook.view.runs.ok + hook.view.runs.failed >= runs && !hook.view.running)

/** True where a process of that id still runs. */
function lives(pid: string): boolean {
  try {
    // A zombie lives no more; nobody may be there to wait for it.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid.trim()}/stat`, 'utf8'))
  } catch {
    return false
  }
}

void t.test('it is told by stdin and a small environment, and what it says last is kept', async (t) => {
  process.env['LINKSPAN_TEST_SECRET'] = 'x'
  const begun = begin(t, 'cat >$D/input; env | cut -d= -f1 | sort >$D/names; echo one; echo "  two routes  "')
  begun.hook.want('takeover')
  await ends(begun, 1)
  t.equal(begun.file('input'), '{"cause":"takeover"}\n')
  // PWD, SHLVL and _ are the shell's own.
  const names = begun.file('names').trim().split('\n')
  t.same(
    names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name)),
    ['LC_ALL', 'LINKSPAN_GATEWAY', 'PATH'],
  )
  t.match(begun.hook.view.last, { outcome: 'ok', cause: 'takeover', said: 'two routes' })
  t.same(begun.told(), ['notice hook-ran takeover'])
  begun.hook.want('audit')
  await ends(begun, 2)
  t.same(begun.told().slice(1), ['debug hook-ran audit'], 'the same again is no news')
})

void t.test('one that fails twice is run a third time', async (t) => {
  const begun = begin(
    t,
    'echo x >>$D/runs; test $(wc -l <$D/runs) -gt 2 || { echo "no such table" >&2; exit 7; }; echo done',
  )
  begun.hook.want('takeover')
  await until(() => begun.hook.view.runs.failed === 2)
  t.match(begun.hook.trouble, { code: 'exec', times: 2, reason: /exit code 7: no such table$/ })
  t.match(begun.hook.view.last, { outcome: 'failed', said: /no such table/ })
  await ends(begun, 3)
  t.equal(begun.hook.trouble, undefined)
  t.same(begun.told(), [
    'error hook-failed takeover',
    'debug hook-failed takeover',
    'notice hook-ran takeover',
  ])
})

void t.test('one that hangs is killed with all that it began', async (t) => {
  const begun = begin(t, 'sleep 300 & echo $! >$D/child; setsid sleep 300 & echo $! >$D/fled; sleep 300', {
    timeoutMs: 1000,
  })
  begun.hook.want('takeover')
  await until(() => begun.hook.view.runs.failed === 1)
  const { last } = begun.hook.view
  t.match(last?.said, /no end after 1000 ms/)
  t.ok((last?.ms ?? 0) < 15_000, `it took ${last?.ms ?? 0} ms`)
  begun.hook.stop()
  await until(() => !lives(begun.file('child')))
  const fled = Number(begun.file('fled'))
  if (fled > 0 && lives(String(fled))) process.kill(fled, 'SIGKILL')
})

void t.test('what it leaves running ends with it', async (t) => {
  const begun = begin(t, 'sleep 300 >/dev/null 2>&1 & echo $! >$D/child; echo done')
  begun.hook.want('takeover')
  await ends(begun, 1)
  await until(() => !lives(begun.file('child')))
  t.match(begun.hook.view.last, { outcome: 'ok', said: 'done' })
})

void t.test('one that prints much is read to its end, and little of it kept', async (t) => {
  const begun = begin(t, 'yes "a line of many" | head -c 20000000; echo; echo done')
  begun.hook.want('takeover')
  await ends(begun, 1)
  t.equal(begun.hook.view.last?.said, 'done')
  const endless = begin(t, 'head -c 3000000 /dev/zero | tr "\\0" x; exit 3')
  endless.hook.want('takeover')
  await until(() => endless.hook.view.runs.failed === 1)
  t.ok((endless.hook.view.last?.said.length ?? 0) < 300, 'no line of millions')
})

void t.test('never two at once; what is wanted meanwhile is one run more', async (t) => {
  const begun = begin(
    t,
    'mkdir $D/lock || echo two >>$D/twice; cat >>$D/inputs; sleep 0.3; rmdir $D/lock; echo done',
  )
  begun.hook.want('takeover')
  await pause(100)
  for (const cause of ['change', 'audit', 'change', 'audit'] as const) begun.hook.want(cause)
  await ends(begun, 2)
  await pause(500)
  t.equal(begun.file('inputs'), '{"cause":"takeover"}\n{"cause":"change"}\n')
  t.equal(begun.file('twice'), '')
})

void t.test('stopped, it is killed; wanted again before it is gone, it waits for that', async (t) => {
  const now = { running: 0, most: 0 }
  const begun = begin(t, 'echo $$ >>$D/pids; cat >>$D/inputs; sleep 300', {
    run: async (file, request) => {
      now.most = Math.max(now.most, ++now.running)
      try {
        return await runHook(exec, file, request)
      } finally {
        now.running--
      }
    },
  })
  begun.hook.want('takeover')
  await until(() => begun.file('inputs') !== '')
  begun.hook.stop()
  begun.hook.want('change')
  begun.hook.stop()
  begun.hook.want('takeover')
  await until(() => begun.file('inputs').split('\n').length === 3)
  const [first = '', second = ''] = begun.file('pids').split('\n')
  t.equal(lives(first), false)
  t.equal(lives(second), true)
  t.equal(now.most, 1)
  begun.hook.stop()
  await until(() => !begun.hook.view.running)
  t.equal(lives(second), false)
  t.same(begun.hook.view.runs, { ok: 0, failed: 0 }, 'that is no failure')
  t.same(begun.told(), [])
})

void t.test('a program that is not there', async (t) => {
  const begun = begin(t, '', { program: '/no/such/hook' })
  begun.hook.want('takeover')
  await until(() => begun.hook.view.runs.failed === 1)
  t.match(begun.hook.trouble, {
    object: 'hook /no/such/hook',
    reason: /ENOENT/,
    next: 'see that /no/such/hook is there, and may be executed',
  })
})
