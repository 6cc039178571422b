-- The backup of stores: their events, and how far each lifetime of a log has been copied.
-- `npx wrangler d1 migrations apply DB --remote` runs this; where it was not run, the first copy does.

-- The version of these tables. What finds another one than its own writes nothing.
CREATE TABLE IF NOT EXISTS livestore_sync_schema (version INTEGER NOT NULL) STRICT;

-- One row for each lifetime of a log: a store has another after a reset. The current one began last.
CREATE TABLE IF NOT EXISTS livestore_sync_lifetimes (
  store_id TEXT NOT NULL,
  backend_id TEXT NOT NULL,
  head INTEGER NOT NULL,
  events INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  first_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  began_at TEXT NOT NULL,
  copied_at TEXT NOT NULL,
  PRIMARY KEY (store_id, backend_id)
) STRICT, WITHOUT ROWID;

-- The events up to the head of their lifetime, as the log holds them.
CREATE TABLE IF NOT EXISTS livestore_sync_events (
  store_id TEXT NOT NULL,
  backend_id TEXT NOT NULL,
  seq_num INTEGER NOT NULL,
  parent_seq_num INTEGER NOT NULL,
  name TEXT NOT NULL,
  args TEXT,
  created_at TEXT NOT NULL,
  client_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  PRIMARY KEY (store_id, backend_id, seq_num)
) STRICT, WITHOUT ROWID;

INSERT INTO livestore_sync_schema SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM livestore_sync_schema);
