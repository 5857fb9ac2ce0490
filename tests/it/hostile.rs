//! Plugins that mean harm, and files that are no plugins: each is refused or contained under its own name, and the
//! engine answers the next good call.

use std::time::{Duration, Instant};

use galenic::{
    domain::{
        fact::{self, Facts, Scope, Value},
        guard::Draft,
        rule::{Activity, CartSubject, Outcome},
        score::{Candidate, ScoreRequest, Shelf},
    },
    plugin::{AdmissionError, Budgets, Engine, Fallback, Fault, ReleaseError, ReleaseSpec},
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    guest::{Guest, INTEGER, MONEY, TEXT},
    releases::{admit, engine, release, spec, spender},
};

/// What the engine says to a file.
async fn refusal(engine: &Engine, bytes: Vec<u8>) -> AdmissionError {
    match engine.admit(bytes).await {
        Err(error) => error,
        Ok(module) => panic!("{module:?} was admitted"),
    }
}

/// The fault of one tier call, and that the engine still answers.
async fn tier_fault(engine: &Engine, guest: &Guest, budgets: Budgets) -> Fault {
    let module = admit(engine, guest).await;
    let release = engine.prepare(ReleaseSpec { budgets, ..spec(&module, 1) }).await.expect("prepares");
    let answered = release.tier(&[spender(1)]).await;
    let fault = answered.fault().expect("the call faults").clone();
    assert!(answered.answers[0].value().is_none());
    still_answers(engine).await;
    fault
}

async fn still_answers(engine: &Engine) {
    let good = release(engine, &Guest::tier()).await;
    assert!(good.tier(&[spender(500)]).await.fault().is_none(), "the next good call is answered");
    assert_eq!(engine.sandboxes_free(), 16, "no sandbox is lost");
}

#[tokio::test]
async fn files_that_are_no_plugins_are_refused_by_name() {
    let engine = engine(None);
    let whole = Guest::tier().component();
    let cases: [(Vec<u8>, &str); 9] = [
        (Vec::new(), "the file is empty"),
        (b"fn main() {}".to_vec(), "the file is text"),
        (vec![0x7f, b'E', b'L', b'F', 0, 1, 2, 3, 0xff], "the file is not WASM"),
        (b"\0asm\x01\0\0\0".to_vec(), "this is a core WASM module"),
        (b"\0asm\x63\0\x01\0".to_vec(), "an unknown version of WASM"),
        (whole[..6].to_vec(), "the component is truncated"),
        (whole[..whole.len() / 2].to_vec(), "the component is truncated"),
        (vec![b'a'; 5 << 20], "the limit is 4194304"),
        ([&whole[..], &[0xff; 8]].concat(), "the component is malformed"),
    ];
    for (bytes, expect) in cases {
        let error = refusal(&engine, bytes).await.to_string();
        assert!(error.contains(expect), "{error} should say {expect}");
    }
    for cut in (8..whole.len()).step_by(97) {
        let error = refusal(&engine, whole[..cut].to_vec()).await;
        assert!(
            matches!(
                error,
                AdmissionError::Truncated(_) | AdmissionError::Malformed(_) | AdmissionError::NoKind { .. }
            ),
            "{cut}: {error}"
        );
    }
    still_answers(&engine).await;
}

