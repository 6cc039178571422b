/**
 * What doctor finds: one type, and the codes that there are. docs/doctor.md lists them; scripts may go by them.
 */

/** An error keeps clients from syncing or endangers data, a warning may, a note is to be known. */
export type Severity = 'error' | 'warning' | 'note'

interface Kind {
  readonly severity: Severity
  /** Why it matters. */
  readonly why: string
}

const error = (why: string): Kind => ({ severity: 'error', why })
const warning = (why: string): Kind => ({ severity: 'warning', why })
const note = (why: string): Kind => ({ severity: 'note', why })

export const kinds = {
  // The wrangler configuration
  'config-missing': error('Without a configuration wrangler neither runs nor deploys a Worker.'),
  'config-unreadable': error(
    'wrangler refuses a configuration that it cannot read, and so nothing else could be checked.',
  ),
  'config-shadowed': warning('wrangler reads one file and ignores the others: what is changed there has no effect.'),
  'main-missing': error('There is no Worker to run or to deploy.'),
  'compatibility-date-missing': error('wrangler deploys no Worker without one.'),
  'compatibility-date-old': warning(
    'The package is tested from 2025-05-08 on. What older runtimes do differently is not known.',
  ),
  'migrations-and-exports': error('Classes are declared by one or the other: wrangler refuses both at once.'),
  'observability-query': warning(
    'Clients carry their tokens in the query of the URL, which is kept in logs and traces.',
  ),
  'code-update-immediate': warning(
    'Each deployment closes every socket at once, and all clients come back at the same time.',
  ),
  'assets-first': warning(
    'Requests to sync that go to a path of static assets are answered by those, and the Worker is not asked.',
  ),

  // The Durable Object
  'binding-missing': error('The Worker finds no objects and answers every client with 424.'),
  'environment-binding-missing': error(
    'Environments do not inherit bindings: deployed, it answers every client with 424.',
  ),
  'environment-not-inherited': warning('Environments do not inherit it: deployed, this one goes without.'),
  'class-key-value': error(
    'Objects of such a class have no SQLite, and never get it once deployed: clients are answered 503.',
  ),
  'class-undeclared': error('Cloudflare makes no objects of a class that is not declared, and refuses the deployment.'),
  'class-not-exported': error(
    'wrangler and Cloudflare refuse a binding to a class that the main module does not export.',
  ),

  // D1
  'database-missing': note(
    'Events lie in one place alone. Bound as DB, a D1 database gets a copy of all within seconds.',
  ),
  'database-elsewhere': note(
    'Logs that sync-cf kept in D1 are looked for in DB alone. If they are in another database, each store waits, or begins anew.',
  ),
  'database-placeholder': warning(
    'There is no database of this id, so the deployment fails. On this machine it is enough.',
  ),
  'migrations-folder-missing': warning(
    '`wrangler d1 migrations apply` fails. The first copy makes the tables as well.',
  ),
  'migrations-outdated': warning('Migrations that were copied from the package lack what it has by now.'),

  // Variables and secrets
  'variable-invalid': error('The Worker answers every client with a 500 that says the same.'),
  'variable-warning': warning(
    'The Worker itself says so: it takes the variable for something else, or what it says is seldom meant.',
  ),
  'variable-unknown': warning('Nothing reads it, and the variable that may have been meant has its default.'),
  'secret-in-variables': warning('Whoever reads the file has the secret, and wrangler uploads it as a plain variable.'),
  'secret-default': error(
    'Everybody knows it. As a token it is refused once deployed; as a secret it lets anybody in.',
  ),
  'secret-weak': warning('It can be guessed. `openssl rand -base64 32` makes one that cannot.'),
  anonymous: warning('Whoever knows or guesses the id of a store reads and writes it.'),
  'policy-missing-here': warning('Nobody can sync with `wrangler dev`: it answers 503 until something says who may.'),
  'secrets-to-set': note('Secrets of a deployment are not in this folder, so whether they are set is not known here.'),

  // Packages
  'backend-missing': warning('Nothing in this folder serves clients of LiveStore with this backend.'),
  'backend-not-switched': warning('The Worker is still that of sync-cf.'),
  'backends-mixed': error(
    'Both keep the same tables, each with a memory of its own: objects of both must not be one class.',
  ),
  'backend-not-installed': error('The import fails, so the Worker is not built.'),
  'livestore-versions': error(
    'Packages of LiveStore fit together in one version only: stores fail to open, or never sync.',
  ),
  'livestore-not-installed': warning('What is installed is not what package.json says.'),
  'livestore-generation': note('Each generation is answered in its own words, also on one store.'),
  'livestore-development': warning(
    'Releases before 0.4.0-dev.23 read errors of another shape: they sync, but a refusal ends their pushes.',
  ),
  'livestore-unknown': warning('Clients of this release are not known to sync with this backend.'),

  // Tokens, origins, stores
  'token-refused': error('A client with this token does not get in.'),
  'token-unknown': note('What decides about tokens is not in this folder. With --url the deployment is asked.'),
  'origin-refused': error('A browser lets no page of this origin sync, and shows its user nothing of it.'),
  'store-id-long': warning(
    'Cloudflare tells an object no name of more than 1,024 bytes: code of yours that goes by ctx.id.name finds none.',
  ),
  'store-id-refused': error('The Worker refuses such a store with 400.'),

  // A deployment
  'url-unreachable': error('Clients do not get there either.'),
  'url-other': error('Clients would talk to something that is not this backend.'),
  'sync-refused': error('Clients of this generation are answered the same, and try again for ever.'),
  'preflight-refused': error('Clients over HTTP ask by a preflight, and a browser goes no further.'),
  'store-not-asked': note(
    'Without a store only the Worker was asked, and no object: a class without SQLite does not show.',
  ),
  'admin-refused': error('Nobody with this secret can look into a store or restore one.'),
  'admin-off': note('There is no way to look into a store, to export or to restore one.'),
  'deployed-warning': warning('The deployment says this of its own variables.'),
  'deployed-version': warning('What is tried here is not what runs there.'),
} as const satisfies Readonly<Record<string, Kind>>

export type Code = keyof typeof kinds

export interface Place {
  /** From the folder, with `/`. */
  readonly file: string
  readonly line?: number
}

export interface Finding extends Partial<Place> {
  readonly code: Code
  readonly severity: Severity
  /** What is wrong. */
  readonly message: string
  readonly why: string
  /** What to type or to change. */
  readonly fix: string
}

export const finding = (code: Code, message: string, fix: string, place?: Place): Finding => ({
  code,
  severity: kinds[code].severity,
  ...place,
  message,
  why: kinds[code].why,
  fix,
})
