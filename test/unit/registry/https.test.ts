import t from 'tap'
import { LinkspanError } from '../../../agent/errors.ts'
import { HttpsRegistry } from '../../../agent/registry/https.ts'
import type { HttpsRegistryOptions } from '../../../agent/registry/https.ts'

const url = 'https://registry.example/bundle'

function refusal(urls: readonly string[], options?: HttpsRegistryOptions): unknown {
  try {
    new HttpsRegistry(urls, options)
  } catch (error) {
    return error
  }
  return undefined
}

void t.test('settings that make no sense', (t) => {
  t.equal(refusal([url, 'https://mirror.example/bundle']), undefined)
  const cases: readonly [readonly string[], HttpsRegistryOptions, RegExp][] = [
    [[], {}, /has 0 URLs, expected 1 to 8/],
    [Array<string>(9).fill(url), {}, /has 9 URLs/],
    [[url, 'http://mirror.example/'], {}, /registry URL 2: is no URL such as/],
    [[url], { files: { key: '/key' } }, /certificate and key go together/],
    [[url], { files: { certificate: '/certificate' } }, /certificate and key go together/],
  ]
  for (const [urls, options, message] of cases) {
    const error = refusal(urls, options)
    t.ok(error instanceof LinkspanError)
    t.match(error, { code: 'config-invalid', message })
  }
  t.notMatch(String(refusal(['https://user:secret@registry.example/'])), /secret/)
  t.end()
})

void t.test('nothing is asked before its time, and it is read-only', async (t) => {
  let asked = 0
  const registry = new HttpsRegistry([url], {
    spreadMs: 1_000_000,
    random: () => 0.5,
    resolve: () => {
      asked++
      return Promise.resolve([])
    },
  })
  t.equal('publish' in registry, false)
  t.same(registry.mirrors, [{ url, isUsed: true }])
  const stop = new AbortController()
  const first = registry.watch(stop.signal)[Symbol.asyncIterator]().next()
  setTimeout(() => {
    stop.abort()
  }, 50)
  t.same(await first, { done: true, value: undefined })
  t.equal(asked, 0)
})

void t.test('a watch that begins when it is stopped already', async (t) => {
  const watch = new HttpsRegistry([url]).watch(AbortSignal.abort())
  t.same(await watch[Symbol.asyncIterator]().next(), { done: true, value: undefined })
})