#[tokio::test]
async fn imports_and_exports_are_held_to_the_contract() {
    let engine = engine(None);
    let component = |text: &str| wat::parse_str(text).expect("parses");
    let clock = component(r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func)))))"#);
    let error = refusal(&engine, clock).await.to_string();
    assert!(error.contains("`wasi:clocks/wall-clock@0.2.0#now` is not allowed"), "{error}");
    assert!(error.contains("wasm32-unknown-unknown"), "{error}");
    let http =
        component(r#"(component (import "galenic:plugin/outbound-http@0.1.0" (instance (export "send" (func)))))"#);
    let error = refusal(&engine, http).await.to_string();
    assert!(error.contains("the grant `outbound-http` exists for channels alone"), "{error}");
    let function = component(r#"(component (import "print" (func (param "text" string))))"#);
    assert!(refusal(&engine, function).await.to_string().contains("`print` is not allowed"));
    let none = component(r#"(component (instance $i) (export "galenic:plugin/oracle@0.1.0" (instance $i)))"#);
    let error = refusal(&engine, none).await.to_string();
    assert!(error.contains("found: galenic:plugin/oracle@0.1.0") && error.contains("tier-rule@0.1.0"), "{error}");
    let later = component(r#"(component (instance $i) (export "galenic:plugin/tier-rule@0.9.0" (instance $i)))"#);
    assert!(matches!(refusal(&engine, later).await, AdmissionError::Version { found } if found.ends_with("@0.9.0")));
    let hollow = component(r#"(component (instance $i) (export "galenic:plugin/tier-rule@0.1.0" (instance $i)))"#);
    assert!(matches!(refusal(&engine, hollow).await, AdmissionError::Export(export) if export.why == "it is missing"));
    let both = component(
        r#"(component (instance $i) (export "galenic:plugin/tier-rule@0.1.0" (instance $i))
                      (export "galenic:plugin/earning-rule@0.1.0" (instance $i)))"#,
    );
    assert!(matches!(refusal(&engine, both).await, AdmissionError::SeveralKinds(_)));
    still_answers(&engine).await;
}

#[tokio::test]
async fn a_description_is_checked_part_by_part() {
    let engine = engine(None);
    let fact = |name: &str, ty: u8| vec![(name.to_owned(), ty)];
    let many = |count: usize| (0..count).map(|number| format!("r-{number}")).collect::<Vec<_>>();
    let tier = Guest::tier;
    let cases: Vec<(Guest, &str, &str)> = vec![
        (Guest { name: "Tier Rule".into(), ..tier() }, "/name", "[a-z0-9-]"),
        (Guest { version: "1.0".into(), ..tier() }, "/version", "semantic version"),
        (Guest { schema: "{".into(), ..tier() }, "/config-schema", "not JSON"),
        (Guest { schema: r#"{"type": 5}"#.into(), ..tier() }, "/config-schema", "not a JSON Schema"),
        (Guest { facts: fact("member.shoe-size", INTEGER), ..tier() }, "/facts/0", "no fact `member.shoe-size`"),
        (Guest { facts: fact("member.tier", MONEY), ..tier() }, "/facts/0", "is of type text, not money"),
        (
            Guest { facts: [fact("member.tier", TEXT), fact("member.tier", TEXT)].concat(), ..tier() },
            "/facts/1",
            "twice",
        ),
        (Guest { facts: fact("line.amount", MONEY), ..tier() }, "/facts/0", "a tier rule has no lines"),
        (Guest { facts: fact("candidate.price", MONEY), ..tier() }, "/facts/0", "only scorers have candidates"),
        (Guest { facts: fact("touch.class", TEXT), ..tier() }, "/facts/0", "only content guards see messages"),
        (Guest { facts: fact("line.amount", MONEY), ..Guest::scorer("", 0) }, "/facts/0", "only earning rules"),
        (Guest { facts: fact("member.tier", TEXT), ..Guest::guard("", 0) }, "/facts/0", "begin with `touch.`"),
        (Guest { reasons: many(257), ..tier() }, "/reasons", "at most 256"),
        (Guest { reasons: vec!["a".into(), "a".into()], ..tier() }, "/reasons/1/code", "twice"),
        (Guest { terms: vec![("Off".into(), MONEY)], ..Guest::coupon("") }, "/terms/0/name", "[a-z0-9-]"),
    ];
    for (guest, at, expect) in cases {
        match refusal(&engine, guest.component()).await {
            AdmissionError::Description { pointer, why } => {
                assert_eq!(pointer, at, "{why}");
                assert!(why.contains(expect), "{why} should say {expect}");
            }
            other => panic!("{at}: {other}"),
        }
    }
    let trapping = Guest { describe: "(unreachable)".into(), ..tier() };
    let error = refusal(&engine, trapping.component()).await;
    assert!(matches!(error, AdmissionError::Describe { function: "describe", fault: Fault::Trap(_) }), "{error}");
    let endless = Guest { describe: "(loop (br 0)) (unreachable)".into(), ..tier() };
    let error = refusal(&engine, endless.component()).await;
    assert!(matches!(error, AdmissionError::Describe { fault: Fault::OutOfFuel(_), .. }), "{error}");
    let huge = Guest { pages: 2_000, ..tier() };
    let error = refusal(&engine, huge.component()).await;
    assert!(matches!(error, AdmissionError::Start(_) | AdmissionError::Malformed(_)), "{error}");
    still_answers(&engine).await;
}

#[tokio::test]
async fn tiers_are_checked_when_the_release_is_prepared() {
    let engine = engine(None);
    let long: Vec<crate::guest::TierData> = vec![("a", vec![]); 33];
    let cases: Vec<(Vec<crate::guest::TierData>, &str)> = vec![
        (vec![], "/tiers: 0 tiers"),
        (long, "/tiers: 33 tiers"),
        (vec![("a", vec![]), ("a", vec![])], "/tiers/1/code: `a` is there twice"),
        (vec![("A b", vec![])], "/tiers/0/code"),
        (vec![("a", vec![("free-coffee", 1)])], "/tiers/0/benefits/0: the host knows no benefit `free-coffee`"),
        (vec![("a", vec![("discount", 10_001)])], "`discount` must be 0 to 10000"),
        (vec![("a", vec![("discount", -1)])], "`discount` must be 0 to 10000"),
        (vec![("a", vec![("discount", 1), ("discount", 2)])], "/tiers/0/benefits/1: `discount` is there twice"),
    ];
    for (tiers, expect) in cases {
        let module = admit(&engine, &Guest { tiers, ..Guest::tier() }).await;
        let error = engine.prepare(spec(&module, 1)).await.expect_err("refused").to_string();
        assert!(error.contains(expect), "{error} should say {expect}");
    }
    still_answers(&engine).await;
}

#[tokio::test]
async fn budgets_and_configurations_out_of_range_are_refused() {
    let engine = engine(None);
    let module = admit(&engine, &Guest::tier()).await;
    let budgets = Budgets { memory_bytes: u32::MAX, ..Budgets::standard() };
    let error = engine.prepare(ReleaseSpec { budgets, ..spec(&module, 1) }).await.expect_err("refused");
    assert_eq!(error.to_string(), "/budgets/memory_bytes must be 65536 to 67108864");
    let budgets = Budgets { memory_bytes: 64 << 10, ..Budgets::standard() };
    let error = engine.prepare(ReleaseSpec { budgets, ..spec(&module, 1) }).await.expect_err("two pages are too many");
    assert!(matches!(error, ReleaseError::Start(Fault::Memory(65_536))), "{error}");
    for (configure, code) in [("(unreachable)", "trap"), ("(loop (br 0)) (unreachable)", "out-of-fuel")] {
        let module = admit(&engine, &Guest { configure: configure.into(), ..Guest::tier() }).await;
        match engine.prepare(spec(&module, 1)).await {
            Err(ReleaseError::Configure(fault)) => assert_eq!(fault.code(), code),
            other => panic!("{other:?}"),
        }
    }
    let coupon = admit(&engine, &Guest::coupon("")).await;
    let fallback = Fallback::Default(json!({}));
    let error = engine.prepare(ReleaseSpec { fallback, ..spec(&coupon, 1) }).await.expect_err("refused").to_string();
    assert!(error.contains("use `skip`"), "{error}");
    still_answers(&engine).await;
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_fuel_and_without_fuel_out_of_time() {
    let engine = engine(None);
    let guest = Guest { evaluate: "(loop (br 0)) (unreachable)".into(), ..Guest::tier() };
    let fault = tier_fault(&engine, &guest, Budgets::standard()).await;
    assert_eq!(fault, Fault::OutOfFuel(10_000_000));
    let budgets = Budgets { fuel: None, wall_ms: 30, ..Budgets::standard() };
    let began = Instant::now();
    assert_eq!(tier_fault(&engine, &guest, budgets).await, Fault::Deadline(30));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// One worker thread, and a guest that never ends: the others are served all the same.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_holds_no_worker() {
    let engine = engine(None);
    let guest = Guest { evaluate: "(loop (br 0)) (unreachable)".into(), ..Guest::tier() };
    let module = admit(&engine, &guest).await;
    let budgets = Budgets { fuel: None, wall_ms: 300, ..Budgets::standard() };
    let endless = engine.prepare(ReleaseSpec { budgets, ..spec(&module, 1) }).await.expect("prepares");
    let good = release(&engine, &Guest::tier()).await;
    let looping = tokio::spawn(async move { endless.tier(&[spender(1)]).await });
    tokio::task::yield_now().await;
    let mut served = 0;
    while !looping.is_finished() {
        assert!(good.tier(&[spender(1)]).await.fault().is_none());
        served += 1;
        tokio::task::yield_now().await;
    }
    assert!(served >= 20, "{served} calls beside the loop");
    assert_eq!(looping.await.expect("ends").fault(), Some(&Fault::Deadline(300)));
    assert_eq!(engine.sandboxes_free(), 16);
}

/// A caller that goes away in the middle of a call leaves nothing behind.
#[tokio::test(flavor = "current_thread")]
async fn a_call_given_up_frees_its_sandbox() {
    let engine = engine(None);
    let guest = Guest { evaluate: "(loop (br 0)) (unreachable)".into(), ..Guest::tier() };
    let module = admit(&engine, &guest).await;
    let budgets = Budgets { fuel: None, wall_ms: 10_000, ..Budgets::standard() };
    let endless = engine.prepare(ReleaseSpec { budgets, ..spec(&module, 1) }).await.expect("prepares");
    let looping = tokio::spawn(async move { endless.tier(&[spender(1)]).await });
    while engine.sandboxes_free() == 16 {
        tokio::task::yield_now().await;
    }
    looping.abort();
    assert!(looping.await.expect_err("was given up").is_cancelled());
    still_answers(&engine).await;
}

#[tokio::test]
async fn a_memory_bomb_and_deep_recursion_are_contained() {
    let engine = engine(None);
    let bomb =
        Guest { evaluate: "(loop (drop (memory.grow (i32.const 16))) (br 0)) (unreachable)".into(), ..Guest::tier() };
    assert_eq!(tier_fault(&engine, &bomb, Budgets::standard()).await, Fault::Memory(16 << 20));
    let deep = Guest {
        functions:
            "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
                .into(),
        evaluate: "(call $deep (i32.const 1))".into(),
        ..Guest::tier()
    };
    let fault = tier_fault(&engine, &deep, Budgets::standard()).await;
    assert!(matches!(&fault, Fault::Trap(why) if why.contains("call stack exhausted")), "{fault}");
    let trap = Guest { evaluate: "(unreachable)".into(), ..Guest::tier() };
    assert_eq!(tier_fault(&engine, &trap, Budgets::standard()).await.code(), "trap");
}

/// The body that answers with `count` verdicts which lie at 32.
fn verdicts(count: u32, tier: u16, reason: Option<u16>) -> String {
    let reason = reason.map_or(String::new(), |code| {
        format!(
            "(i32.store (i32.const 36) (i32.const 64)) (i32.store (i32.const 40) (i32.const 1))
                 (i32.store16 (i32.const 64) (i32.const {code}))"
        )
    });
    format!(
        "(i32.store16 (i32.const 32) (i32.const {tier})) {reason}
         (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const {count})) (i32.const 16)"
    )
}

#[tokio::test]
async fn answers_that_cannot_be_are_faults_that_say_why() {
    let engine = engine(None);
    let nine = "(i32.store16 (i32.const 32) (i32.const 0)) (i32.store (i32.const 36) (i32.const 64)) (i32.store (i32.const 40) (i32.const 9))
                (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)";
    let many_parameters = "(i32.store (i32.const 36) (i32.const 64)) (i32.store (i32.const 40) (i32.const 1))
                (i32.store (i32.const 68) (i32.const 128)) (i32.store (i32.const 72) (i32.const 9))
                (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)";
    let cases = [
        (verdicts(0, 0, None), "0 verdicts for 1"),
        (verdicts(2, 0, None), "2 verdicts for 1"),
        (verdicts(1, 2, None), "tier 2 of 2 does not exist"),
        (verdicts(1, 0, Some(1)), "reason 1 of 1 does not exist"),
        (nine.to_owned(), "9 reasons, at most 8"),
        (many_parameters.to_owned(), "has 9 parameters, at most 8"),
        // A pointer outside the memory, and a length that reaches beyond it.
        ("(i32.const 0x7ffffff0)".to_owned(), "out of bounds"),
        (verdicts(20_000, 0, None), "out of bounds"),
    ];
    for (evaluate, expect) in cases {
        let fault = tier_fault(&engine, &Guest { evaluate, ..Guest::tier() }, Budgets::standard()).await;
        assert_eq!(fault.code(), "bad-answer", "{fault}");
        assert!(fault.to_string().contains(expect), "{fault} should say {expect}");
    }
}

#[tokio::test]
async fn a_giant_answer_is_refused() {
    let engine = engine(None);
    let guest = Guest { evaluate: verdicts(60_000, 0, None), pages: 20, ..Guest::tier() };
    assert_eq!(tier_fault(&engine, &guest, Budgets::standard()).await, Fault::OutputTooLarge(64 << 10));
}

#[tokio::test]
async fn a_giant_question_is_not_asked() {
    let engine = engine(None);
    let guest = Guest { facts: vec![("member.tier".into(), TEXT)], ..Guest::tier() };
    let release = release(&engine, &guest).await;
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_TIER, Value::Text("x".repeat(300 << 10)));
    let subject = galenic::domain::rule::TierSubject { as_of: Timestamp::UNIX_EPOCH, facts };
    let answered = release.tier(&[subject]).await;
    assert_eq!(answered.fault().map(|fault| fault.code()), Some("input-too-large"));
    assert_eq!(release.stats().breaker.name(), "closed", "the plugin is not to blame");
}

#[tokio::test]
async fn columns_are_checked_too() {
    let engine = engine(None);
    let column = |count: u32, tier: u16| {
        format!(
            "(i32.store16 (i32.const 32) (i32.const {tier}))
             (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const {count})) (i32.const 16)"
        )
    };
    for (columns, expect) in [(column(2, 0), "2 tiers for 1"), (column(1, 9), "tier 9 of 2 does not exist")] {
        let release = release(&engine, &Guest { columns, ..Guest::tier() }).await;
        let fault = release.tier_columns(Timestamp::UNIX_EPOCH, &[spender(1).facts]).await.expect_err("faults");
        assert!(fault.to_string().contains(expect), "{fault}");
    }
    still_answers(&engine).await;
}

#[tokio::test]
async fn awards_that_cannot_be_are_faults() {
    let engine = engine(None);
    let activity = Activity { as_of: Timestamp::UNIX_EPOCH, facts: Facts::of(Scope::Subject), lines: Vec::new() };
    let cases = [
        (Guest::earning(-1, 7, 12), "a negative award of -1 points"),
        (Guest::earning(1, 367, 12), "367 pending days"),
        (Guest::earning(1, 7, 0), "valid for 0 months"),
        (Guest::earning(1, 7, 121), "valid for 121 months"),
    ];
    for (guest, expect) in cases {
        let release = release(&engine, &guest).await;
        let answered = release.earn(std::slice::from_ref(&activity)).await;
        let fault = answered.fault().expect("faults").to_string();
        assert!(fault.contains(expect), "{fault}");
    }
    let good = release(&engine, &Guest::earning(5, 7, 12)).await;
    let answered = good.earn(std::slice::from_ref(&activity)).await;
    assert_eq!(answered.answers[0].value().map(|award| award.points.get()), Some(5));
}

/// Two lines of 30.00 and 20.00, delivery for 6.00, one offer.
fn cart() -> CartSubject {
    let line = |yuan: i64| Facts::of(Scope::Line).with(&fact::LINE_AMOUNT, Value::Integer(yuan * 100));
    CartSubject {
        as_of: Timestamp::UNIX_EPOCH,
        facts: Facts::of(Scope::Subject).with(&fact::CART_DELIVERY_FEE, Value::Integer(600)),
        lines: vec![line(30), line(20)],
        offers: vec![vec![Value::Integer(500)]],
    }
}

fn shared(amount: i64, lines: &[u16]) -> String {
    let stores: String = lines
        .iter()
        .enumerate()
        .map(|(index, line)| format!("(i32.store16 (i32.const {}) (i32.const {line}))", 112 + 2 * index))
        .collect();
    format!(
        "(i32.store8 (i32.const 64) (i32.const 1)) (i64.store (i32.const 72) (i64.const {amount})) {stores}
         (i32.store (i32.const 80) (i32.const 112)) (i32.store (i32.const 84) (i32.const {}))",
        lines.len()
    )
}

fn by_line(discounts: &[(u16, i64)]) -> String {
    let stores: String = discounts
        .iter()
        .enumerate()
        .map(|(index, (line, amount))| {
            let at = 112 + 16 * index;
            format!(
                "(i32.store16 (i32.const {at}) (i32.const {line})) (i64.store (i32.const {}) (i64.const {amount}))",
                at + 8
            )
        })
        .collect();
    format!(
        "(i32.store8 (i32.const 64) (i32.const 2)) {stores}
         (i32.store (i32.const 72) (i32.const 112)) (i32.store (i32.const 76) (i32.const {}))",
        discounts.len()
    )
}

fn delivery(amount: i64) -> String {
    format!("(i32.store8 (i32.const 64) (i32.const 3)) (i64.store (i32.const 72) (i64.const {amount}))")
}

#[tokio::test]
async fn discounts_that_cannot_be_are_faults() {
    let engine = engine(None);
    let cases = [
        (shared(-100, &[0]), "a discount of -1.00, must be above zero"),
        (shared(0, &[0]), "must be above zero"),
        (shared(5_001, &[0, 1]), "a discount of 50.01, above what its lines cost, 50.00"),
        (shared(i64::MAX, &[0, 1]), "above what its lines cost"),
        (shared(100, &[]), "a discount over no line"),
        (shared(100, &[2]), "line 2 of 2 does not exist"),
        (shared(100, &[1, 0]), "lines must ascend"),
        (shared(100, &[0, 0]), "lines must ascend"),
        (by_line(&[]), "a discount over no line"),
        (by_line(&[(0, 3_001)]), "above what line 0 costs, 30.00"),
        (by_line(&[(0, 1), (1, -1)]), "a discount of -0.01"),
        (by_line(&[(7, 1)]), "line 7 of 2 does not exist"),
        (by_line(&[(1, 1), (0, 1)]), "lines must ascend"),
        (delivery(601), "a discount of 6.01, above the delivery fee, 6.00"),
        (delivery(-1), "must be above zero"),
        ("(i32.store8 (i32.const 64) (i32.const 0))".to_owned(), "declined without a reason"),
        ("(i32.store8 (i32.const 64) (i32.const 9))".to_owned(), "discriminant"),
    ];
    for (outcome, expect) in cases {
        let release = release(&engine, &Guest::coupon(&outcome)).await;
        let answered = release.price(&[cart()]).await;
        let fault = answered.fault().unwrap_or_else(|| panic!("{expect}: {answered:?}"));
        assert_eq!(fault.code(), "bad-answer", "{fault}");
        assert!(fault.to_string().contains(expect), "{fault} should say {expect}");
    }
    for (outcome, lines) in [(shared(5_000, &[0, 1]), 2), (by_line(&[(0, 3_000), (1, 2_000)]), 2), (delivery(600), 0)] {
        let release = release(&engine, &Guest::coupon(&outcome)).await;
        let answered = release.price(&[cart()]).await;
        let proposals = answered.answers[0].value().unwrap_or_else(|| panic!("{answered:?}"));
        let named = match &proposals[0].outcome {
            Outcome::Shared { lines, .. } => lines.len(),
            Outcome::Lines(discounts) => discounts.len(),
            Outcome::Delivery(_) | Outcome::Declined => 0,
        };
        assert_eq!(named, lines);
    }
}

#[tokio::test]
async fn a_cart_that_does_not_fit_the_policy_is_not_asked_about() {
    let engine = engine(None);
    let release = release(&engine, &Guest::coupon(&delivery(1))).await;
    let mut wrong = cart();
    wrong.offers[0].clear();
    let answered = release.price(&[wrong]).await;
    let fault = answered.fault().expect("faults");
    assert_eq!(
        (fault.code(), &*fault.to_string()),
        ("bad-input", "the call does not fit the release: offer 0 has 0 terms, the policy 1")
    );
    let mut wide = cart();
    wide.lines = vec![wide.lines[0].clone(); 201];
    assert_eq!(release.price(&[wide]).await.fault().map(|fault| fault.code()), Some("bad-input"));
    assert_eq!(release.tier(&[spender(1)]).await.fault().map(|fault| fault.code()), Some("bad-input"));
    assert!(release.check_terms(&[Value::Integer(1)]).await.expect("asks").is_ok());
    assert_eq!(release.check_terms(&[]).await.expect_err("does not fit").code(), "bad-input");
}

/// A score as it lies at its place in the guest's answer; the reasons follow as they are.
pub(crate) fn score(place: usize, candidate: u32, shelf: u8, value: &str) -> String {
    let at = 64 + 24 * place;
    format!(
        "(i32.store (i32.const {at}) (i32.const {candidate})) (i32.store8 (i32.const {}) (i32.const {shelf}))
         (f64.store (i32.const {}) (f64.const {value}))
         (i32.store (i32.const {}) (i32.const 512)) (i32.store (i32.const {}) (i32.const 0))",
        at + 4,
        at + 8,
        at + 16,
        at + 20,
    )
}

/// Two candidates, of which the first was bought.
pub(crate) fn request() -> ScoreRequest {
    let candidate = |purchased_at| Candidate { facts: Facts::of(Scope::Candidate), purchased_at };
    ScoreRequest {
        as_of: Timestamp::UNIX_EPOCH,
        facts: Facts::of(Scope::Subject),
        candidates: vec![candidate(vec![Timestamp::UNIX_EPOCH]), candidate(Vec::new())],
    }
}

#[tokio::test]
async fn scores_that_cannot_be_are_faults_that_say_why() {
    let engine = engine(None);
    let nine_reasons = score(0, 0, 0, "1") + "(i32.store (i32.const 84) (i32.const 9))";
    let no_such_reason =
        score(0, 0, 0, "1") + "(i32.store (i32.const 84) (i32.const 1)) (i32.store16 (i32.const 512) (i32.const 7))";
    let cases = [
        (score(0, 0, 0, "nan"), 1, "the score of candidate 0 is NaN, must be finite"),
        (score(0, 1, 1, "inf"), 1, "the score of candidate 1 is inf, must be finite"),
        (score(0, 1, 1, "-inf"), 1, "must be finite"),
        (score(0, 2, 1, "1"), 1, "candidate 2 of 2 does not exist"),
        (score(0, u32::MAX, 1, "1"), 1, "candidate 4294967295 of 2 does not exist"),
        (score(0, 1, 1, "1") + &score(1, 1, 0, "2"), 2, "candidate 1 is scored twice"),
        (score(0, 0, 0, "1") + &score(1, 1, 1, "2") + &score(2, 1, 1, "3"), 3, "3 scores for 2 candidates"),
        (score(0, 0, 2, "1"), 1, "discriminant"),
        (nine_reasons, 1, "9 reasons, at most 8"),
        (no_such_reason, 1, "reason 7 of 1 does not exist"),
    ];
    for (scores, count, expect) in cases {
        let release = release(&engine, &Guest::scorer(&scores, count)).await;
        let answered = release.score(&[request()]).await;
        let fault = answered.fault().unwrap_or_else(|| panic!("{expect}: {answered:?}"));
        assert_eq!(fault.code(), "bad-answer", "{fault}");
        assert!(fault.to_string().contains(expect), "{fault} should say {expect}");
        assert!(answered.answers[0].value().is_none(), "nothing is recommended");
    }
    let good = release(&engine, &Guest::scorer(&(score(0, 1, 1, "0.5") + &score(1, 0, 0, "-1e300")), 2)).await;
    let answered = good.score(&[request()]).await;
    let scores = answered.answers[0].value().unwrap_or_else(|| panic!("{answered:?}"));
    let told: Vec<_> = scores.iter().map(|score| (score.candidate, score.shelf, score.value)).collect();
    assert_eq!(told, [(1, Shelf::Discover, 0.5), (0, Shelf::BuyAgain, -1e300)]);
    // One list for two requests is a fault of the batch: each is asked about again, alone.
    let batch = good.score(&[request(), request()]).await;
    assert!(batch.answers.len() == 2 && batch.fault().is_none(), "{batch:?}");
    still_answers(&engine).await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_scored() {
    let engine = engine(None);
    let release = release(&engine, &Guest::scorer("", 0)).await;
    let mut wide = request();
    wide.candidates = vec![wide.candidates[1].clone(); 1_001];
    let answered = release.score(&[wide]).await;
    assert_eq!(answered.fault().map(|fault| fault.code()), Some("bad-input"));
    let mut often = request();
    often.candidates[0].purchased_at = vec![Timestamp::UNIX_EPOCH; 33];
    assert_eq!(release.score(&[often]).await.fault().map(|fault| fault.code()), Some("bad-input"));
    assert!(release.score(&[request()]).await.fault().is_none(), "the plugin is not to blame");
    assert_eq!(release.guard(&[draft()]).await.fault().map(|fault| fault.code()), Some("bad-input"));
}

/// A message of two parts, the second in Chinese: three bytes a character.
fn draft() -> Draft {
    Draft { facts: Facts::of(Scope::Subject), parts: vec!["plain".into(), "特效药".into()] }
}

/// A finding as it lies at its place, with the phrase `x`.
fn finding(place: usize, part: u16, start: u32, end: u32) -> String {
    let at = 64 + 24 * place;
    format!(
        "(i32.store16 (i32.const {at}) (i32.const {part})) (i32.store (i32.const {}) (i32.const {start}))
         (i32.store (i32.const {}) (i32.const {end})) (i32.store16 (i32.const {}) (i32.const 0))
         (i32.store (i32.const {}) (i32.const 960)) (i32.store (i32.const {}) (i32.const 1))
         (i32.store8 (i32.const 960) (i32.const 4)) (i32.store (i32.const 968) (i32.const 1000))
         (i32.store (i32.const 972) (i32.const 1)) (i32.store8 (i32.const 1000) (i32.const 120))",
        at + 4,
        at + 8,
        at + 12,
        at + 16,
        at + 20,
    )
}

#[tokio::test]
async fn findings_that_cannot_be_are_faults_that_say_why() {
    let engine = engine(None);
    let number = finding(0, 0, 0, 1) + "(i32.store8 (i32.const 960) (i32.const 0))";
    let nameless = finding(0, 0, 0, 1) + "(i32.store (i32.const 84) (i32.const 0))";
    let empty = finding(0, 0, 0, 1) + "(i32.store (i32.const 972) (i32.const 0))";
    let no_such_reason = finding(0, 0, 0, 1) + "(i32.store16 (i32.const 76) (i32.const 3))";
    let many: String = (0..33).map(|place| finding(place, 0, 0, 1)).collect();
    let cases = [
        (finding(0, 2, 0, 1), 1, "finding 0: part 2 of 2 does not exist"),
        (finding(0, 0, 2, 2), 1, "begins at 2 and ends at 2"),
        (finding(0, 0, 3, 1), 1, "begins at 3 and ends at 1"),
        (finding(0, 0, 0, 6), 1, "ends at 6, part 0 has 5 bytes"),
        (finding(0, 0, 0, u32::MAX), 1, "part 0 has 5 bytes"),
        (finding(0, 1, 1, 3), 1, "byte 1 of part 1 lies inside a character"),
        (finding(0, 0, 0, 1) + &finding(1, 1, 0, 5), 2, "finding 1: byte 5 of part 1 lies inside a character"),
        (many, 33, "33 findings, at most 32"),
        (number, 1, "the first parameter must be the phrase"),
        (nameless, 1, "the first parameter must be the phrase"),
        (empty, 1, "the first parameter must be the phrase"),
        (no_such_reason, 1, "reason 3 of 1 does not exist"),
    ];
    for (findings, count, expect) in cases {
        let release = release(&engine, &Guest::guard(&findings, count)).await;
        let answered = release.guard(&[draft()]).await;
        let fault = answered.fault().unwrap_or_else(|| panic!("{expect}: {:?}", answered.answers));
        assert_eq!(fault.code(), "bad-answer", "{fault}");
        assert!(fault.to_string().contains(expect), "{fault} should say {expect}");
        assert!(answered.answers[0].value().is_none(), "no answer is no pass");
    }
    let good = release(&engine, &Guest::guard(&finding(0, 1, 0, 6), 1)).await;
    let answered = good.guard(&[draft()]).await;
    let findings = answered.answers[0].value().unwrap_or_else(|| panic!("{:?}", answered.answers));
    assert_eq!((findings[0].part, findings[0].start, findings[0].end), (1, 0, 6));
    let mut wide = draft();
    wide.parts = vec![String::new(); 17];
    assert_eq!(good.guard(&[wide]).await.fault().map(|fault| fault.code()), Some("bad-input"));
    let mut long = draft();
    long.parts[0] = "x".repeat(300 << 10);
    assert_eq!(good.guard(&[long]).await.fault().map(|fault| fault.code()), Some("input-too-large"));
    still_answers(&engine).await;
}

/// Whatever fallback a guard declares, a fault is never an empty list of findings.
#[tokio::test]
async fn a_guard_that_fails_lets_nothing_pass() {
    let engine = engine(None);
    let module = admit(&engine, &Guest { evaluate: "(unreachable)".into(), ..Guest::guard("", 0) }).await;
    for fallback in [Fallback::Skip, Fallback::FailClosed] {
        let release = engine.prepare(ReleaseSpec { fallback, ..spec(&module, 1) }).await.expect("prepares");
        let answered = release.guard(&[draft()]).await;
        assert_eq!(answered.fault().map(|fault| fault.code()), Some("trap"));
        assert!(answered.answers[0].value().is_none());
    }
    for (guest, expect) in [(Guest::guard("", 0), "use `fail-closed`"), (Guest::scorer("", 0), "use `skip`")] {
        let module = admit(&engine, &guest).await;
        let fallback = Fallback::Default(json!([]));
        let refused = engine.prepare(ReleaseSpec { fallback, ..spec(&module, 1) }).await.expect_err("refused");
        assert!(refused.to_string().contains(expect), "{refused}");
    }
    still_answers(&engine).await;
}
