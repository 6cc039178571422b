/**
 * `doctor`: looks for what keeps a project's clients from syncing, in its folder and, with `--url`, at its deployment.
 *
 * Changes nothing. Exit codes beside those of every command: 3, there is an error among what was found.
 */
import { resolve } from 'node:path'
import { type Command, UsageError } from '../command.ts'
import { type Project, readProject } from '../project/project.ts'
import { origins, stores, tokens } from './checks/clients.ts'
import { configuration } from './checks/configuration.ts'
import { database } from './checks/database.ts'
import { deployment } from './checks/deployment.ts'
import { objects } from './checks/objects.ts'
import { packages } from './checks/packages.ts'
import { variables } from './checks/variables.ts'
import { loadCore } from './core.ts'
import type { Finding, Severity } from './finding.ts'
import { type Check, inspect, type Inspection } from './inspection.ts'

/** All that is looked at in a folder, in the order in which it is told. */
const checks: readonly Check[] = [configuration, objects, database, variables, packages, tokens, origins, stores]

/** The exit code of a project that clients cannot sync with. */
const exitCode = 3

export const doctor: Command = {
  operands: '[folder]',
  summary: 'looks for mistakes in a project, and in what it has deployed',
  flags: {
    url: { value: '<url>', help: 'asks this deployment too, at the address that clients are given' },
    origin: { value: '<origins>', help: 'pages that are to sync: https://app.example.com, several with commas' },
    store: { value: '<id>', help: 'a store: its id is checked, and with --url its object is asked' },
    json: { help: 'prints JSON for a program to read' },
  },
  run: async ({ operands: [folder, ...more], flags: { url, origin, store, json } }) => {
    if (more[0] !== undefined) throw new UsageError(`doctor: one folder at a time, not '${more[0]}' as well`)
    if (folder === '') throw new UsageError('doctor: which folder?')
    const target = typeof url === 'string' ? addressOf(url) : undefined
    const pages = typeof origin === 'string' ? originsOf(origin) : []
    const storeId = typeof store === 'string' ? store : undefined
    const token = variable('LIVESTORE_SYNC_TOKEN')

    // Who asks about a deployment alone need not stand in its project.
    const read = readProject(folder ?? '.')
    const isProject = read.configNames.length > 0 || read.manifest !== undefined
    const project = folder === undefined && target !== undefined && !isProject ? undefined : read
    const found: Finding[] = []
    if (project !== undefined)
      found.push(...(await lookedAt(project, { storeId, origins: pages, token, server: target })))
    if (target !== undefined)
      found.push(
        ...(await deployment({
          url: target,
          storeId,
          origins: pages,
          token,
          adminSecret: variable('LIVESTORE_ADMIN_SECRET'),
          project,
        })),
      )

    if (json === true)
      console.log(
        JSON.stringify({ folder: project?.folder ?? null, url: target?.href ?? null, findings: found }, undefined, 2),
      )
    else console.log(report(found, project, target))
    if (found.some(({ severity }) => severity === 'error')) process.exitCode = exitCode
  },
}

const variable = (name: string): string | undefined => process.env[name]?.trim() || undefined

/** The address of a deployment. A client may be given one of WebSockets as well. */
const addressOf = (text: string): URL => {
  const url = URL.canParse(text) ? new URL(text.replace(/^ws(s?):/, 'http$1:')) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new UsageError(`doctor: --url is an address such as https://sync.example.com, not '${text}'`)
  url.search = ''
  url.hash = ''
  return url
}

/** Origins as browsers send them. Those of shells are no http: `tauri://localhost`. */
const originsOf = (text: string): readonly string[] =>
  text
    .split(',')
    .map((one) => one.trim().replace(/\/$/, ''))
    .filter((one) => one !== '')
    .map((one) => {
      if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(one))
        throw new UsageError(`doctor: --origin is the origin of a page such as https://app.example.com, not '${one}'`)
      return one
    })

const lookedAt = async (
  project: Project,
  asked: Pick<Inspection, 'storeId' | 'origins' | 'token' | 'server'>,
): Promise<readonly Finding[]> => {
  const inspection = { ...inspect(project, asked), core: await loadCore() }
  const found: Finding[] = []
  for (const check of checks) found.push(...(await check(inspection)))
  // What environments inherit is said once.
  return [...new Map(found.map((one) => [JSON.stringify([one.code, one.file, one.line, one.message]), one])).values()]
}

const order: readonly Severity[] = ['error', 'warning', 'note']

/** What was found in words, the worst first. */
const report = (found: readonly Finding[], project: Project | undefined, url: URL | undefined): string => {
  const where = [project === undefined ? [] : [resolve(project.folder)], url === undefined ? [] : [url.href]]
    .flat()
    .join(' and ')
  const sorted = order.flatMap((severity) => found.filter((one) => one.severity === severity))
  const blocks = sorted.map(({ code, severity, file, line, message, why, fix }) => {
    const place = file === undefined ? '' : `  ${file}${line === undefined ? '' : `:${line}`}`
    return `${severity} ${code}${place}\n  ${message}\n  Why: ${why}\n  Do:  ${fix}`
  })
  const counts = order.flatMap((severity) => {
    const count = found.filter((one) => one.severity === severity).length
    return count === 0 ? [] : [`${count} ${severity}${count === 1 ? '' : 's'}`]
  })
  return [...blocks, `${where}: ${counts.length === 0 ? 'nothing found' : counts.join(', ')}`].join('\n\n')
}
