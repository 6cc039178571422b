/** package.json: this package beside what is there, and sync-cf away where nobody else imports it. */
import { packageName, packageVersion } from '../package.ts'
import { isTable, readConfig } from '../project/config-file.ts'
import { dependenciesOf, type Project } from '../project/project.ts'
import { eolOf } from './change.ts'
import { indentOf, withMember, withoutMember } from './json.ts'

const theirs = '@livestore/sync-cf'

/** What package.json is after the switch. `isTheirsUsed` tells whether sources still import sync-cf. */
export const switchedManifest = (project: Project, isTheirsUsed: boolean): string | undefined => {
  const { manifest } = project
  if (manifest === undefined) return
  let { text } = manifest
  const named = dependenciesOf(project)
  if (!named.some(({ name }) => name === packageName)) {
    const { dependencies } = manifest.value
    const version = JSON.stringify(packageVersion)
    if (isTable(dependencies)) {
      const names = Object.keys(dependencies)
      // npm keeps them in the order of their names; who has another order gets it at the end.
      const isSorted = names.every((name, at) => at === 0 || (names[at - 1] ?? '') < name)
      const index = isSorted ? names.filter((name) => name < packageName).length : names.length
      text = withMember(manifest, ['dependencies'], packageName, version, index)
    } else {
      const [eol, indent] = [eolOf(text), indentOf(text)]
      const value = `{${eol}${indent}${indent}${JSON.stringify(packageName)}: ${version}${eol}${indent}}`
      text = withMember(manifest, [], 'dependencies', value)
    }
  }
  if (!isTheirsUsed)
    for (const { path } of named.filter(({ name, path: [group] }) => name === theirs && group !== 'peerDependencies'))
      text = withoutMember(readConfig(manifest.name, text), path)
  // A text that is no JSON any more is found here, and not by npm.
  return readConfig(manifest.name, text).text
}
