import t from 'tap'
import { RegistryAddresses } from '../../../agent/daemon/registry-address.ts'
import { address } from '../../../agent/model/prefix.ts'

void t.test('of more addresses than any name has the ones used last stay', (t) => {
  const addresses = new RegistryAddresses()
  let news = 0
  addresses.onNew(() => news++)
  const nth = (n: number): ReturnType<typeof address> => address(`192.0.2.${n}`)
  for (let n = 1; n <= 64; n++) addresses.add(nth(n))
  addresses.add(nth(1))
  t.equal(news, 64, 'one that is known is no news')
  addresses.add(nth(65))
  t.equal(addresses.all.length, 64)
  t.ok(addresses.all.includes(nth(1)), 'used again')
  t.notOk(addresses.all.includes(nth(2)))
  t.ok(addresses.all.includes(nth(65)))
  t.end()
})
