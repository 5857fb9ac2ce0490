//! The hostile corpus, the first twenty in one table: each plugin or file does one thing that it must not, and gets its own
//! named error; the engine answers the next good call. What else a kind may get wrong stands in `hostile.rs`.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use galenic::{
    domain::channel::Attempt,
    plugin::{Budgets, Delivered, Engine, Grants, HttpGrant, Outbound, ReleaseSpec},
};
use jiff::Timestamp;

use crate::{
    channels::{engine, message},
    guest::Guest,
    hostile::{request, score},
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

/// What [`Guest::fetching`] tells: the error's name for its first letter.
fn said(delivered: &Delivered) -> String {
    match &delivered.result {
        Ok(Attempt::Accepted(_)) => "accepted".to_owned(),
        Ok(Attempt::Rejected(why) | Attempt::Retry(why) | Attempt::Unknown(why)) => {
            let names = [("d", "denied"), ("u", "unreachable"), ("t", "timeout"), ("b", "broken"), ("+", "too-large")];
            let name = names.iter().find(|(letter, _)| *letter == why.code).map_or(&*why.code, |(_, name)| name);
            format!("{name}: {}", why.message)
        }
        Err(fault) => fault.to_string(),
    }
}

/// A plugin has nothing to be different by: what counts its own calls answers each as its first, and what asks for
/// randomness is refused at the door.
async fn non_deterministic(engine: &Engine) -> String {
    let counting = Guest {
        functions: "(global $calls (mut i32) (i32.const 0))".to_owned(),
        evaluate: "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                   (i32.store16 (i32.const 32) (i32.and (global.get $calls) (i32.const 1)))
                   (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)"
            .to_owned(),
        ..Guest::tier()
    };
    let release = release(engine, &counting).await;
    for _ in 0..4 {
        let answered = release.tier(&[spender(1)]).await;
        assert_eq!(answered.answers[0].value().map(|verdict| &*verdict.tier), Some("silver"));
    }
    let mut warm = release.warm();
    let first = warm.tier(&[spender(1)]).await.expect("answers");
    let second = warm.tier(&[spender(1)]).await.expect("answers");
    assert_ne!(first, second, "the guest does count");
    let random =
        r#"(component (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64))))))"#;
    fate(engine, wat::parse_str(random).expect("parses")).await
}

/// Ten thousand notes, each with an escape sequence for the operator's terminal. The message is out by then, so the attempt
/// stands, and the last note says what became of the others.
async fn log_flood(engine: &Engine) -> String {
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
    let delivered = deliver(engine, &flood, vendor.grant(), 2_000).await;
    assert_eq!(said(&delivered), "accepted");
    let (last, notes) = delivered.notes.split_last().expect("notes");
    assert_eq!(notes, vec!["\\u{1b}[2Jgone"; 8]);
    last.clone()
}

#[tokio::test]
async fn a_state_that_is_too_large_is_a_fault() {
    let engine = engine(Outbound::none());
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let state =
        "(i32.store (i32.const 148) (i32.const 1024)) (i32.store (i32.const 152) (i32.const 5000)) (i32.const 128)";
    let delivered = deliver(&engine, &Guest::channel(state), vendor.grant(), 2_000).await;
    assert!(said(&delivered).contains("a state of 5000 bytes, at most 4096"), "{}", said(&delivered));
}

/// Guests over the pool's limits for tables, then for handles.
async fn table_and_handle_bomb(engine: &Engine) -> String {
    let table = Guest { functions: "(table 30000 funcref)".to_owned(), ..Guest::tier() };
    let tables = fate(engine, table.component()).await;
    let handles = r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (func $start (loop (drop (call $new (i32.const 0))) (br 0)))
            (start $start))
        (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))"#;
    let handles = with_inside(engine, handles).await;
    assert!(handles.contains("cannot be started") && handles.contains("handle"), "{handles}");
    format!("{tables}; {handles}")
}

async fn slow_host_call(engine: &Engine) -> String {
    let (_listener, grant) = silent();
    let url = format!("http://127.0.0.1:{}/", grant.port);
    let began = Instant::now();
    let delivered = deliver(engine, &Guest::fetching(&url, ("x-a", "b")), grant, 400).await;
    assert!(delivered.elapsed < Duration::from_millis(400), "within the call's own time: {:?}", delivered.elapsed);
    assert!(began.elapsed() < Duration::from_secs(10));
    said(&delivered)
}

/// The host follows no redirect; a guest that follows it asks for a place that was not granted.
async fn redirect_to_loopback(engine: &Engine) -> String {
    let inner = Vendor::start(|_| Some((200, vec![], "the crown jewels".to_owned())));
    let to = inner.url("/admin");
    let outer = Vendor::start(move |_| Some((302, vec![("location", to.clone())], String::new())));
    let delivered = deliver(engine, &Guest::fetching(&outer.url("/"), ("x-a", "b")), outer.grant(), 2_000).await;
    assert_eq!((said(&delivered).as_str(), outer.connections()), ("accepted", 1));
    let followed = deliver(engine, &Guest::fetching(&inner.url("/admin"), ("x-a", "b")), outer.grant(), 2_000).await;
    assert_eq!(inner.connections(), 0);
    said(&followed).replace(&inner.address.to_string(), "inside")
}

/// The name is public at the first look and loopback at the second. Whoever checks one look and connects by another lands
/// inside; here each connection has one look, which is checked. The engine is one whose resolver lies.
async fn rebinding_name(_: &Engine) -> String {
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
    let first = said(&deliver(&engine, &guest, grant.clone(), 1_000).await);
    assert!(first.starts_with("unreachable: ") || first.starts_with("timeout: "), "{first}");
    assert_eq!(looks.load(Ordering::SeqCst), 1, "one look for one connection");
    let second = deliver(&engine, &guest, grant, 1_000).await;
    assert_eq!(inside.connections(), 0);
    said(&second)
}

