-- What one order reads and writes in the engine, table by table. Bodies are bytes, as the engine's records are.
CREATE TABLE members (id bigint PRIMARY KEY, revision bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE products (id bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE quotes (id bigint PRIMARY KEY, member bigint NOT NULL, revision bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE placed_quotes (quote bigint PRIMARY KEY, placed bigint NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, member bigint NOT NULL, state smallint NOT NULL, revision bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE order_prices (id bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE orders_of_member (member bigint NOT NULL, id bigint NOT NULL, PRIMARY KEY (member, id));
CREATE TABLE day_totals (member bigint NOT NULL, day int NOT NULL, spend bigint NOT NULL, orders int NOT NULL, PRIMARY KEY (member, day));
CREATE TABLE balances (account bigint PRIMARY KEY, points bigint NOT NULL, entries bigint NOT NULL);
CREATE TABLE entries (account bigint NOT NULL, number bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (account, number));
CREATE TABLE pending_lots (member bigint NOT NULL, made_by bigint NOT NULL, points bigint NOT NULL, PRIMARY KEY (member, made_by));
CREATE TABLE timers (due timestamptz NOT NULL, kind smallint NOT NULL, subject bigint NOT NULL, PRIMARY KEY (due, kind, subject));
CREATE TABLE events (shard smallint NOT NULL, id bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (shard, id));
CREATE TABLE idempotency (key bigint PRIMARY KEY, body bytea NOT NULL);

INSERT INTO members SELECT n, 1, decode(repeat('ab', 160), 'hex') FROM generate_series(1, :members) n;
INSERT INTO products SELECT n, decode(repeat('ab', 200), 'hex') FROM generate_series(1, 200) n;
-- A purse for each member, and the house's account in sixty-four shards, so that no row is hot.
INSERT INTO balances SELECT n, 0, 0 FROM generate_series(1, :members) n;
INSERT INTO balances SELECT -1 - n, 0, 0 FROM generate_series(0, 63) n;
-- A past, so that rows that have nothing to do with each other lie on pages of their own: SERIALIZABLE watches pages.
INSERT INTO day_totals SELECT n, day, 3100, 1 FROM generate_series(1, :members) n, generate_series(20400, 20500, 5) day;
INSERT INTO entries SELECT n, -1 - number, decode(repeat('ab', 110), 'hex') FROM generate_series(1, :members) n, generate_series(0, 20) number;
INSERT INTO idempotency SELECT hashint8extended(n, 1), decode(repeat('ab', 350), 'hex') FROM generate_series(1, 200000) n;
INSERT INTO quotes SELECT hashint8extended(n, 2), 1, 1, decode(repeat('ab', 1500), 'hex') FROM generate_series(1, 50000) n;
INSERT INTO placed_quotes SELECT hashint8extended(n, 2), n FROM generate_series(1, 50000) n;
INSERT INTO orders SELECT hashint8extended(n, 3), 1, 0, 1, decode(repeat('ab', 700), 'hex') FROM generate_series(1, 50000) n;
INSERT INTO order_prices SELECT hashint8extended(n, 3), decode(repeat('ab', 1100), 'hex') FROM generate_series(1, 50000) n;
INSERT INTO timers SELECT timestamptz '2026-03-15', 0, hashint8extended(n, 4) FROM generate_series(1, 50000) n;
INSERT INTO events SELECT n % 64, hashint8extended(n, 5), decode(repeat('ab', 40), 'hex') FROM generate_series(1, 100000) n;
VACUUM ANALYZE;
