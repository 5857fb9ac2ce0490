use super::*;
use crate::service::fixture::Fixture;

async fn key(fixture: &Fixture, scopes: &[Scope]) -> (ApiKey, Secret) {
    let partner = fixture.services.create_partner("shop").await.expect("a partner");
    let new = CreateKey { partner: partner.id, name: "till".to_owned(), scopes: scopes.to_vec(), sees_all: false };
    fixture.services.create_key(new).await.expect("a key")
}

#[test]
fn names_and_positions_of_scopes_never_change() {
    let names: Vec<String> = Scope::ALL.iter().map(|scope| format!("{}={scope}", *scope as u32)).collect();
    let expected = "0=members:read 1=members:write 2=catalogue:read 3=catalogue:write 4=offers:read 5=offers:write \
                    6=coupons:read 7=coupons:write 8=orders:read 9=orders:write 10=points:read 11=points:write \
                    12=plugins:read 13=plugins:write 14=keys:read 15=keys:write 16=operate 17=members:personal \
                    20=touches:read 21=touches:write 22=reach:read 23=reach:write 30=prescriptions:read \
                    31=prescriptions:write 32=prescriptions:review 33=settlement 34=offers:approve 35=codes:read \
                    38=activities:write 39=gifts:write 40=gifts:manage 41=takeover";
    assert_eq!(names.join(" "), expected);
    for scope in Scope::ALL {
        assert_eq!(scope.name().parse(), Ok(*scope));
        assert!(Scopes::ALL.contains(*scope));
    }
    let error = "members:delete".parse::<Scope>().expect_err("is none").to_string();
    assert!(error.contains("members:write"), "{error}");
}

#[test]
fn sets_of_scopes() {
    let some: Scopes = [Scope::OrdersRead, Scope::MembersRead].into_iter().collect();
    assert!(some.contains(Scope::OrdersRead) && !some.contains(Scope::OrdersWrite));
    assert!(Scopes::ALL.covers(some) && some.covers(some) && !some.covers(Scopes::ALL));
    assert_eq!(some.to_string(), "members:read orders:read");
}

#[tokio::test]
async fn a_key_opens_what_it_was_made_for() {
    let fixture = Fixture::without_rules(1);
    let (key, secret) = key(&fixture, &[Scope::OrdersWrite]).await;
    assert!(secret.expose().starts_with("gk_") && secret.expose().len() == 67);
    assert!(!format!("{secret:?}").contains(secret.expose()));
    for _ in 0..2 {
        let (caller, scopes) = fixture.services.authenticate(secret.expose()).await.expect("reads").expect("is known");
        assert_eq!((caller.key, caller.partner, caller.sees_all), (key.id, key.partner, false));
        assert_eq!(scopes.to_string(), "orders:write");
    }
    for wrong in ["", "gk_", &secret.expose()[1..], &secret.expose().to_uppercase()] {
        assert_eq!(fixture.services.authenticate(wrong).await.expect("reads"), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_though_it_was_remembered() {
    let fixture = Fixture::without_rules(2);
    let (key, secret) = key(&fixture, &[Scope::OrdersWrite]).await;
    assert!(fixture.services.authenticate(secret.expose()).await.expect("reads").is_some());
    let revoked = fixture.services.revoke_key(key.id).await.expect("is revoked");
    assert_eq!(fixture.services.authenticate(secret.expose()).await.expect("reads"), None);
    fixture.wait(jiff::SignedDuration::from_hours(1));
    assert_eq!(fixture.services.revoke_key(key.id).await.expect("again"), revoked);
    let unknown = fixture.services.revoke_key(KeyId::from_bits(9)).await;
    assert!(matches!(unknown, Err(Error::Unknown { what: "API key", .. })));
}

#[test]
fn what_was_read_before_a_revocation_is_not_remembered_after_it() {
    let (cache, hash) = (KeyCache::default(), KeyHash::of("secret"));
    let caller = Caller { key: KeyId::from_bits(1), partner: PartnerId::from_bits(1), sees_all: false };
    let generation = cache.find(&hash).expect_err("is not there yet");
    cache.forget(&hash);
    cache.remember(generation, hash, (caller, Scopes::ALL));
    assert_eq!(cache.find(&hash), Err(generation + 1));
}

#[tokio::test]
async fn the_operators_key_is_seeded_once() {
    let fixture = Fixture::without_rules(3);
    let secret = "an-operators-own-secret";
    let first = fixture.services.seed_operator_key(secret).await.expect("is seeded");
    assert!(first.sees_all && first.scopes == Scopes::ALL);
    assert_eq!(fixture.services.seed_operator_key(secret).await.expect("again"), first);
    assert!(fixture.services.authenticate(secret).await.expect("reads").is_some());
    let other = fixture.services.seed_operator_key("another-long-secret").await.expect("another");
    assert_eq!(other.partner, first.partner, "one operator");
    let revoked = fixture.services.revoke_key(first.id).await.expect("is revoked");
    assert_eq!(fixture.services.seed_operator_key(secret).await.expect("stays so"), revoked);
    assert_eq!(fixture.services.authenticate(secret).await.expect("reads"), None);
    for bad in ["short", "with spaces in between"] {
        assert!(matches!(fixture.services.seed_operator_key(bad).await, Err(Error::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn wrong_keys_are_refused_field_by_field() {
    let fixture = Fixture::without_rules(4);
    let partner = fixture.services.create_partner("shop").await.expect("a partner");
    let new = |partner, name: &str, scopes: &[Scope]| CreateKey {
        partner,
        name: name.to_owned(),
        scopes: scopes.to_vec(),
        sees_all: false,
    };
    let refused = fixture.services.create_key(new(partner.id, " ", &[])).await.expect_err("is wrong");
    let Error::Invalid(fields) = refused else { panic!("{refused}") };
    let pointers: Vec<&str> = fields.iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/scopes"]);
    let twice = fixture.services.create_key(new(partner.id, "till", &[Scope::Operate, Scope::Operate])).await;
    assert!(matches!(twice, Err(Error::Invalid(_))));
    let nobody = fixture.services.create_key(new(PartnerId::from_bits(9), "till", &[Scope::Operate])).await;
    assert!(matches!(nobody, Err(Error::Unknown { what: "partner", .. })));
    assert!(matches!(fixture.services.create_partner("").await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn keys_and_partners_are_listed_oldest_first() {
    let fixture = Fixture::without_rules(5);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(key(&fixture, &[Scope::Operate]).await.0);
        fixture.wait(jiff::SignedDuration::from_secs(1));
    }
    let mut page = PageRequest { after: None, limit: Some(2) };
    let first = fixture.services.list_keys(page.clone()).await.expect("a page");
    assert_eq!(first.rows, made[..2]);
    page.after = first.next;
    let last = fixture.services.list_keys(page).await.expect("a page");
    assert_eq!((last.rows.as_slice(), last.next), (&made[2..], None));
    let partners = fixture.services.list_partners(PageRequest::default()).await.expect("a page");
    assert_eq!(partners.rows.len(), 3);
    assert_eq!(fixture.services.partner(made[0].partner).await.expect("is there").name, "shop");
}
