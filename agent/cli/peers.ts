/** `linkspan peers`: one line a peer and underlay, and below them why one is not simply up. */
import type { CommandModule } from 'yargs'
import type { PeerView } from '../daemon/peer-view.ts'
import { ask } from './client.ts'
import { withJson, withRunDirectory } from './option.ts'
import type { JsonOption, RunDirectoryOption } from './option.ts'
import { formatPeers, peerProblems } from './status.ts'

export const peersCommand: CommandModule<object, JsonOption & RunDirectoryOption> = {
  command: 'peers',
  describe: 'Peers with endpoint, handshake and traffic',
  builder: (yargs) => withRunDirectory(withJson(yargs)),
  handler: async (options) => {
    const answer = (await ask(options['run-directory'], '/peers')) as { readonly peers: readonly PeerView[] }
    const text = options.json ? [JSON.stringify(answer)] : lines(answer.peers)
    process.stdout.write(`${text.join('\n')}\n`)
  },
}

function lines(peers: readonly PeerView[]): readonly string[] {
  const problems = peerProblems(peers)
  return [...formatPeers(peers, Date.now() / 1000), ...(problems.length === 0 ? [] : ['', ...problems])]
}
