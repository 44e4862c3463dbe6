/**
 * The specification of trust as one table: rule, what was delivered, for whom and when, what follows. Its rows are in
 * test/support/conformance-*.ts, by theme; how each is judged, and by whom, in test/support/conformance.ts.
 */
import t from 'tap'
import { rules } from '../../../agent/trust/rulebook.ts'
import { claim } from '../../support/conformance-claim.ts'
import { contesting } from '../../support/conformance-contest.ts'
import { form } from '../../support/conformance-form.ts'
import { signer } from '../../support/conformance-signer.ts'
import { space } from '../../support/conformance-space.ts'
import { standing } from '../../support/conformance-standing.ts'
import { vouching } from '../../support/conformance-voucher.ts'
import { judge } from '../../support/conformance.ts'

// Seconds, on a machine that has nothing else to do.
t.setTimeout(600_000)

const table = [...form, ...signer, ...standing, ...claim, ...vouching, ...contesting, ...space]
for (const row of table) judge(row)

void t.test('every rule has at least two rows, and one where it refuses', (t) => {
  for (const rule of Object.keys(rules)) {
    const rows = table.filter((row) => row.rule === rule)
    const refusing = rows.filter(({ verdict }) =>
      new RegExp(`(^|, )${rule}( |,|$)`).test(verdict.refused ?? ''),
    )
    t.ok(rows.length >= 2, `${rule}: ${rows.length} rows`)
    t.ok(refusing.length > 0, `${rule} refuses something`)
  }
  t.ok(table.length >= 80, `${table.length} rows`)
  t.equal(new Set(table.map(({ rule, what }) => `${rule} ${what}`)).size, table.length, 'no row twice')
  t.end()
})
