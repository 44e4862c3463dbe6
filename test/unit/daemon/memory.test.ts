/** Fault 59 with a disk that answers EIO: what counts is in the kernel all the same, is said, and is kept later. */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import t from 'tap'
import { KnownStore } from '../../../agent/registry/known.ts'
import { recordDocument } from '../../support/documents.ts'
import { FailingDisk } from '../../support/failing-disk.ts'
import { FakeKernel } from '../../support/fake-kernel.ts'
import { bystanders } from '../../support/foreign.ts'
import { documents, facts, Rig, routeTo2 } from '../../support/rig.ts'

const disk = new FailingDisk()
t.teardown(() => {
  disk.close()
})

for (const call of ['open', 'write', 'datasync', 'sync', 'rename'] as const) {
  void t.test(`EIO at ${call} while documents are kept`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'linkspan-memory-'))
    t.teardown(() => {
      rmSync(directory, { recursive: true, force: true })
    })
    const { store, known } = await KnownStore.open(directory)
    const kernel = new FakeKernel(facts, bystanders)
    const rig = new Rig(kernel, { known: { store, ...known } })
    disk.fail(call, directory)
    rig.deliver(documents(3))
    await rig.turn()
    t.ok(routeTo2(kernel), 'forwarding goes on')
    for (let i = 0; rig.last('documents-not-kept') === undefined && i < 500; i++)
      await new Promise((resolve) => setTimeout(resolve, 10))
    t.match(rig.last('documents-not-kept'), {
      level: 'error',
      fields: { reason: /EIO/, next: /state directory/ },
    })
    rig.change(recordDocument(2, { serial: 2, weight: 7 }))
    await rig.turn()
    await store.append([])
    t.equal(rig.reconciler.tally.errors.get('memory'), 1, 'once')
    rig.stop()

    // A start with no registry.
    const { store: again, known: kept } = await KnownStore.open(directory)
    t.strictSame(kept.damage, [])
    const booted = new FakeKernel(facts, bystanders)
    const next = new Rig(booted, { known: { store: again, ...kept } })
    await next.turn()
    t.ok(routeTo2(booted), 'what was kept is enough')
    t.equal(next.reconciler.planned?.snapshot.gateways.get('g2')?.weight, 7)
    next.stop()
  })
}
