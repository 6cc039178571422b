/** Vite's command line in a project: its development server, its build, and the preview of that. */
import { createServer } from 'node:net'
import type { Project, Running } from './project.ts'

export const vite = 'vite/bin/vite.js'

/** A port that nothing listens on. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })

/** Starts the development server, or what `command` says. */
export const serve = async (project: Project, ...command: readonly string[]): Promise<Running> => {
  const port = String(await freePort())
  const args = [...command, '--host', '127.0.0.1', '--port', port, '--strictPort']
  return project.serve(vite, args, /Local:\s+(http:\/\/[\w.]+:\d+)/)
}
