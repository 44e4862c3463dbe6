/**
 * What monitoring sees of a real agent: the exposition can be parsed, counters move when they should and never back, nothing
 * in it is secret; health and readiness say what they should, and stop with the agent. Which metrics there are, and who may
 * read them by which Host header, is test/unit/daemon/metrics.test.ts's.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import { guest, paperGateway, publish, untilLine } from '../support/fault.ts'
import type { Gateway } from '../support/gateway.ts'
import { isolated } from '../support/isolate.ts'
import { makePair } from '../support/pair.ts'

const patienceMs = guest ? 120_000 : 20_000
const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/

interface Exposition {
  /** Family -> type. */
  readonly types: ReadonlyMap<string, string>
  /** `name{labels}` -> value. */
  readonly samples: ReadonlyMap<string, number>
  readonly text: string
}

await isolated(import.meta.url, async (directory) => {
  const early: { live?: number; ready?: number } = {}
  const { lab, left, right, leftHost } = await makePair(directory, {
    before: async (pair) => {
      // No fabric document yet: it works, and waits.
      pair.left.start()
      await until(() => status(pair.left, 'healthz') === 200)
      early.live = status(pair.left, 'healthz')
      early.ready = status(pair.left, 'readyz')
    },
  })
  const first = scrape(left)

  await t.test('alive while it waits for its certificate, ready when it has settled', async (t) => {
    t.strictSame(early, { live: 200, ready: 503 }, 'before')
    t.equal(status(left, 'healthz'), 200)
    t.equal(status(left, 'readyz'), 200)
    t.equal(status(left, 'nothing'), 404)
    left.signal('SIGSTOP')
    t.equal(status(left, 'healthz', 1), 0, 'an agent that stands still answers nothing')
    left.signal('SIGCONT')
    t.ok(await until(() => status(left, 'healthz') === 200), 'then again')
  })

  await t.test('the exposition is one: types, names, labels, values', (t) => {
    const { types, samples } = first
    t.ok(samples.size > 50, `${samples.size} samples`)
    for (const name of samples.keys()) {
      const bare = name.replace(/\{.*/, '')
      const family = types.has(bare) ? bare : bare.replace(/_(bucket|sum|count)$/, '')
      if (!types.has(family)) t.fail(`${name} has a type`)
      if (types.get(family) === 'counter' && !family.endsWith('_total')) t.fail(`${family} ends in _total`)
      if (types.get(family) === 'counter' && !((samples.get(name) ?? -1) >= 0)) t.fail(`${name} counts`)
    }
    const peer = '{gateway="gw-2",site="site-2",underlay="wan",interface="ls-wg0"}'
    t.equal(samples.get(`linkspan_peer_up${peer}`), 1)
    t.ok((samples.get(`wireguard_latest_handshake_seconds${peer}`) ?? 0) > Date.now() / 1000 - 600)
    const ages = Date.now() / 1000 - (samples.get('linkspan_registry_last_success_timestamp_seconds') ?? 0)
    t.ok(ages >= -1 && ages < 600, 'the registry was read')
    const name = 'linkspan_reconcile_duration_seconds'
    const buckets = [...samples].filter(([each]) => each.startsWith(`${name}_bucket{kind="audit"`))
    t.strictSame(
      buckets.map(([, value]) => value),
      buckets.map(([, value]) => value).sort((a, b) => a - b),
      'buckets add up',
    )
    t.equal(buckets.at(-1)?.[1], samples.get(`${name}_count{kind="audit"}`))
    t.end()
  })

  await t.test('counters move by what happens, and never back', async (t) => {
    const before = scrape(left)
    await publish(lab.registry, paperGateway('a', 1))
    await untilLine(left.machine, /^route4\t1 10\.51\.0\.0\/16/)
    left.machine.ip('route del 10.2.0.0/16 table 19539')
    t.ok(
      await until(() => moved(before, scrape(left), 'linkspan_drift_repaired_total{object="route"}') === 1),
    )
    for (let i = 0; i < 5; i++) leftHost.pings('10.2.0.10', 1000)
    await pause(1100) // a view of the peers is used again for a second
    const after = scrape(left)
    const up = (name: string): number => moved(before, after, name)
    t.ok(up('linkspan_kernel_operations_total{object="peer",verb="add"}') === 1, 'one peer more')
    t.ok(up('linkspan_kernel_operations_total{object="route",verb="add"}') >= 3, 'routes')
    t.ok(up('linkspan_routes{type="unicast"}') >= 3)
    t.ok(up('linkspan_reconcile_duration_seconds_count{kind="pass"}') >= 1, 'passes')
    t.ok(up('linkspan_reconcile_duration_seconds_count{kind="audit"}') >= 1, 'audits')
    const peer = '{gateway="gw-2",site="site-2",underlay="wan",interface="ls-wg0"}'
    t.ok(up(`wireguard_sent_bytes_total${peer}`) >= 5000, 'what was sent')
    t.ok(up(`wireguard_received_bytes_total${peer}`) >= 5000, 'what came')
    t.equal(
      after.samples.get('linkspan_peer_up{gateway="g50",site="site-50",underlay="wan",interface="ls-wg0"}'),
      0,
    )
    for (const [name, value] of before.samples) {
      const isCounter = before.types.get(name.replace(/\{.*/, '')) === 'counter'
      if (isCounter && (after.samples.get(name) ?? 0) < value) t.fail(`${name} went back`)
    }
  })

  await t.test('nothing secret, and no key at all', (t) => {
    const { text } = scrape(left)
    const secrets = left.machine
      .run('wg', 'show', 'ls-wg0', 'dump')
      .split(/[\s,]+/)
      .filter((word) => /^[A-Za-z0-9+/]{43}=$/.test(word))
    t.ok(secrets.length >= 3, 'a private key, a public one, that of a peer')
    const keys = left.machine.path('/var/lib/linkspan/keys')
    for (const file of readdirSync(keys)) {
      const bytes = readFileSync(path.join(keys, file))
      // Whole, in the ways a key is written; and lines, for PEM.
      for (const encoding of ['base64', 'base64url', 'hex'] as const) secrets.push(bytes.toString(encoding))
      secrets.push(
        ...bytes
          .toString()
          .split('\n')
          .filter((line) => line.length >= 32),
      )
    }
    t.ok(secrets.length >= 3 + 2 * 3, 'and those of the state directory')
    for (const secret of secrets) {
      if (text.includes(secret))
        t.fail(`the key with hash ${createHash('sha256').update(secret).digest('hex')}`)
    }
    t.notMatch(text, /[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43}"/, 'nothing that looks like one')
    t.end()
  })

  t.equal(await left.stop(), 0)
  t.equal(status(left, 'healthz'), 0, 'nobody answers for an agent that has ended')
  t.equal(await right.stop(), 0)
})

/** Of HTTP; 0 where nobody answers. */
function status({ machine }: Gateway, page: string, seconds = 10): number {
  const { stdout } = machine.attempt(
    'curl',
    ...[
      '-s',
      '-o',
      '/dev/null',
      '-m',
      String(seconds),
      '-w',
      '%{http_code}',
      `http://127.0.0.1:9586/${page}`,
    ],
  )
  return Number(stdout)
}

/** Throws where a line is not of the text format (Prometheus exposition 0.0.4). */
function scrape({ machine }: Gateway): Exposition {
  const text = machine.run('curl', '-sSf', '-m', '30', 'http://127.0.0.1:9586/metrics')
  const types = new Map<string, string>()
  const samples = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, family = '', type = ''] = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (family !== '') {
      if (types.has(family)) throw new Error(`${family} comes twice`)
      types.set(family, type)
      continue
    }
    if (line === '' || line.startsWith('# HELP ')) continue
    const [, name = '', labels = '', value = ''] = sampleLine.exec(line) ?? []
    // A mean over nothing is none: prom-client writes Nan.
    const number = Number(value.replace('Inf', 'Infinity'))
    if (name === '' || (Number.isNaN(number) && !/^nan$/i.test(value)))
      throw new Error(`not a sample: ${line}`)
    if (samples.has(name + labels)) throw new Error(`${name}${labels} comes twice`)
    samples.set(name + labels, number)
  }
  return { types, samples, text }
}

function moved(before: Exposition, after: Exposition, name: string): number {
  return (after.samples.get(name) ?? 0) - (before.samples.get(name) ?? 0)
}

async function until(holds: () => boolean): Promise<boolean> {
  const began = performance.now()
  while (performance.now() - began < patienceMs) {
    if (holds()) return true
    await pause(50)
  }
  return false
}
