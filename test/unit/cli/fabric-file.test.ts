import t from 'tap'
import { fabricOf } from '../../../agent/cli/fabric-file.ts'
import { YamlFile } from '../../../agent/cli/yaml.ts'
import { LinkspanError } from '../../../agent/errors.ts'
import type { Fabric } from '../../../agent/model/fabric.ts'

const read = (text: string, last?: number): Fabric =>
  fabricOf(YamlFile.parse('f.yml', Buffer.from(text)), last, 1000)

void t.test('defaults', (t) => {
  t.same(read('fabric: prod\n'), {
    fabric: 'prod',
    serial: 1000,
    freshUntil: 1000 + 90 * 86_400_000,
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
  t.equal(read('fabric: prod', 5000).serial, 5001, 'serials only grow')
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
  ['a name', 'underlays: [{ name: "../x" }]', /f\.yml:2:21: underlays\[0\]\.name: expected a name/],
  ['underlay not named', 'prefer: [dx]', /f\.yml:2:10: prefer\[0\]: "dx" is none of the underlays: internet/],
  [
    'host bits',
    'overlay: { ipv4: 100.127.0.1/16 }',
    /f\.yml:2:18: overlay\.ipv4: .*host bits.*did you mean "100\.127\.0\.0\/16"/s,
  ],
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
