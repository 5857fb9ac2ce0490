use jiff::Timestamp;

use super::*;
use crate::{
    events::{self, What, append},
    ids::{Id as _, MemberId},
    store::{Store, StoreError},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// What the consumer did, by event: it stands for any effect.
const EFFECTS: Table<u64, u64> = Table::new(0x7F01, "effects.v1");

fn consumer() -> Consumer {
    Consumer::new("touches").expect("a name")
}

async fn happen(store: &Store, member: u128, times: i16) {
    let run = store.run(NOW, move |tx| append(tx, MemberId::from_bits(member), (0..times).map(What::Birthday)));
    let done: Result<(), StoreError> = run.await;
    done.expect("happens");
}

/// Reads three events and counts them, both in one transaction; how many there were.
async fn work(store: &Store, shard: u16, crash: bool) -> usize {
    let batch: Result<Batch, StoreError> = store.read(move |tx| read(tx, &consumer(), shard, 3)).await;
    let batch = batch.expect("reads");
    let count = batch.events.len();
    let run = store.run(NOW, move |tx| {
        assert!(batch.advance(tx, count)?);
        for (at, _) in &batch.events {
            let row = at.seq.get() * 100 + u64::from(at.n);
            let times = tx.get(&EFFECTS, &row)?.unwrap_or(0);
            tx.put(&EFFECTS, &row, &(times + 1))?;
        }
        if crash { Err(StoreError::Closed) } else { Ok(()) }
    });
    assert_eq!(run.await.is_err(), crash);
    count
}

async fn effects(store: &Store) -> Vec<u64> {
    let read: Result<Vec<(u64, u64)>, StoreError> = store.read(|tx| tx.scan(&EFFECTS, &Scan::all())).await;
    read.expect("reads").into_iter().map(|(_, times)| times).collect()
}

#[tokio::test]
async fn every_event_has_its_effect_once_whatever_crashes() {
    let store = Store::model(1);
    for _ in 0..4 {
        happen(&store, 1, 2).await;
        happen(&store, 2, 1).await;
    }
    let shard = events::shard(MemberId::from_bits(1));
    let mut n = 0;
    while work(&store, shard, n % 2 == 0).await > 0 || n % 2 == 0 {
        n += 1;
    }
    assert_eq!(effects(&store).await, vec![1; 8]);
}

#[tokio::test]
async fn a_batch_read_before_another_moved_on_counts_for_nothing() {
    let store = Store::model(2);
    happen(&store, 1, 2).await;
    let shard = events::shard(MemberId::from_bits(1));
    let first: Result<Batch, StoreError> = store.read(move |tx| read(tx, &consumer(), shard, 9)).await;
    let first = first.expect("reads");
    assert_eq!(work(&store, shard, false).await, 2);
    let late: Result<bool, StoreError> = store.run(NOW, move |tx| first.advance(tx, 2)).await;
    assert!(!late.expect("answers"));
}

#[tokio::test]
async fn a_consumer_that_is_put_back_sees_again_what_came_since() {
    let store = Store::model(3);
    happen(&store, 1, 2).await;
    happen(&store, 1, 2).await;
    let shard = events::shard(MemberId::from_bits(1));
    let lagging = |store: Store| async move {
        let lag: Result<Lag, StoreError> = store.read(|tx| lag(tx, &consumer())).await;
        lag.expect("reads")
    };
    assert_eq!(lagging(store.clone()).await.waiting, 4);
    while work(&store, shard, false).await > 0 {}
    assert_eq!(lagging(store.clone()).await, Lag::default());
    let known: Result<Vec<Consumer>, StoreError> = store.read(consumers).await;
    assert_eq!(known.expect("reads"), [consumer()]);
    let moved: Result<Result<u16, Gone>, StoreError> = store.run(NOW, |tx| rewind(tx, &consumer(), Seq::new(2))).await;
    assert_eq!(moved.expect("answers"), Ok(1));
    let lag = lagging(store.clone()).await;
    assert_eq!((lag.waiting, lag.and_more, lag.oldest, lag.next), (2, false, Some(NOW), Some(Seq::new(2))));
    while work(&store, shard, false).await > 0 {}
    assert_eq!(effects(&store).await, [1, 1, 2, 2]);
}

#[test]
fn names_are_short_and_plain() {
    for bad in ["", "A", "a b", "\u{e9}"] {
        assert_eq!(Consumer::new(bad), None, "{bad}");
    }
    assert_eq!(Consumer::new(&"a".repeat(65)), None);
}
