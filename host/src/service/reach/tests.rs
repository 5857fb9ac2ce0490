use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Total,
    fixture::{Reached, failure},
};
use crate::{
    domain::{
        channel::{Attempt, Incoming, Receipt, ReceiptStatus, Received},
        touch::{Channel, Class, ConsentPurpose},
    },
    ids::MemberId,
    reach::{carrier::Unread, touch::Column},
    service::{Error, PageRequest},
};

/// Noon in Shanghai: the fixture's clock begins there.
async fn ready(seed: u64) -> (Reached, MemberId) {
    let reached = Reached::start(seed).await;
    reached.template("sale", Class::Marketing, &[Channel::Sms, Channel::Email]).await;
    reached.template("paid", Class::Transactional, &[Channel::Sms]).await;
    reached.template("dose", Class::Care, &[Channel::Sms]).await;
    let member = reached.member("m-1", None).await;
    (reached, member)
}

/// Candidates are the sum of all other columns, always.
async fn balanced(reached: &Reached) {
    let totals = reached.fixture.services.touch_totals().await.expect("totals");
    let sum = |candidates: bool| -> u64 {
        totals.iter().filter(|total| (total.column == Column::Candidates) == candidates).map(|total| total.count).sum()
    };
    assert_eq!(sum(true), sum(false), "{totals:?}");
}

async fn later(reached: &Reached, time: SignedDuration) {
    reached.fixture.wait(time);
    reached.deliver().await;
}

#[tokio::test]
async fn marketing_goes_with_consent_and_nothing_goes_without() {
    let (reached, member) = ready(1).await;
    let refused = reached.ask(member, "sale").await;
    let paid = reached.ask(member, "paid").await;
    let dose = reached.ask(member, "dose").await;
    reached.deliver().await;
    assert_eq!(reached.state(refused).await, "Dropped(NoConsent)");
    assert_eq!(reached.state(paid).await, "Sent");
    assert_eq!(reached.state(dose).await, "Dropped(NoConsent)");
    reached.consent(member, ConsentPurpose::Marketing, Channel::Email, true).await;
    let mailed = reached.ask(member, "sale").await;
    reached.deliver().await;
    let touch = reached.touch(mailed).await;
    assert_eq!((touch.channel, touch.slot.as_deref()), (Channel::Email, Some("channel.email")));
    let calls = reached.world.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].to, "wang@example.com");
    assert!(calls[1].text.starts_with("王小明: 维生素C 回R退订 http://127.0.0.1:8080/u/"), "{}", calls[1].text);
    assert_eq!(calls[0].link, None, "what answers an order cannot be stopped");
    balanced(&reached).await;
}

#[tokio::test]
async fn asking_twice_makes_one_touch() {
    let (reached, member) = ready(2).await;
    let first = reached.ask_as(member, "paid", "order-1", "a").await;
    assert_eq!(reached.ask_as(member, "paid", "order-1", "a").await, first);
    assert_ne!(reached.ask_as(member, "paid", "order-2", "a").await, first);
    reached.deliver().await;
    assert_eq!(reached.keys().len(), 2);
    balanced(&reached).await;
}

#[tokio::test]
async fn one_marketing_touch_a_day_over_all_channels() {
    let (reached, member) = ready(3).await;
    for channel in [Channel::Sms, Channel::Email] {
        reached.consent(member, ConsentPurpose::Marketing, channel, true).await;
    }
    let ids = [reached.ask(member, "sale").await, reached.ask(member, "sale").await, reached.ask(member, "sale").await];
    reached.deliver().await;
    assert_eq!(reached.world.calls().len(), 1, "of three at once, one goes");
    balanced(&reached).await;
    // At midnight of the member's zone the next day begins, and at nine the night ends.
    let mut waiting = 0;
    for id in ids {
        let touch = reached.touch(id).await;
        if let Some(next) = touch.queued {
            assert_eq!(next, "2026-03-02T01:00:00Z".parse::<Timestamp>().expect("a time"));
            waiting += 1;
        }
    }
    assert_eq!(waiting, 2);
    later(&reached, SignedDuration::from_hours(21)).await;
    assert_eq!(reached.world.calls().len(), 2);
    later(&reached, SignedDuration::from_hours(24)).await;
    assert_eq!(reached.world.calls().len(), 3);
    assert_eq!(reached.distinct().len(), 3);
    balanced(&reached).await;
}

