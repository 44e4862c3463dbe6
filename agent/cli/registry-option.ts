/**
 * `--registry`: a directory, a URL, or a YAML file that has `registry:` as config.yml does, for a registry that asks for
 * certificates or a password. A gateway's own config.yml is such a file, too.
 */
import { resolve } from 'node:path'
import { z } from 'zod'
import { LinkspanError } from '../errors.ts'
import type { RegistryConfig } from '../model/config.ts'
import type { Name } from '../model/fabric.ts'
import { problemsOf } from './config.ts'
import { registry } from './registry-config.ts'
import type { RegistryOf } from './registry-config.ts'
import { YamlFile } from './yaml.ts'

export interface RegistryOption {
  /** What it is of a fabric; etcd's keys begin with the fabric's name where nothing else is given. */
  readonly of: RegistryOf
  /** The same again, wherever it is said: paths are absolute. */
  readonly text: string
}

const next =
  'give a directory, file:///DIRECTORY, etcd://HOST:2379, or a YAML file with registry: as in config.yml'

/** Throws `usage` and `config-invalid`. */
export async function registryOption(given: string): Promise<RegistryOption> {
  if (/^[a-z][a-z0-9+.-]*:/i.test(given)) {
    const parsed = registry.safeParse(given)
    if (parsed.success) return { of: parsed.data, text: given }
    const [problem] = problemsOf(parsed.error.issues)
    const hint = problem?.hint ?? next
    throw new LinkspanError({
      code: 'usage',
      object: '--registry',
      reason: problem?.reason ?? 'is wrong',
      next: hint,
    })
  }
  const path = resolve(given)
  if (!/\.ya?ml$/.test(given)) return { of: () => ({ kind: 'file', directory: path }), text: path }
  const yaml = await YamlFile.read(path)
  const parsed = z.object({ registry }).safeParse(yaml.value)
  if (!parsed.success) throw yaml.error(problemsOf(parsed.error.issues))
  return { of: parsed.data.registry, text: path }
}

/** The registry of a fabric, where its name is known. Throws `usage` where it takes the name and nobody knows it. */
export function registryOf({ of }: RegistryOption, fabric: Name | undefined): RegistryConfig {
  const found = of(fabric ?? '')
  if (fabric !== undefined || found.kind !== 'etcd' || !found.prefix.endsWith('/')) return found
  const reason = 'which keys of this etcd are meant?'
  const hint = 'give a YAML file with registry: { url: …, prefix: /linkspan/FABRIC }'
  throw new LinkspanError({ code: 'usage', object: '--registry', reason, next: hint })
}
