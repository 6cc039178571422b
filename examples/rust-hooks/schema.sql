-- Before the first deployment: npx wrangler d1 execute DB --remote --file examples/rust-hooks/schema.sql
CREATE TABLE audit (
  store_id TEXT NOT NULL,
  backend_id TEXT NOT NULL,
  seq_num INTEGER NOT NULL,
  name TEXT NOT NULL,
  client_id TEXT NOT NULL,
  PRIMARY KEY (store_id, backend_id, seq_num)
) STRICT, WITHOUT ROWID;
