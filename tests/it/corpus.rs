//! The hostile corpus, the first twenty: each plugin or file does one thing that it must not, and gets its own named
//! error; the engine answers the next good call.
//!
//! `scorer` and `content-guard` add theirs where their kinds are tested.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use galenic::{
    domain::channel::Attempt,
    plugin::{Budgets, Delivered, Engine, Grants, HttpGrant, Outbound, ReleaseSpec},
};
use jiff::Timestamp;

use crate::{
    channels::{engine, message},
    guest::Guest,
    releases::{admit, release, spec, spender},
    vendor::{Vendor, silent},
};

/// What became of a plugin: why it was not admitted, not prepared, or what its first call gave.
async fn fate(engine: &Engine, bytes: Vec<u8>) -> String {
    let module = match engine.admit(bytes).await {
        Ok(module) => module,
        Err(error) => return error.to_string(),
    };
    let release = match engine.prepare(spec(&module, 1)).await {
        Ok(release) => release,
        Err(error) => return error.to_string(),
    };
    let answered = release.tier(&[spender(1)]).await;
    answered.fault().map_or_else(|| "answered".to_owned(), ToString::to_string)
}

/// A tier rule whose `evaluate` is this.
fn evaluating(evaluate: &str) -> Vec<u8> {
    Guest { evaluate: evaluate.to_owned(), ..Guest::tier() }.component()
}

/// A well-behaved plugin with a component inside that starts too. Its index is not known: the others' instances either
/// lack their arguments or do no harm.
async fn with_inside(engine: &Engine, inner: &str) -> String {
    let whole = Guest::tier().component();
    let inner = wat::parse_str(inner).expect("parses");
    let mut last = String::new();
    for index in 0..8 {
        let mut bytes = whole.clone();
        bytes.push(4);
        leb128(&mut bytes, inner.len());
        bytes.extend(&inner);
        // One instance: of the component with this index, without arguments.
        bytes.extend([5, 4, 1, 0, index, 0]);
        last = fate(engine, bytes).await;
        let another = ["answered", "missing", "out of bounds"].iter().any(|text| last.contains(text));
        if !another {
            break;
        }
    }
    last
}

fn leb128(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    to.push(number as u8);
}

async fn still_answers(engine: &Engine) {
    let good = release(engine, &Guest::tier()).await;
    assert!(good.tier(&[spender(500)]).await.fault().is_none(), "the next good call is answered");
    assert_eq!(engine.sandboxes_free(), 16, "no sandbox is lost");
}

#[tokio::test]
async fn plugins_and_files_that_mean_harm_are_named() {
    let engine = engine(Outbound::none());
    let whole = Guest::tier().component();
    let giant = "(i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 60000)) (i32.const 16)";
    let lying = "(i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 20000)) (i32.const 16)";
    let two = "(i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16)";
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))";
    let unknown = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance (export "connect" (func)))))"#;
    let table = Guest { functions: "(table 30000 funcref)".to_owned(), ..Guest::tier() };
    let configure = Guest { configure: "(unreachable)".to_owned(), ..Guest::tier() };
    let deep = Guest { functions: deep.to_owned(), evaluate: "(call $deep (i32.const 1))".to_owned(), ..Guest::tier() };
    let giant = Guest { evaluate: giant.to_owned(), pages: 20, ..Guest::tier() };
    let corpus: Vec<(&str, Vec<u8>, &str)> = vec![
        ("endless loop", evaluating("(loop (br 0)) (unreachable)"), "used up its fuel of 10000000"),
        (
            "memory bomb",
            evaluating("(loop (drop (memory.grow (i32.const 16))) (br 0)) (unreachable)"),
            "asked for more memory than its 16777216 bytes",
        ),
        ("table bomb", table.component(), "table"),
        ("deep recursion", deep.component(), "call stack exhausted"),
        ("giant output", giant.component(), "answered with more than its 65536 bytes"),
        ("trap in configure", configure.component(), "`configure` failed: the plugin trapped"),
        ("lying length", evaluating(lying), "out of bounds of memory"),
        ("wrong number of verdicts", evaluating(two), "2 verdicts for 1"),
        ("unknown import", wat::parse_str(unknown).expect("parses"), "`wasi:sockets/tcp@0.2.0#connect` is not allowed"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "the component is truncated"),
        ("text", b"fn main() {}".to_vec(), "the file is text"),
        ("empty", Vec::new(), "the file is empty"),
    ];
    let mut said = Vec::new();
    for (name, bytes, expect) in corpus {
        let error = fate(&engine, bytes).await;
        assert!(error.contains(expect), "{name}: {error} should say {expect}");
        assert!(!said.contains(&error), "{name}: {error} is another's");
        said.push(error);
        still_answers(&engine).await;
    }
}

