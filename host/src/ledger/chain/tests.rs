//! The bytes of an entry and of its link, what they cost, and what breaks a chain.

use std::time::Instant;

use jiff::Timestamp;

use super::*;
use crate::{
    domain::{
        money::Points,
        points::{Cause, House, Note, Purse},
    },
    ids::{Id as _, KeyId, MemberId, OrderId},
    ledger::{
        postings::{self, Balance},
        tables::{BALANCES, ENTRIES},
        verify::{verify, verify_until},
    },
    store::{Store, StoreError, Tx},
};

fn purse() -> Account {
    Account::Member(MemberId::from_bits(7), Purse::Active)
}

fn issued() -> Account {
    Account::House(House::Issued, 7)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("in range")
}

fn entry() -> Entry {
    Entry {
        amount: Points::new(158),
        balance: Points::new(200),
        counterpart: issued(),
        cause: Cause::Earned(OrderId::from_bits(3)),
        at: at(1_700_000_000_000),
        link: None,
        note: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of before chains decode, and are what a link is computed over.
#[test]
fn golden_bytes() {
    let unlinked = minicbor::to_vec(entry()).expect("encodes");
    let before_chains = "85189e18c8820182000782008150000000000000000000000000000000031b0000018bcfe56800".to_owned();
    assert_eq!(hex(&unlinked), before_chains);
    let old: Entry = minicbor::decode(&unlinked).expect("decodes");
    assert_eq!(old, entry());
    let first = link(None, purse(), 0, &entry());
    assert_eq!(first.to_string(), "7551007c95025822c49c3d1e07a9633641172554f0b9d3fe33e08dea6d1fb754");
    assert_eq!(link(None, purse(), 0, &Entry { link: Some(first), ..entry() }), first, "a link is not part of itself");
    let linked = minicbor::to_vec(Entry { link: Some(first), ..entry() }).expect("encodes");
    assert_eq!(hex(&linked), format!("86{}5820{first}", &before_chains[2..]));
    let balance = Balance { points: Points::new(200), entries: 1, last_at: at(0), head: Some(first) };
    assert_eq!(hex(&minicbor::to_vec(balance).expect("encodes")), format!("8418c801005820{first}"));
    let old: Balance = minicbor::decode(&[0x83, 0x18, 0xc8, 1, 0]).expect("decodes");
    assert_eq!(old, Balance { head: None, ..balance });
}

/// Every part of an entry, its number and its account are in its link.
#[test]
fn every_part_counts() {
    let first = link(None, purse(), 0, &entry());
    let others = [
        link(Some(&first), purse(), 0, &entry()),
        link(None, issued(), 0, &entry()),
        link(None, purse(), 1, &entry()),
        link(None, purse(), 0, &Entry { amount: Points::new(157), ..entry() }),
        link(None, purse(), 0, &Entry { balance: Points::new(201), ..entry() }),
        link(None, purse(), 0, &Entry { counterpart: purse(), ..entry() }),
        link(None, purse(), 0, &Entry { cause: Cause::Expired, ..entry() }),
        link(None, purse(), 0, &Entry { at: at(0), ..entry() }),
        link(
            None,
            purse(),
            0,
            &Entry { note: Some(Note { by: Some(KeyId::from_bits(1)), why: "goodwill".into() }), ..entry() },
        ),
    ];
    for (i, other) in others.iter().enumerate() {
        assert_ne!(*other, first, "{i}");
    }
}

/// Two links a posting; far below the cost of its four rows.
#[test]
fn a_link_is_cheap() {
    let (mut head, rounds) = (link(None, purse(), 0, &entry()), 20_000_u64);
    let begun = Instant::now();
    for number in 1..=rounds {
        head = link(Some(&head), purse(), number, &entry());
    }
    let each = begun.elapsed() / u32::try_from(rounds).expect("some thousands");
    println!("a link costs {each:?}, a posting two of them");
    assert!(each.as_micros() < 100, "{each:?}");
}

async fn five_postings() -> Store {
    let store = Store::model(1);
    for n in 0..5 {
        let post = store.run(at(n), |tx| postings::post(tx, issued(), purse(), Points::new(10), Cause::Adjusted));
        post.await.expect("posts");
    }
    store
}

async fn problems_after(
    damage: impl Fn(&mut Tx<'_>) -> Result<(), StoreError> + Send + Clone + 'static,
) -> Vec<String> {
    let store = five_postings().await;
    store.run(at(9), damage).await.expect("writes");
    let report = verify(&store).await.expect("reads");
    // Lots are not what this is about: nothing here has any.
    report.problems.into_iter().filter(|problem| !problem.contains("lots")).collect()
}

fn change(tx: &mut Tx<'_>, number: u64, change: impl Fn(&mut Entry)) -> Result<(), StoreError> {
    let mut entry = tx.get(&ENTRIES, &(purse(), number))?.expect("is there");
    change(&mut entry);
    tx.put(&ENTRIES, &(purse(), number), &entry)
}

#[tokio::test]
async fn an_untouched_chain_holds() {
    let store = five_postings().await;
    let report = verify(&store).await.expect("reads");
    assert_eq!((report.entries, report.unchained), (10, 0));
    let again = verify(&store).await.expect("reads");
    assert_eq!(report.root, again.root);
    let more = store.run(at(9), |tx| postings::post(tx, issued(), purse(), Points::new(1), Cause::Expired));
    more.await.expect("posts");
    assert_ne!(verify(&store).await.expect("reads").root, report.root);
    let then = verify_until(&store, report.seq).await.expect("reads");
    assert_eq!((then.root, then.entries), (report.root, 10), "the root of a past commit stays");
    assert_eq!(problems_after(|_| Ok(())).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_entry_is_named() {
    let found = problems_after(|tx| change(tx, 2, |entry| entry.cause = Cause::Opening)).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("00000007, Active") && found[0].ends_with("the chain breaks at entry 2"), "{found:?}");
}

#[tokio::test]
async fn an_entry_linked_anew_breaks_at_the_next_one() {
    let found = problems_after(|tx| {
        let before = tx.get(&ENTRIES, &(purse(), 1))?.and_then(|entry| entry.link);
        change(tx, 2, |entry| {
            entry.cause = Cause::Opening;
            entry.link = Some(link(before.as_ref(), purse(), 2, entry));
        })
    });
    let found = found.await;
    assert!(found.len() == 1 && found[0].ends_with("the chain breaks at entry 3"), "{found:?}");
}

#[tokio::test]
async fn a_last_entry_linked_anew_is_not_the_head() {
    let found = problems_after(|tx| {
        let before = tx.get(&ENTRIES, &(purse(), 3))?.and_then(|entry| entry.link);
        change(tx, 4, |entry| {
            entry.cause = Cause::Opening;
            entry.link = Some(link(before.as_ref(), purse(), 4, entry));
        })
    });
    let found = found.await;
    assert!(found.len() == 1 && found[0].contains("another head"), "{found:?}");
}

#[tokio::test]
async fn a_link_taken_out_is_named() {
    let found = problems_after(|tx| change(tx, 2, |entry| entry.link = None)).await;
    assert!(found[0].ends_with("entry 2 is not chained to the one before it"), "{found:?}");
}

#[tokio::test]
async fn entries_missing_at_the_end_are_noticed() {
    let found = problems_after(|tx| tx.delete(&ENTRIES, &(purse(), 4))).await;
    assert!(found[0].contains("counts 5 entries, there are 4"), "{found:?}");
}

/// A store from before chains is sound; its next posting begins a chain.
#[tokio::test]
async fn a_chain_begins_where_there_was_none() {
    let store = five_postings().await;
    let unchain = store.run(at(9), |tx| {
        for account in [purse(), issued()] {
            for number in 0..5 {
                let entry = tx.get(&ENTRIES, &(account, number))?.expect("is there");
                tx.put(&ENTRIES, &(account, number), &Entry { link: None, ..entry })?;
            }
            let balance = tx.get(&BALANCES, &account)?.expect("is there");
            tx.put(&BALANCES, &account, &Balance { head: None, ..balance })?;
        }
        Ok::<_, StoreError>(())
    });
    unchain.await.expect("writes");
    let more = store.run(at(9), |tx| postings::post(tx, issued(), purse(), Points::new(1), Cause::Expired));
    more.await.expect("posts");
    let report = verify(&store).await.expect("reads");
    assert_eq!((report.unchained, report.entries), (10, 12));
    assert!(report.problems.iter().all(|problem| problem.contains("lots")), "{:?}", report.problems);
}
