import { spawn } from 'node:child_process'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

/** Runs the sync backend beside the page, on a port of its own, until Vite ends. */
const syncBackend: Plugin = {
  name: 'sync-backend',
  configureServer({ httpServer }) {
    const command = ['dev', '--port', process.env['SYNC_PORT'] ?? '8787']
    const wrangler = spawn('./node_modules/.bin/wrangler', command, { stdio: ['ignore', 'inherit', 'inherit'] })
    httpServer?.once('close', () => wrangler.kill())
  },
}

export default defineConfig({
  server: { port: 60_001, fs: { strict: false } },
  worker: { format: 'es' },
  optimizeDeps: {
    // As LiveStore's devtools plugin has it.
    exclude: ['@livestore/wa-sqlite'],
    // What Vite would find out by itself, by loading the page again each time.
    entries: [
      'index.html',
      'src/livestore.worker.ts',
      'node_modules/@livestore/adapter-web/dist/web-worker/shared-worker/make-shared-worker.js',
    ],
  },
  plugins: [react(), syncBackend],
})
