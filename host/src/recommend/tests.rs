use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    events,
    ids::{Id as _, MemberId},
    store::Store,
};

fn product(number: u128) -> ProductId {
    ProductId::from_bits(number)
}

/// Appends a paid order for each basket; order `n` is basket `n`. Members differ, so the shards do.
async fn pay(store: &Store, first: usize, baskets: usize) {
    for order in first..first + baskets {
        let (member, order) = (MemberId::from_bits(order as u128 * 7), OrderId::from_bits(order as u128));
        let run = store.run(Timestamp::UNIX_EPOCH, move |tx| {
            events::append(tx, member, [What::Updated, What::OrderPaid(order), What::PointsExpired])
        });
        run.await.expect("commits");
    }
}

/// Counts everything, of each shard at most `limit` events at a time.
async fn count_all(store: &Store, baskets: &[Vec<u128>], limit: usize) {
    loop {
        let mut waiting = Vec::new();
        for shard in 0..events::SHARDS {
            let baskets = baskets.to_vec();
            let read = store.read(move |tx| {
                read(tx, shard, limit, |_, order| {
                    let basket = &baskets[usize::try_from(order.to_bits()).expect("small")];
                    Ok::<_, StoreError>(basket.iter().map(|id| product(*id)).collect())
                })
            });
            waiting.push(read.await.expect("reads"));
        }
        let (twice, first) = (waiting.clone(), waiting);
        let done = store.run(Timestamp::UNIX_EPOCH, move |tx| count(tx, &first)).await.expect("commits");
        // What was counted since it was read does not count again.
        let again = store.run(Timestamp::UNIX_EPOCH, move |tx| count(tx, &twice)).await.expect("commits");
        if done + again == 0 {
            break;
        }
    }
}

/// Counts of all products below `products`: baskets, and pairs of distinct products.
async fn counted(store: &Store, products: u128) -> (Vec<u64>, HashMap<(u128, u128), u64>) {
    let ids: Vec<ProductId> = (0..products).map(product).collect();
    let read = store.read(move |tx| {
        let mut pairs = HashMap::new();
        for id in &ids {
            for (other, count) in bought_with(tx, &[*id], PARTNERS_MAX)? {
                pairs.insert((id.to_bits(), other.to_bits()), count);
            }
        }
        Ok::<_, StoreError>((super::baskets(tx, &ids)?, pairs))
    });
    read.await.expect("reads")
}

fn by_hand(baskets: &[Vec<u128>], products: u128) -> (Vec<u64>, HashMap<(u128, u128), u64>) {
    let (mut held, mut pairs) = (vec![0; usize::try_from(products).expect("small")], HashMap::new());
    for basket in baskets {
        let distinct: BTreeSet<u128> = basket.iter().copied().collect();
        for one in &distinct {
            held[usize::try_from(*one).expect("small")] += 1;
            for other in distinct.iter().filter(|other| *other != one) {
                *pairs.entry((*one, *other)).or_default() += 1;
            }
        }
    }
    (held, pairs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the events are cut into transactions, each order counts once, also where closures run twice.
    #[test]
    fn each_paid_order_counts_once(
        baskets in prop::collection::vec(prop::collection::vec(0_u128..12, 0..8), 0..24),
        split in 0_usize..24,
        limit in 1_usize..40,
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = Store::model(seed);
            let split = split.min(baskets.len());
            pay(&store, 0, split).await;
            count_all(&store, &baskets, limit).await;
            pay(&store, split, baskets.len() - split).await;
            count_all(&store, &baskets, limit).await;
            assert_eq!(counted(&store, 12).await, by_hand(&baskets, 12));
        });
    }

    /// The sketch never claims more than happened, and never loses what happened often.
    #[test]
    fn a_partner_is_never_overrated_and_a_frequent_one_never_lost(meetings in prop::collection::vec(0_u128..120, 0..600)) {
        let mut partners = Partners::default();
        let mut truth: HashMap<u128, u64> = HashMap::new();
        for meeting in meetings.iter().map(|n| n * n / 120) {
            partners.meet(product(meeting));
            *truth.entry(meeting).or_default() += 1;
        }
        prop_assert!(partners.list.len() <= PARTNERS_MAX);
        for partner in &partners.list {
            let happened = truth[&partner.product.to_bits()];
            prop_assert!(partner.count - partner.surplus <= happened && happened <= partner.count);
        }
        for (id, happened) in truth {
            let often = happened as usize > meetings.len() / PARTNERS_MAX;
            prop_assert!(!often || partners.list.iter().any(|partner| partner.product == product(id)));
        }
    }
}

/// More products than one transaction may change: it stops in time, and the rest follows.
#[tokio::test]
async fn many_large_orders_take_several_transactions() {
    let store = Store::model(3);
    let baskets: Vec<Vec<u128>> = (0..30).map(|order| (0..30).map(|item| order * 30 + item).collect()).collect();
    pay(&store, 0, baskets.len()).await;
    count_all(&store, &baskets, 1_000).await;
    let (held, pairs) = counted(&store, 900).await;
    let expect: Vec<u64> = (0..900).map(|item| u64::from(item % 30 < BASKET_PRODUCTS_MAX)).collect();
    assert_eq!(held, expect, "the first products of an order count");
    assert_eq!(pairs.len(), 30 * BASKET_PRODUCTS_MAX * (BASKET_PRODUCTS_MAX - 1));
}