#[tokio::test]
async fn members_sleep_in_their_own_zone() {
    let (reached, _) = ready(4).await;
    let berlin = reached.member("m-berlin", Some("Europe/Berlin")).await;
    reached.consent(berlin, ConsentPurpose::Marketing, Channel::Sms, true).await;
    let sale = reached.ask(berlin, "sale").await;
    let paid = reached.ask(berlin, "paid").await;
    reached.deliver().await;
    // It is five in the morning there.
    assert_eq!(reached.state(sale).await, "Deferred { reason: QuietHours, until: 2026-03-01T08:00:00Z }");
    assert_eq!(reached.state(paid).await, "Sent");
    later(&reached, SignedDuration::from_hours(4)).await;
    assert_eq!(reached.state(sale).await, "Sent");
    balanced(&reached).await;
}

#[tokio::test]
async fn the_guard_blocks_and_its_fault_lets_nothing_pass() {
    let (reached, member) = ready(5).await;
    reached.world.forbid("特效");
    let blocked = reached.ask_as(member, "paid", "a", "特效药").await;
    reached.world.guard_down(true);
    reached.deliver().await;
    assert!(reached.state(blocked).await.starts_with("Deferred { reason: GuardUnavailable"));
    reached.world.guard_down(false);
    later(&reached, SignedDuration::from_mins(2)).await;
    let touch = reached.touch(blocked).await;
    assert_eq!(format!("{:?}", touch.state), "Dropped(GuardBlocked)");
    let note = touch.note.expect("a note");
    assert_eq!((note.code.as_str(), note.message.as_str()), ("absolute-term", "特效"));
    assert_eq!(reached.world.calls(), []);
    balanced(&reached).await;
}

#[tokio::test]
async fn two_retries_then_the_next_provider_then_a_dead_letter() {
    let (reached, member) = ready(6).await;
    reached.world.provide(Channel::Sms, &[("channel.sms", true), ("channel.sms-2", false)]);
    let busy = || std::iter::repeat_n(Attempt::Retry(failure("busy")), 3);
    reached.world.say("channel.sms", busy());
    let id = reached.ask(member, "paid").await;
    reached.deliver().await;
    for wait in [6, 30] {
        later(&reached, SignedDuration::from_secs(wait)).await;
    }
    let slots: Vec<String> = reached.world.calls().into_iter().map(|call| call.slot).collect();
    assert_eq!(slots, ["channel.sms", "channel.sms", "channel.sms", "channel.sms-2"]);
    assert_eq!(reached.distinct().len(), 1, "always the same key");
    assert_eq!(reached.state(id).await, "Sent");
    reached.world.say("channel.sms", busy());
    reached.world.say("channel.sms-2", busy());
    let dead = reached.ask(member, "paid").await;
    reached.deliver().await;
    for _ in 0..6 {
        later(&reached, SignedDuration::from_secs(30)).await;
    }
    assert_eq!(reached.state(dead).await, "Dead");
    let services = &reached.fixture.services;
    let stuck = services.stuck_touches(reached.fixture.operator, PageRequest::default()).await.expect("a page");
    assert_eq!(stuck.rows.iter().map(|touch| touch.id).collect::<Vec<_>>(), [dead]);
    balanced(&reached).await;
    services.retry_touch(reached.fixture.operator, reached.fixture.once(), dead).await.expect("is stuck");
    reached.deliver().await;
    assert_eq!(reached.state(dead).await, "Sent");
    let again = services.discard_touch(reached.fixture.operator, reached.fixture.once(), dead).await;
    assert!(matches!(again, Err(Error::Invalid(_))));
    balanced(&reached).await;
}

