/** Routing rules over rtnetlink, by the `netlink` package's codecs: there are a handful (linux/fib_rules.h). */
import { formatRuleMessage, parseRuleMessage, RuleAction } from 'netlink/dist/rt/structs.js'
import { AttrStream } from 'netlink/dist/structs.js'
import { routeProtocol, rulePriority } from '../model/kernel-number.ts'
import type { Rule } from '../model/kernel-object.ts'
import { flag } from './message.ts'
import type { MessageWriter } from './message.ts'
import { family, message } from './rtnetlink.ts'

const ours: ReadonlySet<number> = new Set(Object.values(rulePriority))

export function encodeRule(writer: MessageWriter, verb: 'add' | 'remove', rule: Rule): void {
  const out = new AttrStream()
  formatRuleMessage(
    {
      kind: 'rule',
      data: {
        family: rule.family === 4 ? family.inet : family.inet6,
        table: 0,
        action: rule.action === 'lookup' ? 'toTbl' : 'blackhole',
      },
      attrs: {
        priority: rule.priority,
        protocol: routeProtocol,
        ...(rule.fwmark === undefined ? {} : { fwmark: rule.fwmark }),
        ...(rule.fwmask === undefined ? {} : { fwmask: rule.fwmask }),
        ...(rule.table === undefined ? {} : { table: rule.table }),
      },
    },
    out,
  )
  writer.begin(
    verb === 'add' ? message.newRule : message.delRule,
    verb === 'add' ? flag.create | flag.exclusive : 0,
  )
  for (const part of out.bufs) writer.bytes(part)
  writer.end()
}

export function encodeRuleDump(writer: MessageWriter, version: 4 | 6): void {
  writer.begin(message.getRule, flag.dump)
  writer.u8(version === 4 ? family.inet : family.inet6)
  for (let i = 0; i < 11; i++) writer.u8(0)
  writer.end()
}

/** Undefined for priorities that are not ours. */
export function decodeRule(bytes: Uint8Array, start: number, end: number): Rule | undefined {
  const { data, attrs } = parseRuleMessage(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start))
  const priority = attrs.priority ?? 0
  if (!ours.has(priority)) return undefined
  const table = attrs.table ?? data.table ?? 0
  const { protocol } = attrs
  return {
    kind: 'rule',
    family: data.family === family.inet ? 4 : 6,
    priority,
    action: data.action === 'blackhole' || data.action === RuleAction.blackhole ? 'blackhole' : 'lookup',
    ...(attrs.fwmark === undefined ? {} : { fwmark: attrs.fwmark }),
    ...(attrs.fwmask === undefined ? {} : { fwmask: attrs.fwmask }),
    ...(table === 0 ? {} : { table }),
    ...(protocol === undefined ? {} : { protocol }),
  }
}
