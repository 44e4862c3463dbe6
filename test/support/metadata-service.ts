/**
 * A metadata service as a program, for a machine of the lab: `metadata-service.js FILE` answers as EC2's at the address that
 * agents ask, with what the file says of the instance at that moment. The machine must hold the address.
 */
import { readFileSync } from 'node:fs'
import { metadataAddress } from '../../agent/cloud/metadata-http.ts'
import { awsService, MetadataServer } from './metadata-server.ts'
import type { AwsPaths } from './metadata-server.ts'

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('usage: metadata-service.js FILE')
await MetadataServer.listen(
  (request) => awsService(JSON.parse(readFileSync(file, 'utf8')) as AwsPaths)(request),
  metadataAddress,
  80,
)
process.stdout.write('ready\n')