#[tokio::test]
async fn an_end_that_nobody_knows_is_repeated_only_where_it_has_no_second_effect() {
    let (reached, member) = ready(7).await;
    reached.world.provide(Channel::Sms, &[("channel.sms", true), ("channel.sms-2", true)]);
    let unknown = || Attempt::Unknown(failure("timeout"));
    reached.world.say("channel.sms", [unknown()]);
    let repeated = reached.ask(member, "paid").await;
    reached.deliver().await;
    later(&reached, SignedDuration::from_secs(6)).await;
    assert_eq!(reached.state(repeated).await, "Sent");
    // What may have been taken never goes to another provider.
    reached.world.say("channel.sms", [unknown(), Attempt::Retry(failure("busy")), Attempt::Retry(failure("busy"))]);
    let kept = reached.ask(member, "paid").await;
    reached.deliver().await;
    for _ in 0..4 {
        later(&reached, SignedDuration::from_secs(30)).await;
    }
    assert_eq!(reached.state(kept).await, "Unknown");
    assert!(reached.world.calls().iter().all(|call| call.slot == "channel.sms"));
    reached.world.provide(Channel::Sms, &[("channel.sms-2", false)]);
    reached.world.say("channel.sms-2", [unknown()]);
    let alone = reached.ask(member, "paid").await;
    reached.deliver().await;
    later(&reached, SignedDuration::from_hours(1)).await;
    assert_eq!(reached.state(alone).await, "Unknown");
    let key = crate::reach::touch::key_of(alone);
    assert_eq!(reached.keys().iter().filter(|known| **known == key).count(), 1, "never a second time");
    let services = &reached.fixture.services;
    services.confirm_touch(reached.fixture.operator, reached.fixture.once(), alone).await.expect("is stuck");
    assert_eq!(reached.state(alone).await, "Sent");
    balanced(&reached).await;
}

#[tokio::test]
async fn what_a_crash_cut_off_is_repeated_or_asked_about() {
    for (deduplicates, expect) in [(true, "Sent"), (false, "Unknown")] {
        let (mut reached, member) = ready(8).await;
        reached.world.provide(Channel::Sms, &[("channel.sms", deduplicates)]);
        let id = reached.ask(member, "paid").await;
        let services = reached.fixture.services.clone();
        // The call is dropped half-way, as a killed process drops it.
        let mut cut = Box::pin(services.deliver_due());
        while reached.world.calls().is_empty() {
            assert!(futures::poll!(&mut cut).is_pending());
            if reached.state(id).await.starts_with("Sending") {
                break;
            }
        }
        drop(cut);
        assert!(reached.state(id).await.starts_with("Sending"));
        reached.crash();
        assert_eq!(reached.fixture.services.reclaim_touches().await.expect("the store answers"), 1);
        later(&reached, SignedDuration::from_secs(10)).await;
        assert_eq!(reached.state(id).await, expect);
        assert!(reached.keys().len() <= 2 && reached.distinct().len() <= 1);
        balanced(&reached).await;
    }
}

#[tokio::test]
async fn a_refusal_for_good_gives_the_day_back() {
    let (reached, member) = ready(9).await;
    reached.consent(member, ConsentPurpose::Marketing, Channel::Sms, true).await;
    reached.world.say("channel.sms", [Attempt::Rejected(failure("template-withdrawn"))]);
    let refused = reached.ask(member, "sale").await;
    reached.deliver().await;
    assert_eq!(reached.state(refused).await, "Dropped(Rejected)");
    let sent = reached.ask(member, "sale").await;
    reached.deliver().await;
    assert_eq!(reached.state(sent).await, "Sent");
    reached.world.say("channel.sms", [Attempt::Rejected(failure("no-such-address"))]);
    let bounced = reached.ask(member, "paid").await;
    reached.deliver().await;
    let next = reached.ask(member, "paid").await;
    reached.deliver().await;
    assert_eq!(reached.state(bounced).await, "Dropped(Rejected)");
    assert_eq!(reached.state(next).await, "Dropped(Suppressed)", "also what answers an order");
    balanced(&reached).await;
}

#[tokio::test]
async fn an_erased_member_gets_nothing() {
    let (reached, member) = ready(10).await;
    let before = reached.ask(member, "paid").await;
    let services = &reached.fixture.services;
    services.erase_member(reached.fixture.shop, reached.fixture.once(), member).await.expect("is erased");
    let after = reached.ask(member, "paid").await;
    reached.deliver().await;
    assert_eq!(reached.state(before).await, "Dropped(Erased)");
    assert_eq!(reached.state(after).await, "Dropped(Erased)");
    assert_eq!(reached.world.calls(), []);
    balanced(&reached).await;
}

