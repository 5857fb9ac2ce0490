-- One paid order: the three transactions of the engine, each with the rows it reads and writes.
\set member random(1, :members)
\set product random(1, 198)
\set shard :member % 64
-- Each client counts its orders: ids that nobody else has, scattered so that no page of an index is everybody's.
\set n :n + 10
\set quote hash(:client_id * 1000000000 + :n)
\set placed hash(:quote + 1)
\set first hash(:quote + 2)
\set second hash(:quote + 3)
\set third hash(:quote + 4)
\set happened hash(:quote + 5)
\set happened_then hash(:quote + 6)

BEGIN;
SELECT body FROM idempotency WHERE key = :first;
SELECT revision FROM members WHERE id = :member \gset
SELECT body FROM products WHERE id BETWEEN :product AND :product + 2;
SELECT sum(spend) FROM day_totals WHERE member = :member AND day > 19000;
INSERT INTO quotes VALUES (:quote, :member, :revision, decode(repeat('ab', 1500), 'hex'));
INSERT INTO idempotency VALUES (:first, decode(repeat('ab', 60), 'hex'));
COMMIT;

BEGIN;
SELECT body FROM idempotency WHERE key = :second;
SELECT body FROM quotes WHERE id = :quote;
SELECT placed FROM placed_quotes WHERE quote = :quote;
SELECT revision FROM members WHERE id = :member;
INSERT INTO order_prices VALUES (:placed, decode(repeat('ab', 1100), 'hex'));
INSERT INTO orders VALUES (:placed, :member, 0, 1, decode(repeat('ab', 350), 'hex'));
INSERT INTO orders_of_member VALUES (:member, :placed);
INSERT INTO timers VALUES (timestamptz '2026-03-15', 0, :placed);
INSERT INTO placed_quotes VALUES (:quote, :placed);
UPDATE members SET revision = revision + 1 WHERE id = :member;
INSERT INTO events VALUES (:shard, :happened, decode(repeat('ab', 40), 'hex'));
INSERT INTO idempotency VALUES (:second, decode(repeat('ab', 350), 'hex'));
COMMIT;

BEGIN;
SELECT body FROM idempotency WHERE key = :third;
SELECT body FROM orders WHERE id = :placed;
SELECT body FROM order_prices WHERE id = :placed;
SELECT body, revision FROM members WHERE id = :member;
SELECT sum(spend) FROM day_totals WHERE member = :member AND day > 19000;
DELETE FROM timers WHERE due = timestamptz '2026-03-15' AND kind = 0 AND subject = :placed;
UPDATE balances SET points = points - 31, entries = entries + 1 WHERE account = -1 - :shard RETURNING entries AS house \gset
UPDATE balances SET points = points + 31, entries = entries + 1 WHERE account = :member RETURNING entries AS purse \gset
INSERT INTO entries VALUES (-1 - :shard, :house, decode(repeat('ab', 110), 'hex'));
INSERT INTO entries VALUES (:member, :purse, decode(repeat('ab', 110), 'hex'));
INSERT INTO pending_lots VALUES (:member, :placed, 31);
INSERT INTO day_totals VALUES (:member, 20527, 3100, 1) ON CONFLICT (member, day) DO UPDATE SET spend = day_totals.spend + 3100, orders = day_totals.orders + 1;
UPDATE orders SET state = 1, revision = revision + 1, body = decode(repeat('ab', 700), 'hex') WHERE id = :placed;
UPDATE members SET revision = revision + 1 WHERE id = :member;
INSERT INTO events VALUES (:shard, :happened_then, decode(repeat('ab', 40), 'hex'));
INSERT INTO idempotency VALUES (:third, decode(repeat('ab', 700), 'hex'));
COMMIT;
