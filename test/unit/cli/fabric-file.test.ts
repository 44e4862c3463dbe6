import t from 'tap'
import { fabricOf } from '../../../agent/cli/fabric-file.ts'
import { YamlFile } from '../../../agent/cli/yaml.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import type { Fabric } from '../../../agent/model/fabric.ts'

const issue = { serial: 1000, freshUntil: 2000 }
const read = (text: string, incumbent?: Fabric): Fabric =>
  fabricOf(YamlFile.parse('f.yml', Buffer.from(text)), incumbent, issue)

void t.test('defaults', (t) => {
  t.same(read('fabric: prod\n'), {
    fabric: 'prod',
    serial: 1000,
    freshUntil: 2000,
    overlay: { ipv4: '100.127.0.0/16', ipv6: 'fd4c:53aa:bb00::/48' },
    underlays: [{ name: 'internet' }],
    prefer: ['internet'],
    mesh: 'all',
    networks: [],
    policy: { default: 'allow', rules: [] },
    probe: { port: 18620, intervalMs: 200, retryMs: 60, downAfter: 10, underlays: {} },
    rotation: { days: 0 },
    removed: [],
    revoked: { serials: [], identities: [] },
  })
  const some = read(
    'fabric: prod\nunderlays: [{ name: dx }, { name: internet }]\nprobe: { intervalMs: 50 }\n',
  )
  t.same(some.prefer, ['dx', 'internet'], 'in the order of the underlays')
  t.match(some.probe, { intervalMs: 50, port: 18620 })
  t.end()
})

for (const [name, text, says] of [
  [
    'VNI used twice',
    'networks:\n  - { name: a, vni: 5, kind: l2 }\n  - { name: b, vni: 5, kind: l2 }',
    /f\.yml:4:5: networks\[1\]: the VNI 5 is used twice/,
  ],
  ['unknown key', 'netwroks: []', /f\.yml:2:1: unknown field "netwroks"\n.*\n.*\n.*did you mean "networks"/],
  ['unknown key inside', 'probe: { prot: 1 }', /f\.yml:2:10: unknown field "prot".*did you mean "port"/s],
  [
    'too much loss',
    'probe: { underlays: { internet: { lossPercent: 101 } } }',
    /f\.yml:2:.*lossPercent: expected .*1.*100/,
  ],
  ['a hasty confirmation', 'probe: { mtuMs: 50 }', /f\.yml:2:.*mtuMs: expected 0 or at least 100, found 50/],
  ['a name', 'underlays: [{ name: "../x" }]', /f\.yml:2:21: underlays\[0\]\.name: expected a name/],
  ['underlay not named', 'prefer: [dx]', /f\.yml:2:10: prefer\[0\]: "dx" is none of the underlays: internet/],
  [
    'host bits',
    'overlay: { ipv4: 100.127.0.1/16 }',
    /f\.yml:2:18: overlay\.ipv4: .*host bits.*did you mean "100\.127\.0\.0\/16"/s,
  ],
  ['a serial', 'serial: 5', /f\.yml:2:1: serial is set by linkspan\n.*\n.*\n.*leave it out/],
  ['freshness', 'freshUntil: 5', /f\.yml:2:1: freshUntil is set by linkspan/],
  [
    'a leading zero',
    'networks:\n  - { name: a, vni: 05001, kind: l2 }',
    /f\.yml:3:21: expected a decimal .*"05001"\n.*\n.*\n  hint: write 5001 or 2561, or/,
  ],
  ['duplicate key', 'fabric: b', /f\.yml:2:1: this key is given twice/],
  ['a list', '', undefined],
] as const) {
  void t.test(name, (t) => {
    const call = (): Fabric => read(says === undefined ? '[]' : `fabric: prod\n${text}\n`)
    t.throws(call, LinkspanError)
    t.throws(call, { code: 'config-invalid', message: says ?? /expected an object, found \[\]/ })
    t.end()
  })
}

void t.test('what ended stays ended', (t) => {
  const before = read('fabric: prod\nremoved: [g1]\nrevoked: { serials: [7], identities: [] }\n')
  const silent = read('fabric: prod\n', before)
  t.same(silent.removed, ['g1'])
  t.same(silent.revoked, { serials: [7], identities: [] })
  const more = read('fabric: prod\nremoved: [g2, g1]\nrevoked: { serials: [8] }\n', before)
  t.same(more.removed, ['g1', 'g2'])
  t.same(more.revoked.serials, [7, 8])
  t.end()
})
