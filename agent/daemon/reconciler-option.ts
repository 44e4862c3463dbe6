/** What a reconciler is made of: the drivers, what is known of an earlier run, and who is told. */
import type { Kernel } from '../kernel/port.ts'
import type { Fabric } from '../model/fabric.ts'
import type { HostFacts } from '../model/host.ts'
import type { Own } from '../model/own.ts'
import type { GroupIds } from '../plan/group-id.ts'
import type { Ground } from '../trust/ground.ts'
import type { Events } from './event.ts'
import type { KnownInput } from './inputs.ts'
import type { Limits } from './intake.ts'

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly gateway: string
  /** What documents are judged for. */
  readonly ground: Ground
  /** What an earlier run knew; absent: nothing is kept. */
  readonly known?: KnownInput
  /** Own as configured, its endpoints resolved against the host. The same object while nothing changed. */
  readonly ownOf: (fabric: Fabric, facts: HostFacts) => Own
  readonly ids: GroupIds
  /** Makes the ids durable; awaited before ops that use new ones. */
  readonly saveIds: (ids: GroupIds) => Promise<void>
  readonly events: Events
  /** After a turn took in news of registry or host. */
  readonly onInputs?: () => void
  /** After a turn that went through. */
  readonly onTurn?: () => void
  /** Within a turn: it is long, and gets on. */
  readonly onProgress?: () => void
  /** Unix ms. */
  readonly now?: () => number
  /** How much of the registry's news is taken in. */
  readonly limits?: Limits
  readonly random?: () => number
}