#[tokio::test]
async fn bombs_of_modules_and_handles_go_off_at_the_door() {
    let engine = engine(Outbound::none());
    let modules = format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(20));
    let error = with_inside(&engine, &modules).await;
    assert!(error.contains("21 core module instances, which exceeds the configured maximum of 8"), "{error}");
    still_answers(&engine).await;
    let handles = r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (func $start (loop (drop (call $new (i32.const 0))) (br 0)))
            (start $start))
        (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))"#;
    let error = with_inside(&engine, handles).await;
    assert!(error.contains("cannot be started") && error.contains("handle"), "{error}");
    still_answers(&engine).await;
}

/// Counts its own calls and answers with the count: in fresh sandboxes every call is the first.
#[tokio::test]
async fn a_plugin_that_would_answer_differently_each_time_cannot() {
    let engine = engine(Outbound::none());
    let counting = Guest {
        functions: "(global $calls (mut i32) (i32.const 0))".to_owned(),
        evaluate: "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                   (i32.store16 (i32.const 32) (i32.and (global.get $calls) (i32.const 1)))
                   (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)"
            .to_owned(),
        ..Guest::tier()
    };
    let release = release(&engine, &counting).await;
    for _ in 0..4 {
        let answered = release.tier(&[spender(1)]).await;
        assert_eq!(answered.answers[0].value().map(|verdict| &*verdict.tier), Some("silver"));
    }
    let mut warm = release.warm();
    let first = warm.tier(&[spender(1)]).await.expect("answers");
    let second = warm.tier(&[spender(1)]).await.expect("answers");
    assert_ne!(first, second, "the guest does count");
}

/// One attempt of a channel by hand.
async fn deliver(engine: &Engine, guest: &Guest, grant: HttpGrant, wall_ms: u32) -> Delivered {
    let module = admit(engine, guest).await;
    let budgets = Budgets { wall_ms, ..Budgets::of(module.kind()) };
    let grants = Grants { http: vec![grant], ..Grants::default() };
    let release = engine.prepare(ReleaseSpec { budgets, grants, ..spec(&module, 1) }).await.expect("prepares");
    let delivered = release.deliver(&message("+8613800000001"), Timestamp::UNIX_EPOCH, [1; 16]).await;
    still_answers(engine).await;
    delivered
}

fn said(delivered: &Delivered) -> String {
    match &delivered.result {
        Ok(Attempt::Accepted(_)) => "accepted".to_owned(),
        Ok(Attempt::Rejected(why) | Attempt::Retry(why) | Attempt::Unknown(why)) => {
            format!("{}: {}", why.code, why.message)
        }
        Err(fault) => fault.to_string(),
    }
}

