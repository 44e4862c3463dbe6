/**
 * Policy rules: WireGuard's own packets, which carry the mark of their underlay, go to main or to the table of the bound
 * underlay and never into the overlay, so that an endpoint inside an advertised prefix cannot loop; everybody else's
 * packets meet the overlay's table before main.
 */
import {
  overlayTable,
  rulePriority,
  underlayMark,
  underlayMarkMask,
  underlayTable,
} from '../model/kernel-number.ts'
import type { Rule } from '../model/kernel-object.ts'
import type { Local } from './local.ts'

/** RT_TABLE_MAIN of rtnetlink.h. */
const mainTable = 254

export function rules({ families, sides }: Local): readonly Rule[] {
  const byNumber = [...sides].sort((a, b) => a.u - b.u)
  return families.flatMap((family): readonly Rule[] => [
    ...byNumber.map(({ u, bound }): Rule => ({
      kind: 'rule',
      family,
      priority: rulePriority.underlay,
      fwmark: underlayMark(u),
      fwmask: 0xffffffff,
      action: 'lookup',
      table: bound === undefined ? mainTable : underlayTable(u),
    })),
    {
      kind: 'rule',
      family,
      priority: rulePriority.stop,
      fwmark: underlayMark(0),
      fwmask: underlayMarkMask,
      action: 'blackhole',
    },
    { kind: 'rule', family, priority: rulePriority.overlay, action: 'lookup', table: overlayTable },
  ])
}
