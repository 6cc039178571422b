/** Vite's settings for an app of LiveStore. */
export const shared = {
  // LiveStore's workers are modules, which import others.
  worker: { format: 'es' as const },
  optimizeDeps: {
    // The SQLite build finds its .wasm file beside itself.
    exclude: ['@livestore/wa-sqlite'],
    // What the workers import is bundled before the page is served, which would have to be loaded again otherwise.
    entries: [
      'index.html',
      'src/livestore.worker.ts',
      'node_modules/@livestore/adapter-web/dist/web-worker/shared-worker/make-shared-worker.js',
    ],
  },
  // Files in this folder use the packages of the app that imports them.
  resolve: { dedupe: ['react', 'react-dom', '@livestore/livestore'] },
  // What may be served: the app, and this folder.
  server: { fs: { allow: ['.', '../todomvc-shared/'] } },
}

/** Ends a build that has not been told where its page syncs. */
export const needsSyncUrl = {
  name: 'needs-sync-url',
  configResolved: ({ env }: { readonly env: Readonly<Record<string, unknown>> }): void => {
    if (!env['VITE_LIVESTORE_SYNC_URL'])
      throw new Error('VITE_LIVESTORE_SYNC_URL must be the address of the sync backend')
  },
}
