/** Every variable that the Worker reads. `tests/package/doctor.test.ts` looks for those of docs/configuration.md among them. */
export const variableNames: readonly string[] = [
  ...['AUTH_TOKEN', 'JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWT_JWKS_URL', 'ALLOW_ANONYMOUS', 'ADMIN_SECRET', 'COOKIE_NAME'],
  ...[
    'JWT_ISSUER',
    'JWT_AUDIENCE',
    'JWT_STORE_CLAIM',
    'JWT_ACCESS_CLAIM',
    'JWT_GRACE_SECONDS',
    'ALLOWED_ORIGINS',
    'DEV_HOSTS',
  ],
  ...['SYNC_BINDING', 'MAX_EVENT_BYTES', 'MAX_BATCH_EVENTS', 'MAX_FRAME_BYTES', 'MAX_STORE_BYTES', 'MAX_CONNECTIONS'],
  ...['PUSH_RATE', 'BACKUP', 'BACKUP_DELAY_SECONDS', 'COMPACT_AFTER_DAYS', 'RESTORE_EMPTY', 'ADOPT_D1', 'TTL_DAYS'],
  ...['ENABLED_TRANSPORTS', 'EVENT_NAMES', 'LOG_LEVEL', 'JURISDICTION', 'LOCATION_HINT'],
]
