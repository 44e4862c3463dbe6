/**
 * `linkspan registry`: what is in a registry and what the gateways make of it, and documents put there and taken away by
 * hand. None of it needs a key: who may write decides what arrives, and nothing more.
 *
 * The table is here; each command is a file of its own, loaded when it runs.
 */
import type { Argv, CommandModule } from 'yargs'
import { repeatable } from './ca-option.ts'
import { withJudgement, withRegistry } from './registry-command.ts'
import type { JudgingOptions } from './registry-command.ts'
import type { BundleOptions } from './registry-bundle.ts'
import type { PutOptions } from './registry-put.ts'
import type { RemoveOptions } from './registry-remove.ts'
import type { RolesOptions } from './registry-roles.ts'
import type { SchemaOptions } from './registry-schema.ts'

const listCommand: CommandModule<object, JudgingOptions> = {
  command: 'list',
  describe: 'Gateways, and what is refused (then exit code 3) or unreadable (1)',
  builder: withJudgement,
  handler: async (options) => (await import('./registry-list.ts')).listRegistry(options),
}

const verifyCommand: CommandModule<object, JudgingOptions> = {
  command: 'verify',
  describe: 'Every document and whether it is in force; exit code 1 where one is not',
  builder: withJudgement,
  handler: async (options) => (await import('./registry-verify.ts')).verifyRegistry(options),
}

const putCommand: CommandModule<object, PutOptions> = {
  command: 'put <files..>',
  describe: 'Put signed documents into their places; what gateways would refuse is refused',
  builder: (yargs) =>
    repeatable(withJudgement(yargs), ['files']).positional('files', {
      type: 'string',
      array: true,
      demandOption: true,
      describe: 'Signed documents',
    }),
  handler: async (options) => (await import('./registry-put.ts')).putDocuments(options),
}

const removeCommand: CommandModule<object, RemoveOptions> = {
  command: 'remove <places..>',
  describe: 'Take documents away; gateways that know them keep them',
  builder: (yargs) =>
    repeatable(withRegistry(yargs), ['places']).positional('places', {
      type: 'string',
      array: true,
      demandOption: true,
      describe: 'As verify shows them: records/aws-a',
    }),
  handler: async (options) => (await import('./registry-remove.ts')).removeDocuments(options),
}

const bundleCommand: CommandModule<object, BundleOptions> = {
  command: 'bundle <out>',
  describe: 'Write all there is into one file, for https: registries',
  builder: (yargs) =>
    withRegistry(yargs).positional('out', { type: 'string', demandOption: true, describe: 'The file' }),
  handler: async (options) => (await import('./registry-bundle.ts')).writeBundle(options),
}

const watchCommand: CommandModule<object, JudgingOptions> = {
  command: 'watch',
  describe: 'A line for every change, until Ctrl-C',
  builder: withJudgement,
  handler: async (options) => (await import('./registry-watch.ts')).watchRegistry(options),
}

const rolesCommand: CommandModule<object, RolesOptions> = {
  command: 'roles [gateways..]',
  describe: "Lines of etcdctl for etcd's users and roles: the registry's, or those of gateways",
  builder: (yargs) =>
    repeatable(withRegistry(yargs), ['gateways'])
      .positional('gateways', { type: 'string', array: true, describe: 'Their names, which are their users' })
      .option('password', {
        type: 'boolean',
        default: true,
        describe: '--no-password: etcd knows gateways by their client certificates',
      }),
  handler: async (options) => (await import('./registry-roles.ts')).printRoles(options),
}

const schemaCommand: CommandModule<object, SchemaOptions> = {
  command: 'schema [type]',
  describe: 'JSON Schema of a document or of config.yml; without a type, of all',
  builder: (yargs) =>
    yargs.positional('type', {
      type: 'string',
      describe: 'fabric, certificate, record, … or config',
    }) as Argv<SchemaOptions>,
  handler: async (options) => {
    ;(await import('./registry-schema.ts')).printSchema(options)
  },
}

export const registryCommand: CommandModule = {
  command: 'registry <command>',
  describe: 'Work on a registry',
  builder: (yargs) =>
    yargs
      .command(listCommand)
      .command(verifyCommand)
      .command(putCommand)
      .command(removeCommand)
      .command(bundleCommand)
      .command(watchCommand)
      .command(rolesCommand)
      .command(schemaCommand)
      .demandCommand(1, 'Which registry command?'),
  handler: () => {
    // One of the commands above does the work.
  },
}
