/**
 * `linkspan ca`: the authority of a fabric, on the command line. Its key says who belongs to the fabric and who may announce
 * which prefixes, so these commands run where that key is kept, which is on no gateway.
 *
 * The table is here; each command is a file of its own, loaded when it runs.
 */
import type { Argv, CommandModule } from 'yargs'
import { repeatable, withCa, withGrants, withKeyMaking, withSigning } from './ca-option.ts'
import type { CaOptions } from './ca-option.ts'
import type { FabricOptions } from './ca-fabric.ts'
import type { InitOptions } from './ca-init.ts'
import type { IssueOptions } from './ca-issue.ts'
import type { RemoveOptions } from './ca-remove.ts'
import type { RenewOptions } from './ca-renew.ts'
import type { RevokeOptions } from './ca-revoke.ts'
import type { RolloverOptions } from './ca-rollover.ts'
import type { VoucherOptions } from './ca-voucher.ts'

const initCommand: CommandModule<object, InitOptions> = {
  command: 'init <fabric>',
  describe: 'Make the authority of a new fabric: its key, and the line for config.yml',
  builder: (yargs) =>
    withKeyMaking(yargs).positional('fabric', {
      type: 'string',
      demandOption: true,
      describe: 'Name of the fabric',
    }),
  handler: async (options) => (await import('./ca-init.ts')).initAuthority(options),
}

const fabricCommand: CommandModule<object, FabricOptions> = {
  command: 'fabric [file]',
  describe: 'Sign the fabric document from a YAML file; without one, anew as it is',
  builder: (yargs) =>
    withSigning(yargs).positional('file', { type: 'string', describe: 'YAML file' }).option('fresh-days', {
      type: 'string',
      requiresArg: true,
      default: '90',
      describe: 'After so many days without another one gateways raise an alarm',
    }) as Argv<FabricOptions>,
  handler: async (options) => (await import('./ca-fabric.ts')).issueFabric(options),
}

const issueCommand: CommandModule<object, IssueOptions> = {
  command: 'issue <request>',
  describe: 'Certify a gateway from its request',
  builder: (yargs) =>
    withGrants(withSigning(yargs), ', in place of the requested')
      .positional('request', {
        type: 'string',
        demandOption: true,
        describe: 'A gateway that asked, a request file, or - for the line that the agent prints',
      })
      .option('identity', {
        type: 'string',
        requiresArg: true,
        describe: 'Only a request by this key, as `linkspan keys show` shows it',
      })
      .option('replace', {
        type: 'boolean',
        default: false,
        describe: 'It has a certificate and gets a new one, for a new identity where it was reinstalled',
      }),
  handler: async (options) => (await import('./ca-issue.ts')).issueCertificate(options),
}

const voucherCommand: CommandModule<object, VoucherOptions> = {
  command: 'voucher <gateway>',
  describe: 'Certify a gateway that does not exist yet, by a one-time key that cloud-init gives to it',
  builder: (yargs) =>
    withGrants(withSigning(yargs))
      .positional('gateway', { type: 'string', demandOption: true, describe: 'Its name' })
      .option('site', { type: 'string', requiresArg: true, demandOption: true, describe: 'Its site' })
      .option('provider', {
        type: 'string',
        requiresArg: true,
        describe: "The site's provider (default: as its other gateways have it)",
      })
      .option('region', { type: 'string', requiresArg: true, describe: "The site's region, likewise" })
      .option('hours', {
        type: 'string',
        requiresArg: true,
        default: '24',
        describe: 'How long it can be claimed, 1-24',
      })
      .option('replace', {
        type: 'boolean',
        default: false,
        describe: 'It has a voucher: that one, and who claimed it, counts no longer',
      })
      .option('out', {
        type: 'string',
        requiresArg: true,
        describe: 'Where the key goes (default: GATEWAY.voucher), a new file for its owner alone',
      })
      .option('stdout', {
        type: 'boolean',
        default: false,
        describe: 'The key goes to stdout, and into no file',
      }),
  handler: async (options) => (await import('./ca-voucher.ts')).issueVoucher(options),
}

const renewCommand: CommandModule<object, RenewOptions> = {
  command: 'renew [gateways..]',
  describe: 'Certificates with the same grants and new dates; gateways find them by themselves',
  builder: (yargs) =>
    repeatable(withSigning(yargs), ['gateways'])
      .positional('gateways', { type: 'string', array: true, describe: 'Whose' })
      .option('all', {
        type: 'boolean',
        default: false,
        describe: 'All that are in force, and the fabric document where it is due',
      })
      .option('within', {
        type: 'string',
        requiresArg: true,
        describe: 'With --all: only what ends within so many days, or is signed by an older key',
      })
      .option('days', {
        type: 'string',
        requiresArg: true,
        describe: 'Valid for so many days (default: as long as before)',
      }),
  handler: async (options) => (await import('./ca-renew.ts')).renewCertificates(options),
}

const revokeCommand: CommandModule<object, RevokeOptions> = {
  command: 'revoke [gateway]',
  describe: 'A key or certificate that must not count any more; for good',
  builder: (yargs) =>
    withSigning(yargs)
      .positional('gateway', { type: 'string', describe: 'Its identity key, with all certificates of it' })
      .option('serial', { type: 'string', requiresArg: true, describe: 'One certificate' })
      .option('identity', {
        type: 'string',
        requiresArg: true,
        describe: 'An identity key',
      }),
  handler: async (options) => (await import('./ca-revoke.ts')).revoke(options),
}

const removeCommand: CommandModule<object, RemoveOptions> = {
  command: 'remove <gateway>',
  describe: 'A gateway that is gone: all others drop it',
  builder: (yargs) =>
    withSigning(yargs)
      .positional('gateway', { type: 'string', demandOption: true, describe: 'Its name' })
      .option('undo', { type: 'boolean', default: false, describe: 'It is back' }),
  handler: async (options) => (await import('./ca-remove.ts')).remove(options),
}

const rolloverCommand: CommandModule<object, RolloverOptions> = {
  command: 'rollover',
  describe: 'Another key for the authority',
  builder: (yargs) =>
    withKeyMaking(yargs)
      .option('next-passphrase-file', {
        type: 'string',
        requiresArg: true,
        describe: 'As --passphrase-file, for the new key (default: the same)',
      })
      .option('finish', {
        type: 'boolean',
        default: false,
        describe: 'Retire the old key, when nothing in force is signed by it',
      }) as Argv<RolloverOptions>,
  handler: async (options) => (await import('./ca-rollover.ts')).rollOver(options),
}

const showCommand: CommandModule<object, CaOptions> = {
  command: 'show',
  describe: 'Key, numbers, certificates and what is due (then exit code 3)',
  builder: withCa,
  handler: async (options) => (await import('./ca-show.ts')).showAuthority(options),
}

export const caCommand: CommandModule = {
  command: 'ca <command>',
  describe: 'The authority of a fabric',
  builder: (yargs) =>
    yargs
      .command(initCommand)
      .command(fabricCommand)
      .command(issueCommand)
      .command(voucherCommand)
      .command(renewCommand)
      .command(revokeCommand)
      .command(removeCommand)
      .command(rolloverCommand)
      .command(showCommand)
      .demandCommand(1, 'Which command of the authority?'),
  handler: () => {
    // One of the commands above does the work.
  },
}
