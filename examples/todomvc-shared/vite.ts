/** Vite's settings that both apps share. */
export const shared = {
  // LiveStore's workers are modules, which import others.
  worker: { format: 'es' as const },
  // The SQLite build finds its .wasm file beside itself.
  optimizeDeps: { exclude: ['@livestore/wa-sqlite'] },
  // Files in todomvc-shared use the packages of the app that imports them.
  resolve: { dedupe: ['react', 'react-dom', '@livestore/livestore'] },
  server: { fs: { allow: ['..'] } },
}
