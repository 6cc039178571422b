interface ImportMetaEnv {
  readonly VITE_LIVESTORE_SYNC_URL: string
}
