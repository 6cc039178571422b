-- Events of the backup that are folded: many in a row, compressed.
-- `npx wrangler d1 migrations apply DB --remote` runs this; where it was not run, the first copy does.

-- Events that follow each other: `data` is the gzip of a JSON array that holds an array for each, of its number, parent,
-- name, args, time, client and session. Once `is_folded` is 1 they have no rows of their own; before, those are what counts.
-- `bytes` is what they have by themselves, `latest_at` the latest time among them, `made_at` when they were folded.
CREATE TABLE IF NOT EXISTS livestore_sync_segments (
  store_id TEXT NOT NULL,
  backend_id TEXT NOT NULL,
  last_seq_num INTEGER NOT NULL,
  first_seq_num INTEGER NOT NULL,
  parent_seq_num INTEGER NOT NULL,
  events INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  first_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  latest_at TEXT NOT NULL,
  made_at TEXT NOT NULL,
  is_folded INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (store_id, backend_id, last_seq_num)
) STRICT, WITHOUT ROWID;

UPDATE livestore_sync_schema SET version = 2 WHERE version = 1;
