use jiff::SignedDuration;

use crate::{
    domain::{
        channel::Attempt,
        touch::{Channel, Class, ConsentPurpose},
    },
    ids::TouchId,
    reach::tables::{
        CONTENTS, DAYS, LAST_TO_ADDRESS, PROVIDER_IDS, QUEUE, STUCK, TOUCH_KEYS, TOUCHES, TOUCHES_OF_MEMBER,
    },
    service::{
        reach::{
            WantedTouch,
            fixture::{Reached, failure},
        },
        timers::Pace,
        verify,
    },
    store::{Scan, StoreError},
};

/// Rows in each table of touches, the totals aside.
async fn rows(reached: &Reached) -> [usize; 9] {
    let read = reached.fixture.services.store.read(|tx| {
        Ok::<_, StoreError>([
            tx.scan(&TOUCHES, &Scan::all())?.len(),
            tx.scan(&TOUCH_KEYS, &Scan::all())?.len(),
            tx.scan(&TOUCHES_OF_MEMBER, &Scan::all())?.len(),
            tx.scan(&CONTENTS, &Scan::all())?.len(),
            tx.scan(&PROVIDER_IDS, &Scan::all())?.len(),
            tx.scan(&LAST_TO_ADDRESS, &Scan::all())?.len(),
            tx.scan(&DAYS, &Scan::all())?.len(),
            tx.scan(&STUCK, &Scan::all())?.len(),
            tx.scan(&QUEUE, &Scan::all())?.len(),
        ])
    });
    read.await.expect("reads")
}

async fn nights(reached: &Reached, days: i64) {
    reached.fixture.wait(SignedDuration::from_hours(24 * days));
    reached.fixture.services.run_due(Pace::Full, || true).await.expect("runs");
}

/// What touches said goes after a month, they themselves after four hundred days; what still waits stays whole, the
/// totals count on, and a key is good for as long as its touch is kept.
#[tokio::test]
async fn touches_are_forgotten_after_their_time() {
    let reached = Reached::start(71).await;
    let services = &reached.fixture.services;
    services.ensure_schedules().await.expect("makes schedules");
    let member = reached.member("m-1", None).await;
    reached.template("order", Class::Transactional, &[Channel::Sms]).await;
    reached.template("news", Class::Content, &[Channel::Email]).await;
    reached.consent(member, ConsentPurpose::Marketing, Channel::Email, true).await;
    reached.world.say("channel.sms", [Attempt::Rejected(failure("no"))]);
    let rejected = reached.ask(member, "order").await;
    reached.deliver().await;
    let sent: Vec<TouchId> = futures::future::join_all((0..60).map(|_| reached.ask(member, "order"))).await;
    let keyed = reached.ask_as(member, "order", "my-own-key", "x").await;
    let news = reached.ask(member, "news").await;
    reached.deliver().await;
    reached.world.provide(Channel::Sms, &[("channel.sms", false)]);
    reached.world.say("channel.sms", [Attempt::Unknown(failure("cut off"))]);
    let unknown = reached.ask(member, "order").await;
    reached.deliver().await;
    let now = services.clock.now();
    let later = now.checked_add(SignedDuration::from_hours(24 * 900)).expect("a time");
    let waits = WantedTouch {
        member,
        template: "order".to_owned(),
        variables: Vec::new(),
        dedupe: "later".to_owned(),
        due: later,
        expires: later.checked_add(SignedDuration::from_hours(1)).expect("a time"),
    };
    let asked = services.ask_touches(reached.fixture.shop, reached.fixture.once(), vec![waits]).await;
    let waits = asked.expect("is asked").value[0];
    for (touch, state) in
        [(rejected, "Dropped(Rejected)"), (sent[59], "Sent"), (news, "Sent"), (unknown, "Unknown"), (waits, "Pending")]
    {
        assert_eq!(reached.state(touch).await, state);
    }
    let totals = services.touch_totals().await.expect("sums");
    let all = 1 + 60 + 1 + 1 + 1 + 1;
    assert_eq!(rows(&reached).await, [all, all, all, all, 62, 2, 1, 1, 1]);

    nights(&reached, 29).await;
    assert_eq!(rows(&reached).await, [all, all, all, all, 62, 2, 1, 1, 1], "nothing is old");
    nights(&reached, 2).await;
    assert_eq!(rows(&reached).await, [all, all, all, 1, 62, 2, 1, 1, 1], "what waits keeps what it will say");
    let retry = services.retry_touch(reached.fixture.operator, reached.fixture.once(), unknown).await;
    assert!(retry.expect_err("has nothing to say").to_string().contains("ask for a new one"));
    nights(&reached, 360).await;
    assert_eq!(reached.ask_as(member, "order", "my-own-key", "x").await, keyed, "the key is known");
    nights(&reached, 10).await;
    assert_eq!(rows(&reached).await, [1, 1, 1, 1, 0, 0, 0, 0, 1]);
    assert_eq!(reached.state(waits).await, "Pending");
    assert_eq!(services.touch_totals().await.expect("sums"), totals);
    assert_ne!(reached.ask_as(member, "order", "my-own-key", "x").await, keyed, "it is a new one");
    let references = verify::references(&services.store, None).await.expect("reads");
    let problems: Vec<String> = references.problems.into_iter().filter(|problem| problem.contains("touch")).collect();
    assert_eq!(problems, Vec::<String>::new());
}
