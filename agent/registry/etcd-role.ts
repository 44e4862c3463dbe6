/**
 * Who may write what in etcd, as arguments of etcdctl; `linkspan registry roles` prints them. Documents are signed, so etcd's users protect nothing but the
 * registry's order: a gateway that was broken into can replace its own record and nobody else's, and cannot fill the
 * registry under other names.
 *
 *     role <label>-read            all documents, for every gateway
 *     role <label>-authority       all documents, to write: for whoever runs `linkspan ca`
 *     role <label>-gateway-<name>  what this gateway says of itself
 *
 * A user is a gateway's name: with a password (`etcdctl user add NAME`, which asks for it), or without, and then etcd takes
 * the common name of the client certificate (--client-cert-auth). All of it counts after `etcdctl auth enable`.
 */

/** What a gateway writes of itself: below each of these, the key of its name. */
const ownTypes = ['records', 'requests', 'claims']

/** Roles of a registry, once. */
export function registryRoles(prefix: string): readonly (readonly string[])[] {
  const below = [`${prefix}/`, '--prefix=true']
  return [
    ['role', 'add', readRole(prefix)],
    ['role', 'grant-permission', readRole(prefix), 'read', ...below],
    ['role', 'add', authorityRole(prefix)],
    ['role', 'grant-permission', authorityRole(prefix), 'readwrite', ...below],
  ]
}

/** The user of a gateway. With a password etcdctl asks for it; without one etcd takes a client certificate. */
export function userOf(gateway: string, hasPassword: boolean): readonly string[] {
  return ['user', 'add', gateway, ...(hasPassword ? [] : ['--no-password'])]
}

/** The role of one gateway, and its user's roles; after the user itself. */
export function gatewayRoles(prefix: string, gateway: string): readonly (readonly string[])[] {
  const role = `${labelOf(prefix)}-gateway-${gateway}`
  return [
    ['role', 'add', role],
    ...ownTypes.map((type) => [
      'role',
      'grant-permission',
      role,
      'readwrite',
      `${prefix}/${type}/${gateway}`,
    ]),
    ['user', 'grant-role', gateway, role],
    ['user', 'grant-role', gateway, readRole(prefix)],
  ]
}

export function readRole(prefix: string): string {
  return `${labelOf(prefix)}-read`
}

export function authorityRole(prefix: string): string {
  return `${labelOf(prefix)}-authority`
}

/** `/linkspan/prod` is `linkspan-prod`. */
function labelOf(prefix: string): string {
  return prefix.slice(1).replaceAll('/', '-')
}
