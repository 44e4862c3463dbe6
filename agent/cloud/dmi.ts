/**
 * Which cloud this machine belongs to, by what its firmware says of itself (SMBIOS, as the kernel shows it). Costs no packet:
 * a machine on premises is told apart without waiting for a metadata service that is not there, and without asking a
 * stranger on its link who would answer as one.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { CloudName } from './port.ts'

export const dmiDirectory = '/sys/class/dmi/id'

const fields = [
  'sys_vendor',
  'product_name',
  'board_vendor',
  'bios_vendor',
  'bios_version',
  'chassis_asset_tag',
] as const

export type Dmi = Readonly<Record<(typeof fields)[number], string>>

/** What can be read; empty where the machine has no such field, or no SMBIOS at all. */
export async function readDmi(directory: string = dmiDirectory): Promise<Dmi> {
  const values = await Promise.all(
    fields.map((field) =>
      readFile(path.join(directory, field), 'utf8').then(
        (text) => text.trim(),
        () => '', // not there, or not for us: as good as silent
      ),
    ),
  )
  return Object.fromEntries(fields.map((field, i) => [field, values[i] ?? ''])) as Dmi
}

/** "MSFT AZURE VM", as decimal ASCII codes. Hyper-V elsewhere has another tag. */
const azureTag = '7783-7084-3265-9085-8269-3286-77'

/** Undefined: on premises, or a cloud whose metadata service is not known here. */
export function cloudOf(dmi: Dmi): CloudName | undefined {
  if ([dmi.sys_vendor, dmi.board_vendor, dmi.bios_vendor].includes('Amazon EC2')) return 'aws'
  // Instances on Xen, such as t2, name their hypervisor's version only: 4.11.amazon.
  if (dmi.bios_vendor === 'Xen' && /amazon/i.test(dmi.bios_version)) return 'aws'
  if (dmi.chassis_asset_tag === azureTag) return 'azure'
  // Google builds laptops, too.
  if (dmi.sys_vendor === 'Google' && /^Google( Compute Engine)?$/.test(dmi.product_name)) return 'gcp'
  return undefined
}