async fn header_injection(engine: &Engine) -> String {
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let guest = Guest::fetching(&vendor.url("/"), ("x-a", "b\r\nx-c: d"));
    let delivered = deliver(engine, &guest, vendor.grant(), 2_000).await;
    assert_eq!(vendor.connections(), 0);
    said(&delivered)
}

async fn nan_scores(engine: &Engine) -> String {
    let release = release(engine, &Guest::scorer(&score(0, 0, 0, "nan"), 1)).await;
    let answered = release.score(&[request()]).await;
    assert!(answered.answers[0].value().is_none(), "nothing is recommended");
    answered.fault().expect("faults").to_string()
}

async fn sub_module_bomb(engine: &Engine) -> String {
    let modules = format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(20));
    with_inside(engine, &modules).await
}

/// An answer of one list, of so many elements.
fn list_of(elements: u32) -> String {
    format!(
        "(i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const {elements})) (i32.const 16)"
    )
}

/// A row: its name, what becomes of it, and what that must say.
type Row<'a> = (&'static str, BoxFuture<'a, String>, &'static str);

/// Plugins and files that are simply handed in.
fn files(engine: &Engine) -> Vec<Row<'_>> {
    let whole = Guest::tier().component();
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))";
    let deep = Guest { functions: deep.to_owned(), evaluate: "(call $deep (i32.const 1))".to_owned(), ..Guest::tier() };
    let giant = Guest { evaluate: list_of(60_000), pages: 20, ..Guest::tier() };
    let configure = Guest { configure: "(unreachable)".to_owned(), ..Guest::tier() };
    let memory = "(loop (drop (memory.grow (i32.const 16))) (br 0)) (unreachable)";
    let unknown = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance (export "connect" (func)))))"#;
    let unknown = wat::parse_str(unknown).expect("parses");
    let files = [
        ("endless loop", evaluating("(loop (br 0)) (unreachable)"), "used up its fuel of 10000000"),
        ("memory bomb", evaluating(memory), "asked for more memory than its 16777216 bytes"),
        ("deep recursion", deep.component(), "call stack exhausted"),
        ("giant output", giant.component(), "answered with more than its 65536 bytes"),
        ("trap in configure", configure.component(), "`configure` failed: the plugin trapped"),
        ("lying length", evaluating(&list_of(20_000)), "out of bounds of memory"),
        ("wrong number of verdicts", evaluating(&list_of(2)), "2 verdicts for 1"),
        ("unknown import", unknown, "`wasi:sockets/tcp@0.2.0#connect` is not allowed"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "the component is truncated"),
        ("text", b"fn main() {}".to_vec(), "the file is text"),
        ("empty", Vec::new(), "the file is empty"),
    ];
    files.into_iter().map(|(name, bytes, expect)| (name, fate(engine, bytes).boxed(), expect)).collect()
}

#[tokio::test]
async fn the_first_twenty_are_each_named() {
    let engine = engine(Outbound::none());
    let mut corpus = files(&engine);
    corpus.extend::<[Row<'_>; 9]>([
        ("table and handle bomb", table_and_handle_bomb(&engine).boxed(), "table"),
        ("slow host call", slow_host_call(&engine).boxed(), "timeout: "),
        ("redirect to loopback", redirect_to_loopback(&engine).boxed(), "denied: http://inside is not granted"),
        (
            "rebinding name",
            rebinding_name(&engine).boxed(),
            "denied: the host resolves to 127.0.0.1, which is not public",
        ),
        (
            "header injection",
            header_injection(&engine).boxed(),
            "denied: the value of the header `x-a` is not plain text",
        ),
        ("log flood", log_flood(&engine).boxed(), "9992 more notes were cut"),
        ("non-deterministic output", non_deterministic(&engine).boxed(), "random@0.2.0#get-random-u64` is not allowed"),
        ("NaN scores", nan_scores(&engine).boxed(), "the score of candidate 0 is NaN, must be finite"),
        (
            "sub-module bomb",
            sub_module_bomb(&engine).boxed(),
            "21 core module instances, which exceeds the configured maximum of 8",
        ),
    ]);
    assert_eq!(corpus.len(), 20);
    let mut said = BTreeMap::new();
    for (name, fate, expect) in corpus {
        let error = fate.await;
        assert!(error.contains(expect), "{name}: {error} should say {expect}");
        still_answers(&engine).await;
        let other = said.insert(error, name);
        assert_eq!(other, None, "{name} gets the error of another");
    }
}

#[tokio::test]
async fn headers_that_carry_more_than_themselves_are_denied() {
    let engine = engine(Outbound::none());
    let vendor = Vendor::start(|_| Some((200, vec![], String::new())));
    let cases = [
        (("x-a", "b\r\nx-c: d"), "denied: the value of the header `x-a` is not plain text"),
        (("x-a\r\nx-c", "d"), "is no name of a header"),
        (("transfer-encoding", "chunked"), "denied: the header `transfer-encoding` is the host's"),
        (("host", "inside"), "denied: the header `host` is the host's"),
    ];
    for (header, expect) in cases {
        let delivered = deliver(&engine, &Guest::fetching(&vendor.url("/"), header), vendor.grant(), 2_000).await;
        assert!(said(&delivered).contains(expect), "{} should say {expect}", said(&delivered));
    }
    assert_eq!(vendor.connections(), 0);
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
