import t from 'tap'
import { bundleUrl, shownUrl } from '../../../agent/registry/https-url.ts'

void t.test('URLs of bundles', (t) => {
  for (const text of [
    'https://registry.example/fabric.bundle',
    'HTTPS://Registry.example:8443/',
    'https://registry.example',
    'https://192.0.2.1/bundle',
    'https://[2001:db8::1]:443/bundle',
    'https://bücher.example/bundle',
    'https://account.blob.example/c/bundle?sv=1&sig=a%2Fb',
    'https://registry.example/a@b',
  ]) {
    t.ok('url' in bundleUrl(text), text)
  }
  for (const text of [
    '',
    'registry.example/bundle',
    'http://registry.example/bundle',
    'file:///etc/passwd',
    'https:registry.example/bundle',
    'https:/registry.example/bundle',
    'https:///bundle',
    'https://?a',
    'https://registry.example:70000/',
    'https://registry.example\\@evil.example/',
    'https://registry.example/a b',
    'https://registry.example/\nb',
    'https://registry.example/\0',
    ' https://registry.example/',
    'https://registry.example/bundle#part',
    'https://[::1/',
    'https://256.1.1.1/',
  ]) {
    t.ok('malformed' in bundleUrl(text), JSON.stringify(text))
  }
  for (const text of [
    'https://user:secret@registry.example/',
    'https://user@registry.example/',
    'https://@h/',
  ]) {
    const parsed = bundleUrl(text)
    t.match(parsed, { malformed: /user or password/ })
    t.notMatch(JSON.stringify(parsed), /secret/)
  }
  t.end()
})

void t.test('messages hold no query', (t) => {
  t.equal(shownUrl(new URL('https://h:8443/a/b?sig=secret')), 'https://h:8443/a/b?…')
  t.equal(shownUrl(new URL('https://h/a')), 'https://h/a')
  t.end()
})
