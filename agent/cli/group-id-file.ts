/** The ids of nexthop groups in the state directory. What cannot be read counts as lost: the kernel's routes know them too. */
import path from 'node:path'
import { reasonOf } from '../errors.ts'
import type { Reason } from '../errors.ts'
import { readState, writeState } from '../kernel/state-file.ts'
import { isOwnedNexthop } from '../model/kernel-number.ts'
import { GroupIds } from '../plan/group-id.ts'
import type { SavedGroupIds } from '../plan/group-id.ts'

export interface LoadedGroupIds {
  readonly ids: GroupIds
  /** Why a file that is there was not used. */
  readonly damage?: Reason
}

function fileIn(stateDirectory: string): string {
  return path.join(stateDirectory, 'group-ids.json')
}

export async function loadGroupIds(stateDirectory: string): Promise<LoadedGroupIds> {
  const file = fileIn(stateDirectory)
  try {
    const saved = await readState(file)
    if (saved === undefined) return { ids: new GroupIds() }
    if (isSaved(saved)) return { ids: new GroupIds(saved) }
    const damage: Reason = { code: 'state-unreadable', object: file, reason: 'does not hold group ids' }
    return { ids: new GroupIds(), damage }
  } catch (error) {
    return { ids: new GroupIds(), damage: reasonOf(error, file) }
  }
}

export async function saveGroupIds(stateDirectory: string, ids: GroupIds): Promise<void> {
  await writeState(fileIn(stateDirectory), ids.toJSON())
}

function isSaved(content: unknown): content is SavedGroupIds {
  if (typeof content !== 'object' || content === null || !('next' in content) || !('ids' in content))
    return false
  const { next, ids } = content
  if (typeof next !== 'number' || typeof ids !== 'object' || ids === null) return false
  const values = Object.values(ids) as unknown[]
  return (
    values.every((id) => typeof id === 'number' && isOwnedNexthop(id)) &&
    new Set(values).size === values.length
  )
}
