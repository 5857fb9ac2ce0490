use super::*;
use crate::{ids::Id as _, service::fixture::Fixture};

fn product(external_id: &str, minor: i64) -> NewProduct {
    NewProduct {
        external_id: external_id.parse().expect("an external id"),
        name: "维生素C".to_owned(),
        category: "VITAMINS".to_owned(),
        class: Class::Food,
        urgent: false,
        list_price: Money::new(minor),
        substances: vec!["ascorbic acid".to_owned()],
        days_of_supply: Some(30),
        floor_price: None,
        stock: None,
    }
}

async fn import(fixture: &Fixture, products: Vec<NewProduct>) -> Result<Imported, Error> {
    Ok(fixture.services.import_products(fixture.shop, fixture.once(), products).await?.value)
}

#[tokio::test]
async fn an_import_creates_changes_and_leaves_alone() {
    let fixture = Fixture::without_rules(1);
    let services = &fixture.services;
    let first = import(&fixture, vec![product("a", 1_000), product("b", 2_000)]).await.expect("imports");
    assert_eq!(first, Imported { created: 2, updated: 0, unchanged: 0 });
    let second = vec![product("a", 1_000), product("b", 2_500), product("c", 3_000)];
    let second = import(&fixture, second).await.expect("imports");
    assert_eq!(second, Imported { created: 1, updated: 1, unchanged: 1 });
    let a = services.product_by_external_id(fixture.shop, "a").await.expect("is there");
    let b = services.product_by_external_id(fixture.shop, "b").await.expect("is there");
    assert_eq!((a.revision, b.revision), (Revision::FIRST, Revision::FIRST.next()));
    assert_eq!(b.list_price, Money::new(2_500));
    assert_eq!(services.product(fixture.shop, b.id).await.expect("is there"), b);
    assert!(matches!(services.product_by_external_id(fixture.shop, "d").await, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn a_retried_import_is_replayed() {
    let fixture = Fixture::without_rules(2);
    let once = fixture.once();
    for replayed in [false, true] {
        let run = fixture.services.import_products(fixture.shop, once.clone(), vec![product("a", 1)]);
        let done = run.await.expect("imports");
        assert_eq!((done.value.created, done.replayed), (1, replayed));
    }
}

#[tokio::test]
async fn every_wrong_field_of_every_product_is_named() {
    let fixture = Fixture::without_rules(3);
    let wrong = vec![
        product("a", -1),
        NewProduct { name: String::new(), days_of_supply: Some(0), ..product("b", 1) },
        NewProduct { category: "x".repeat(65), substances: vec![String::new()], ..product("a", 1_000_000_000_001) },
        NewProduct { stock: Some(u64::MAX), substances: vec!["x".repeat(128); 20], ..product("c", 0) },
    ];
    let Err(Error::Invalid(fields)) = import(&fixture, wrong).await else { panic!("is refused") };
    let pointers: Vec<&str> = fields.iter().map(|field| field.pointer.as_str()).collect();
    let expected = [
        "/products/0/list_price",
        "/products/1/name",
        "/products/1/days_of_supply",
        "/products/2/external_id",
        "/products/2/category",
        "/products/2/list_price",
        "/products/2/substances/0",
        "/products/3/substances",
        "/products/3/stock",
    ];
    assert_eq!(pointers, expected);
    assert!(fields[3].message.contains("/products/0"), "{}", fields[3].message);
    let listed = fixture.services.list_products(fixture.shop, PageRequest::default()).await.expect("a page");
    assert!(listed.rows.is_empty(), "nothing is half written");
}

#[tokio::test]
async fn an_import_is_as_large_as_a_transaction_takes() {
    let fixture = Fixture::without_rules(4);
    let many = |count: usize, stock| -> Vec<NewProduct> {
        let long = |at| NewProduct {
            name: "名".repeat(NAME_CHARS_MAX),
            category: "类".repeat(CATEGORY_CHARS_MAX),
            substances: vec!["x".repeat(64); SUBSTANCES_MAX],
            stock,
            ..product(&format!("{at:0>128}"), 1)
        };
        (0..count).map(long).collect()
    };
    assert_eq!(import(&fixture, many(IMPORT_MAX, None)).await.expect("fits").created, 200);
    for (count, stock) in [(0, None), (IMPORT_MAX + 1, None), (51, Some(1))] {
        assert!(matches!(import(&fixture, many(count, stock)).await, Err(Error::Invalid(_))), "{count}");
    }
    assert_eq!(import(&fixture, many(50, Some(7))).await.expect("fits").updated, 50);
}

#[tokio::test]
async fn stock_is_counted_once_it_is_said() {
    let fixture = Fixture::without_rules(5);
    let left = async |fixture: &Fixture| {
        let product = fixture.services.product_by_external_id(fixture.shop, "a").await.expect("is there");
        let read = fixture.services.store.read(move |tx| counters::left(tx, CounterKey::Stock(product.id)));
        (product.stock_tracked, read.await.expect("reads"))
    };
    import(&fixture, vec![product("a", 1)]).await.expect("imports");
    assert_eq!(left(&fixture).await, (false, 0));
    import(&fixture, vec![NewProduct { stock: Some(13), ..product("a", 1) }]).await.expect("imports");
    assert_eq!(left(&fixture).await, (true, 13));
    let same = import(&fixture, vec![product("a", 1)]).await.expect("imports");
    assert_eq!((same.unchanged, left(&fixture).await), (1, (true, 13)));
    let empty = import(&fixture, vec![NewProduct { stock: Some(0), ..product("a", 1) }]).await.expect("imports");
    assert_eq!((empty.unchanged, left(&fixture).await), (1, (true, 0)));
}

#[tokio::test]
async fn partners_see_their_own_products_alone() {
    let fixture = Fixture::without_rules(6);
    let services = &fixture.services;
    import(&fixture, vec![product("b", 1), product("a", 1)]).await.expect("imports");
    let other = Caller { partner: PartnerId::from_bits(99), ..fixture.shop };
    services.import_products(other, fixture.once(), vec![product("a", 2)]).await.expect("imports");
    let theirs = services.product_by_external_id(other, "a").await.expect("is there");
    assert!(matches!(services.product(fixture.shop, theirs.id).await, Err(Error::Unknown { .. })));
    assert_eq!(services.product(fixture.operator, theirs.id).await.expect("sees all"), theirs);
    let page = PageRequest { after: None, limit: Some(1) };
    let first = services.list_products(fixture.shop, page.clone()).await.expect("a page");
    let second = PageRequest { after: first.next.clone(), ..page };
    let second = services.list_products(fixture.shop, second).await.expect("a page");
    let names = [first.rows[0].external_id.as_str(), second.rows[0].external_id.as_str()];
    assert_eq!((names, second.next), (["a", "b"], None));
    let all = services.list_products(fixture.operator, PageRequest::default()).await.expect("a page");
    assert_eq!(all.rows.len(), 3);
}
