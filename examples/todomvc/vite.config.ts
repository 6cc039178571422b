import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { shared } from '../todomvc-shared/vite.ts'

export default defineConfig({
  ...shared,
  plugins: [react()],
  server: { ...shared.server, port: 60_001 },
})
