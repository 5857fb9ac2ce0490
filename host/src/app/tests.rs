use jiff::SignedDuration;

use super::*;
use crate::{
    domain::{
        money::{Money, Points},
        order::{Cart, Quote},
        product::Class,
    },
    ids::{Id as _, OrderId, QuoteId},
    service::{
        fixture::Fixture,
        members::NewMember,
        products::NewProduct,
        tables::{PLACED_QUOTES, QUOTES},
    },
    store::Scan,
};

/// A quote that a member asked for.
async fn quote(fixture: &Fixture) -> Quote {
    let Fixture { services, shop, .. } = fixture;
    let member = services.create_member(*shop, fixture.once(), NewMember::default()).await.expect("joins").value.id;
    let product = NewProduct {
        external_id: "v".parse().expect("an id"),
        name: "v".to_owned(),
        category: "VITAMINS".to_owned(),
        class: Class::Food,
        urgent: false,
        list_price: Money::new(100),
        substances: Vec::new(),
        days_of_supply: None,
        floor_price: None,
        stock: None,
    };
    services.import_products(*shop, fixture.once(), vec![product]).await.expect("imports");
    let product = services.product_by_external_id(*shop, "v").await.expect("is there").id;
    let cart = Cart {
        lines: vec![(product, 1)],
        coupon: None,
        points: Points::ZERO,
        delivery_fee: Money::ZERO,
        prescription: None,
    };
    services.quote(*shop, fixture.once(), member, cart).await.expect("is priced").value
}

/// Writes `count` quotes like this one, made now, each placed.
async fn repeat(fixture: &Fixture, quote: &Quote, count: usize) {
    let services = &fixture.services;
    let now = services.clock.now();
    let ids: Vec<QuoteId> = (0..count).map(|_| services.ids.ordered(now)).collect();
    for ids in ids.chunks(200) {
        let (ids, quote) = (ids.to_vec(), quote.clone());
        let run = services.store.run(now, move |tx| {
            for id in &ids {
                tx.put(&QUOTES, id, &Quote { id: *id, ..quote.clone() })?;
                tx.put(&PLACED_QUOTES, id, &OrderId::from_bits(1))?;
            }
            Ok::<_, StoreError>(())
        });
        run.await.expect("is written");
    }
}

/// Quotes, and those of them that were placed.
async fn left(fixture: &Fixture) -> (u64, usize) {
    let services = &fixture.services;
    let quotes = services.store.for_each(QUOTES, |_, _| Ok::<_, StoreError>(())).await.expect("reads");
    let placed = services.store.read(|tx| tx.scan(&PLACED_QUOTES, &Scan::all().limit(1_000))).await;
    (quotes, placed.expect("reads").len())
}

/// A load of old quotes goes over several looks, the young ones stay, and who is told to stop sweeps nothing.
#[tokio::test]
async fn old_quotes_are_swept_a_bounded_number_at_each_look() {
    let fixture = Fixture::sled().await;
    let first = quote(&fixture).await;
    repeat(&fixture, &first, 2_049).await;
    fixture.wait(SignedDuration::from_hours(23));
    repeat(&fixture, &first, 5).await;
    let (stop, stopped) = watch::channel(false);
    sweep_quotes(&fixture.services, &stopped).await.expect("sweeps");
    assert_eq!(left(&fixture).await.0, 2_055, "nothing is older than a day");
    fixture.wait(SignedDuration::from_hours(1) + SignedDuration::from_millis(1));
    sweep_quotes(&fixture.services, &stopped).await.expect("sweeps");
    assert_eq!(left(&fixture).await.0, 55, "one look sweeps {SWEEPS_PER_LOOK} times a hundred");
    stop.send_replace(true);
    sweep_quotes(&fixture.services, &stopped).await.expect("sweeps");
    assert_eq!(left(&fixture).await.0, 55);
    stop.send_replace(false);
    sweep_quotes(&fixture.services, &stopped).await.expect("sweeps");
    assert_eq!(left(&fixture).await, (5, 5));
}
