/** The container and the scripts install the same programs for the agent to run, and all that comes with linkspan. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { repository } from '../support/repository.ts'

const read = (file: string): string => readFileSync(path.join(repository, file), 'utf8')

/** The first line of the list in scripts/lib/prepare.sh: what the agent needs on a gateway. */
function neededByAgent(script: string): readonly string[] {
  const line = /^packages=\(\n(.*)\n/m.exec(script)?.[1] ?? ''
  return line.trim().split(/\s+/)
}

/** Packages of the last stage: that is the container people run. */
function installed(dockerfile: string): readonly string[] {
  const stage = dockerfile.split(/^FROM /m).at(-1) ?? ''
  return [...stage.replaceAll('\\\n', ' ').matchAll(/apt-get install ([^&|;\n]*)/g)].flatMap(([, words]) =>
    (words ?? '').split(/\s+/).filter((word) => word !== '' && !word.startsWith('-')),
  )
}

void t.test('the container holds what the agent runs', (t) => {
  const needed = neededByAgent(read('scripts/lib/prepare.sh'))
  t.ok(needed.includes('wireguard-tools') && needed.includes('nftables'), needed.join(' '))
  t.same(installed(read('Dockerfile')).toSorted(), needed.toSorted())
  t.end()
})

void t.test('every program for hooks is installed, and comes with an example of its configuration', (t) => {
  const sources = readdirSync(path.join(repository, 'agent/hook')).map((file) => path.basename(file, '.ts'))
  const programs = sources.filter((name) => read(`agent/hook/${name}.ts`).startsWith('#!'))
  t.ok(programs.includes('aws-route-table'), programs.join(' '))
  const links = [
    ...read('Dockerfile').matchAll(/ln -s \.\.\/dist\/agent\/hook\/([\w-]+)\.js hooks\/([\w-]+)/g),
  ]
  t.same(links.map(([, file]) => file).toSorted(), programs.toSorted())
  t.same(
    links.map(([, file]) => file),
    links.map(([, , name]) => name),
  )
  const examples = readdirSync(path.join(repository, 'packaging/hooks'))
  t.same(examples.toSorted(), programs.map((name) => `${name}.yml`).toSorted())
  t.end()
})

void t.test('control: a package that is missing is seen', (t) => {
  const dockerfile = read('Dockerfile').replace(/ nftables(?= )/, '')
  t.notOk(installed(dockerfile).includes('nftables'))
  t.same(installed('FROM a\nRUN apt-get install x\nFROM b\nRUN apt-get install -y \\\n  y z && rm w\n'), [
    'y',
    'z',
  ])
  t.end()
})