#[tokio::test]
async fn one_click_stops_a_channel_at_once() {
    let (reached, member) = ready(11).await;
    for channel in [Channel::Sms, Channel::Email] {
        reached.consent(member, ConsentPurpose::Marketing, channel, true).await;
    }
    reached.ask(member, "sale").await;
    reached.deliver().await;
    let link = reached.world.calls()[0].link.clone().expect("a link");
    let token = link.rsplit('/').next().expect("a token");
    let services = &reached.fixture.services;
    let looked = services.unsubscribe_link(token).await.expect("is ours");
    assert_eq!(looked.channel, Channel::Sms);
    let granted = |consents: Vec<crate::reach::consent::Consent>| -> Vec<(Channel, bool, u32)> {
        consents.into_iter().map(|consent| (consent.channel, consent.granted, consent.version)).collect()
    };
    let before = services.consents(reached.fixture.shop, member).await.expect("consents");
    assert_eq!(granted(before), [(Channel::Sms, true, 1), (Channel::Email, true, 1)], "looking changes nothing");
    for _ in 0..2 {
        services.unsubscribe(token).await.expect("is ours");
    }
    let after = services.consents(reached.fixture.shop, member).await.expect("consents");
    assert_eq!(granted(after), [(Channel::Sms, false, 2), (Channel::Email, true, 1)]);
    // Consent given again does not lift what the member asked for.
    reached.consent(member, ConsentPurpose::Marketing, Channel::Sms, true).await;
    reached.consent(member, ConsentPurpose::Marketing, Channel::Email, false).await;
    later(&reached, SignedDuration::from_hours(24)).await;
    let next = reached.ask(member, "sale").await;
    reached.deliver().await;
    assert_eq!(reached.state(next).await, "Dropped(Suppressed)");
    let refused = services.unsubscribe(&token.replace('0', "1")).await;
    assert!(matches!(refused, Err(Error::Unknown { .. })));
    balanced(&reached).await;
}

fn incoming() -> Incoming {
    Incoming { method: "POST".to_owned(), target: "/".to_owned(), headers: Vec::new(), body: Vec::new() }
}

fn receipt(status: ReceiptStatus, at: Timestamp) -> Receipt {
    Receipt { key: None, provider_id: None, address: None, status, at, code: "ok".to_owned() }
}

fn report(receipts: Vec<Receipt>) -> Result<Received, Unread> {
    Ok(Received { receipts, status: 200, body: "ok".to_owned() })
}

#[tokio::test]
async fn receipts_say_what_became_of_it() {
    let (reached, member) = ready(12).await;
    reached.consent(member, ConsentPurpose::Marketing, Channel::Sms, true).await;
    reached.world.provide(Channel::Sms, &[("channel.sms", false)]);
    let sale = reached.ask(member, "sale").await;
    reached.deliver().await;
    reached.world.say("channel.sms", [Attempt::Unknown(failure("timeout"))]);
    let paid = reached.ask(member, "paid").await;
    reached.deliver().await;
    let services = &reached.fixture.services;
    let now = services.clock.now();
    let key = crate::reach::touch::key_of;
    let future = now.checked_add(SignedDuration::from_hours(1)).expect("a time");
    let delivered =
        Receipt { provider_id: Some(format!("v-{}", key(sale))), ..receipt(ReceiptStatus::Delivered, future) };
    let clicked = Receipt { key: Some(key(paid)), ..receipt(ReceiptStatus::Clicked, now) };
    let nobody = Receipt { key: Some("0".repeat(32)), ..receipt(ReceiptStatus::Failed, now) };
    reached.world.report(report(vec![delivered, clicked, nobody]));
    services.receive("channel.sms", incoming()).await.expect("is read");
    assert_eq!(reached.touch(sale).await.delivered_at, Some(now), "never before it is reported");
    let paid = reached.touch(paid).await;
    assert_eq!((paid.state.name(), paid.clicked_at), ("sent", Some(now)), "it was taken after all");
    // A reply names the address alone.
    let stop = Receipt { address: Some("+8613800138000".to_owned()), ..receipt(ReceiptStatus::Unsubscribed, now) };
    reached.world.report(report(vec![stop]));
    services.receive("channel.sms", incoming()).await.expect("is read");
    let consents = services.consents(reached.fixture.shop, member).await.expect("consents");
    assert_eq!(
        consents.iter().map(|consent| (consent.granted, consent.source.as_str())).collect::<Vec<_>>(),
        [(false, "reply")]
    );
    let other = reached.member("m-2", None).await;
    reached.consent(other, ConsentPurpose::Marketing, Channel::Sms, true).await;
    let same_number = reached.ask(other, "sale").await;
    reached.deliver().await;
    assert_eq!(reached.state(same_number).await, "Dropped(Suppressed)", "the number is stopped, whoever has it");
    let forged = services.receive("channel.sms", incoming()).await;
    assert!(matches!(forged, Err(Error::Invalid(_))));
    assert!(matches!(services.receive("channel.fax", incoming()).await, Err(Error::Unknown { .. })));
    balanced(&reached).await;
}

