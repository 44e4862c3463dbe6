/**
 * `linkspan registry roles`: what to tell etcd so that its users protect the registry's order, as lines of etcdctl for
 * whoever administers it. Nothing is asked and nothing is changed here: etcd's root password is none of our business.
 */
import { LinkspanError } from '../errors.ts'
import { namePattern } from '../model/fabric.ts'
import { nameRule } from '../trust/payload.ts'
import { authorityRole, gatewayRoles, registryRoles, userOf } from '../registry/etcd-role.ts'
import { print } from './output.ts'
import { sourceOf } from './registry-command.ts'
import type { RegistryOptions } from './registry-command.ts'
import { registryText } from './registry-driver.ts'

export interface RolesOptions extends RegistryOptions {
  readonly gateways: readonly string[] | undefined
  /** False: `--no-password`. */
  readonly password: boolean
}

/** Without gateways: what a registry needs once. Throws `usage`. */
export async function printRoles(options: RolesOptions): Promise<void> {
  const { gateways = [], password } = options
  const of = await sourceOf(options)
  if (of.kind !== 'etcd') {
    const reason = 'only etcd has users and roles'
    const next = 'who may write to a directory, its file system decides'
    throw new LinkspanError({ code: 'usage', object: registryText(of), reason, next })
  }
  const strange = gateways.find((name) => !namePattern.test(name))
  if (strange !== undefined)
    throw new LinkspanError({ code: 'usage', object: strange, reason: `expected ${nameRule}` })
  const { prefix } = of
  const commands =
    gateways.length === 0
      ? registryRoles(prefix)
      : gateways.flatMap((name) => [userOf(name, password), ...gatewayRoles(prefix, name)])
  const lines = commands.map((words) => ['etcdctl', ...words].join(' '))
  const remarks =
    gateways.length === 0
      ? [
          `# whoever runs linkspan ca: etcdctl user grant-role USER ${authorityRole(prefix)}`,
          '# each gateway: linkspan registry roles GATEWAY...; then, with a user root: etcdctl auth enable',
        ]
      : []
  print(options, { registry: registryText(of), commands }, [...lines, ...remarks].join('\n'))
}
