import { cloudflare } from '@cloudflare/vite-plugin'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

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
  plugins: [react(), cloudflare()],
})