#[tokio::test]
async fn a_slow_host_call_ends_with_the_calls_own_time() {
    let engine = engine(Outbound::none());
    let (_listener, grant) = silent();
    let url = format!("http://127.0.0.1:{}/", grant.port);
    let began = Instant::now();
    let delivered = deliver(&engine, &Guest::fetching(&url, ("x-a", "b")), grant, 400).await;
    assert_eq!(said(&delivered), "t: ");
    assert!(delivered.elapsed < Duration::from_millis(400), "{:?}", delivered.elapsed);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_redirect_to_loopback_is_answered_and_not_followed() {
    let engine = engine(Outbound::none());
    let inner = Vendor::start(|_| Some((200, vec![], "the crown jewels".to_owned())));
    let to = inner.url("/admin");
    let outer = Vendor::start(move |_| Some((302, vec![("location", to.clone())], String::new())));
    let delivered = deliver(&engine, &Guest::fetching(&outer.url("/"), ("x-a", "b")), outer.grant(), 2_000).await;
    assert_eq!(said(&delivered), "accepted");
    assert_eq!((outer.connections(), inner.connections()), (1, 0));
    let denied = deliver(&engine, &Guest::fetching(&inner.url("/admin"), ("x-a", "b")), outer.grant(), 2_000).await;
    assert_eq!(said(&denied), format!("d: http://{}:{} is not granted", "127.0.0.1", inner.address.port()));
    assert_eq!(inner.connections(), 0);
}

/// The name is public at the first look and loopback at the second. Whoever checks one look and connects by another lands
/// inside; here each connection has one look, which is checked.
#[tokio::test]
async fn a_name_that_rebinds_does_not_lead_inside() {
    let inside = Vendor::start(|_| Some((200, vec![], String::new())));
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let lookup = move |name: &str| {
        assert_eq!(name, "rebind.example");
        let public: IpAddr = "2d00::1".parse().expect("an address");
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first { public } else { IpAddr::from([127, 0, 0, 1]) }])
    };
    let engine = engine(Outbound { lookup: Some(Arc::new(lookup)), ..Outbound::none() });
    let port = inside.address.port();
    let grant = HttpGrant { scheme: "http".into(), host: "rebind.example".into(), port, private: false };
    let guest = Guest::fetching(&format!("http://rebind.example:{port}/"), ("x-a", "b"));
    let first = deliver(&engine, &guest, grant.clone(), 1_000).await;
    assert!(said(&first).starts_with("u: ") || said(&first).starts_with("t: "), "{}", said(&first));
    assert_eq!(looks.load(Ordering::SeqCst), 1, "one look for one connection");
    let second = deliver(&engine, &guest, grant, 1_000).await;
    assert!(said(&second).starts_with("d: the host resolves to 127.0.0.1, which is not public"), "{}", said(&second));
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn headers_that_carry_more_than_themselves_are_denied() {
    let engine = engine(Outbound::none());
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let cases = [
        (("x-a", "b\r\nx-c: d"), "d: the value of the header `x-a` is not plain text"),
        (("x-a\r\nx-c", "d"), "is no name of a header"),
        (("transfer-encoding", "chunked"), "d: the header `transfer-encoding` is the host's"),
        (("host", "inside"), "d: the header `host` is the host's"),
    ];
    for (header, expect) in cases {
        let delivered = deliver(&engine, &Guest::fetching(&vendor.url("/"), header), vendor.grant(), 2_000).await;
        assert!(said(&delivered).contains(expect), "{} should say {expect}", said(&delivered));
    }
    assert_eq!(vendor.connections(), 0);
}

/// Ten thousand notes, each with an escape sequence for the operator's terminal.
#[tokio::test]
async fn a_flood_of_notes_is_cut() {
    let engine = engine(Outbound::none());
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let flood = Guest {
        functions: r#"(data (i32.const 512) "\1b[2Jgone")"#.to_owned(),
        pages: 8,
        evaluate: "(local $at i32) (local.set $at (i32.const 200000))
            (loop $next
                (i32.store (local.get $at) (i32.const 512)) (i32.store offset=4 (local.get $at) (i32.const 8))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 280000))))
            (i32.store (i32.const 156) (i32.const 200000)) (i32.store (i32.const 160) (i32.const 10000))
            (i32.const 128)"
            .to_owned(),
        ..Guest::channel("")
    };
    let delivered = deliver(&engine, &flood, vendor.grant(), 2_000).await;
    assert_eq!(said(&delivered), "accepted");
    assert_eq!(delivered.notes, vec!["\\u{1b}[2Jgone"; 8]);
    let state =
        "(i32.store (i32.const 148) (i32.const 1024)) (i32.store (i32.const 152) (i32.const 5000)) (i32.const 128)";
    let delivered = deliver(&engine, &Guest::channel(state), vendor.grant(), 2_000).await;
    assert!(said(&delivered).contains("a state of 5000 bytes, at most 4096"), "{}", said(&delivered));
}

/// A fault after the request had left is an attempt of unknown end, and one before it sent nothing.
#[tokio::test]
async fn a_trap_says_whether_something_was_sent() {
    let engine = engine(Outbound::none());
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let mut late = Guest::fetching(&vendor.url("/"), ("x-a", "b"));
    late.evaluate =
        late.evaluate.replace("(if (i32.load8_u (i32.const 64))", "(unreachable) (if (i32.load8_u (i32.const 64))");
    let delivered = deliver(&engine, &late, vendor.grant(), 2_000).await;
    assert!(matches!(&delivered.result, Ok(Attempt::Unknown(why)) if why.code == "plugin-fault"), "{delivered:?}");
    assert_eq!(vendor.connections(), 1);
    let early = deliver(&engine, &Guest::channel("(unreachable)"), vendor.grant(), 2_000).await;
    assert_eq!(early.result.expect_err("nothing was sent").code(), "trap");
    let early = Guest {
        configure: "(call $fetch (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0)"
            .to_owned(),
        ..Guest::channel("(i32.const 128)")
    };
    let module = admit(&engine, &early).await;
    let grants = Grants { http: vec![vendor.grant()], ..Grants::default() };
    let error = engine.prepare(ReleaseSpec { grants, ..spec(&module, 1) }).await.expect_err("refused").to_string();
    assert!(error.contains("while it was described or configured"), "{error}");
}
