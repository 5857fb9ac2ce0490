use proptest::prelude::*;

use super::*;
use crate::{
    domain::{member::Revision, money::Money, product::Class},
    ids::{Id as _, PartnerId},
    store::Store,
};

fn product(number: u128, class: Class, stock: Option<i64>) -> Product {
    Product {
        id: ProductId::from_bits(number),
        partner: PartnerId::from_bits(1),
        external_id: format!("p-{number}").parse().expect("an id"),
        name: "a product".to_owned(),
        category: "C".to_owned(),
        class,
        urgent: false,
        list_price: Money::new(100),
        substances: Vec::new(),
        days_of_supply: None,
        stock_tracked: stock.is_some(),
        revision: Revision::FIRST,
        floor_price: None,
    }
}

/// A product: its class, its stock where it is limited, and whether the member bought it.
fn goods() -> impl Strategy<Value = (usize, Option<i64>, bool)> {
    (0..Class::ALL.len(), prop::option::of(0_i64..3), any::<bool>())
}

/// Any score at all, also of candidates that there are not, also twice.
fn scores() -> impl Strategy<Value = Vec<Score>> {
    let shelf = prop_oneof![Just(Shelf::BuyAgain), Just(Shelf::Discover)];
    let score = (0_u32..24, shelf, -1e9..1e9_f64);
    let score = score.prop_map(|(candidate, shelf, value)| Score { candidate, shelf, value, reasons: Vec::new() });
    prop::collection::vec(score, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a scorer says: no prescription medicine to discover, nothing sold out, nothing twice, nothing bought among
    /// what was never bought, the best first and no more than asked.
    #[test]
    fn a_scorer_can_put_nothing_where_it_may_not_be(
        goods in prop::collection::vec(goods(), 0..20),
        scores in scores(),
        limit in 1_usize..24,
        seed in any::<u64>(),
    ) {
        let products: Vec<Product> = (0..).zip(&goods).map(|(id, (class, stock, _))| product(id, Class::ALL[*class], *stock)).collect();
        let mut history = History::default();
        for (product, _) in products.iter().zip(&goods).filter(|(_, (.., bought))| *bought) {
            history.purchases.insert(product.id, vec![Timestamp::UNIX_EPOCH]);
        }
        let store = Store::model(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for shelf in [Shelf::BuyAgain, Shelf::Discover] {
            let ranked = ranked(scores.clone(), &products, &history, shelf);
            let stocks: Vec<(ProductId, i64)> =
                products.iter().zip(&goods).filter_map(|(product, (_, stock, _))| Some((product.id, (*stock)?))).collect();
            let shown = runtime.block_on(async {
                let run = store.run(Timestamp::UNIX_EPOCH, move |tx| {
                    stocks.iter().try_for_each(|(id, left)| counters::set_limit(tx, CounterKey::Stock(*id), *left))?;
                    in_stock(tx, &ranked, limit)
                });
                run.await.expect("commits")
            });
            prop_assert!(shown.len() <= limit);
            let mut ids = BTreeSet::new();
            for item in &shown {
                let (class, stock, bought) = goods[usize::try_from(item.product.id.to_bits()).expect("small")];
                prop_assert!(ids.insert(item.product.id), "twice");
                prop_assert!(stock != Some(0), "sold out");
                prop_assert!(shelf == Shelf::BuyAgain || Class::ALL[class] != Class::Rx, "rx to discover");
                prop_assert_eq!(bought, shelf == Shelf::BuyAgain);
            }
            prop_assert!(shown.is_sorted_by(|one, next| one.value >= next.value));
            // And what may be shown is shown.
            let may = |score: &Score| score.shelf == shelf && goods.get(score.candidate as usize).is_some_and(
                |(class, stock, bought)| *stock != Some(0) && *bought == (shelf == Shelf::BuyAgain)
                    && (*bought || Class::ALL[*class] != Class::Rx),
            );
            let all: BTreeSet<u32> = scores.iter().filter(|score| may(score)).map(|score| score.candidate).collect();
            prop_assert_eq!(shown.len(), all.len().min(limit));
        }
    }
}