#[tokio::test]
async fn personal_data_lies_sealed_alone() {
    let reached = Reached::over(crate::service::fixture::Fixture::sled().await);
    reached.template("paid", Class::Transactional, &[Channel::Sms]).await;
    let member = reached.member("m-1", None).await;
    reached.ask_as(member, "paid", "a", "二甲双胍缓释片").await;
    reached.deliver().await;
    assert!(reached.world.calls()[0].text.contains("二甲双胍缓释片"));
    let mut files = 0;
    reached.fixture.each_file(|path, bytes| {
        files += 1;
        for secret in ["二甲双胍缓释片", "13800138000", "wang@example.com", "王小明"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    });
    assert!(files > 0);
}

/// Delivers in the background until the condition holds.
async fn deliver_until(reached: &Reached, holds: impl AsyncFn() -> bool) -> (watch::Sender<bool>, JoinHandle<()>) {
    let services = reached.fixture.services.clone();
    let (stop, stopped) = watch::channel(false);
    let delivery = tokio::spawn(async move { services.deliver_always(stopped).await });
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes to hold");
    (stop, delivery)
}

/// Every attempt by text message hangs until its deadline, and more are due than are looked at together; no mail waits
/// for any of them.
#[tokio::test]
async fn a_provider_that_never_answers_keeps_only_its_own_channel_waiting() {
    let (reached, member) = ready(18).await;
    reached.template("mailed", Class::Transactional, &[Channel::Email]).await;
    reached.world.silence("channel.sms");
    for (template, count) in [("paid", 1_100), ("mailed", 60)] {
        for _ in 0..count {
            reached.ask(member, template).await;
        }
    }
    let mailed = async || reached.world.calls().len() == 60;
    let (_stop, delivery) = deliver_until(&reached, mailed).await;
    assert!(reached.world.calls().iter().all(|call| call.slot == "channel.email"));
    let totals = reached.fixture.services.touch_totals().await.expect("totals");
    let count = |channel, column| {
        let of = |total: &&Total| (total.channel, total.column) == (channel, column);
        totals.iter().filter(of).map(|total| total.count).sum::<u64>()
    };
    assert_eq!(reached.world.waited("channel.sms"), 24, "so many of one channel at one time");
    assert_eq!((count(Channel::Sms, Column::Sending), count(Channel::Sms, Column::Pending)), (24, 1_076));
    delivery.abort();
    balanced(&reached).await;
}

/// One attempt hangs; as each other one ends, the next begins. What is under way when the server stops ends, too.
#[tokio::test]
async fn one_slow_attempt_keeps_nobody_waiting() {
    let (mut reached, member) = ready(19).await;
    let settings = Arc::make_mut(&mut reached.fixture.services.settings);
    (settings.reach.per_channel, settings.reach.attempt_max) = (2, Duration::from_secs(6));
    reached.crash();
    reached.world.provide(Channel::Sms, &[("channel.sms", false)]);
    reached.world.silence("channel.sms");
    let slow = reached.ask(member, "paid").await;
    let (stop, delivery) = deliver_until(&reached, async || reached.world.waited("channel.sms") == 1).await;
    reached.world.calm();
    for _ in 0..50 {
        reached.ask(member, "paid").await;
    }
    let begun = Instant::now();
    while reached.world.calls().len() < 50 {
        assert!(begun.elapsed() < Duration::from_secs(60), "they wait");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(reached.state(slow).await.starts_with("Sending"), "it still hangs");
    stop.send_replace(true);
    reached.fixture.services.reach.drain();
    delivery.await.expect("ends");
    assert_eq!(reached.state(slow).await, "Unknown", "what was under way ended, by its deadline");
    assert_eq!(reached.world.calls().len(), 50);
    balanced(&reached).await;
}

#[tokio::test]
async fn a_touch_is_held_once_at_a_time() {
    let (reached, member) = ready(17).await;
    let touch = reached.ask(member, "paid").await;
    let reach = &reached.fixture.services.reach;
    let held = reach.hold(touch);
    assert!(held.is_some() && reach.hold(touch).is_none() && reach.hold(touch).is_none());
    drop(held);
    assert!(reach.hold(touch).is_some());
    reach.drain();
    assert!(reach.hold(touch).is_none());
}
