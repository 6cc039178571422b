import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { needsSyncUrl, shared } from '../todomvc-shared/vite.ts'

export default defineConfig({
  ...shared,
  plugins: [react(), needsSyncUrl],
  server: { ...shared.server, port: 60_003 },
})
