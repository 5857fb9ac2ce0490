//! What holds for every route: problems, authorization, idempotency, paging, limits, the description, the drain.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::app::{Client, Reply, TestApp, cart, text};

/// The routes that need no key, and say why.
const OPEN: &[&str] = &["/healthz", "/readyz", "/openapi.json", "/receipts/{slot}", "/u/{token}"];

/// Method, path and the scope of every operation in the description.
async fn operations(app: &TestApp) -> Vec<(Method, String, Option<String>)> {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let scope = operation["security"][0]["api_key"][0].as_str().map(str::to_owned);
            all.push((method, path.clone(), scope));
        }
    }
    all
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_needs_a_key_with_the_scope_that_its_description_names() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let operations = operations(&app).await;
    assert!(operations.len() > 40, "{}", operations.len());
    let scopes: BTreeSet<String> = operations.iter().filter_map(|(_, _, scope)| scope.clone()).collect();
    for (method, path, scope) in operations {
        let Some(scope) = scope else {
            assert!(OPEN.contains(&path.as_str()), "{method} {path} needs no key");
            continue;
        };
        let path = filled(&path);
        let answer = nobody.send(nobody.request(method.clone(), &path)).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"galenic\"", "{method} {path}");
        answer.refused(401, "unauthenticated");
        let others: Vec<&str> = scopes.iter().filter(|other| **other != scope).map(String::as_str).collect();
        let client = app.client(&others).await;
        let answer = client.send(client.request(method.clone(), &path)).await;
        let challenge = format!("Bearer realm=\"galenic\", error=\"insufficient_scope\", scope=\"{scope}\"");
        assert_eq!(answer.header("www-authenticate"), challenge, "{method} {path}");
        answer.refused(403, "scope-missing");
    }
}

#[tokio::test]
async fn the_description_is_the_one_that_was_agreed() {
    let app = TestApp::start().await;
    let document = galenic::http::Http::openapi();
    assert_eq!(app.anonymous().get("/openapi.json").await.expect(200).to_string(), {
        let json: Json = serde_json::from_str(&document).expect("JSON");
        json.to_string()
    });
    let ids: Vec<String> = json_values(&document, "operationId");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "operations have names of their own: {ids:?}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/openapi.json");
    if std::env::var_os("GALENIC_BLESS").is_some() {
        std::fs::write(path, &document).expect("written");
    }
    let agreed = std::fs::read_to_string(path).expect("host/openapi.json");
    assert!(
        agreed == document,
        "the API changed: look at the difference that GALENIC_BLESS=1 makes to host/openapi.json"
    );
}

/// Every text that stands under this name, wherever.
fn json_values(document: &str, name: &str) -> Vec<String> {
    fn walk(json: &Json, name: &str, found: &mut Vec<String>) {
        match json {
            Json::Object(members) => {
                found.extend(members.get(name).and_then(Json::as_str).map(str::to_owned));
                members.values().for_each(|value| walk(value, name, found));
            }
            Json::Array(items) => items.iter().for_each(|value| walk(value, name, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&serde_json::from_str(document).expect("JSON"), name, &mut found);
    found
}

#[tokio::test]
async fn a_retry_gets_the_same_answer_and_changes_nothing() {
    let app = TestApp::start().await;
    let send = |key: &'static str, body: Json| raw_post(&app.shop, "/v1/members", key, body);
    let first = send("k-1", json!({"external_id": "m-1"})).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let first = first.expect(201);
    let again = send("k-1", json!({"external_id": "m-1"})).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    send("k-1", json!({"external_id": "m-2"})).await.refused(422, "idempotency-key-reused");
    send("k-2", json!({"external_id": "m-1"})).await.refused(409, "already-exists");
    assert_eq!(app.shop.get("/v1/members").await.expect(200)["items"].as_array().map(Vec::len), Some(1));
    let other = app.client(&["members:write"]).await;
    let request = other.request(Method::POST, "/v1/members").json(&json!({"external_id": "m-1"}));
    other.send(request).await.expect(201);
}

/// Posts with one idempotency key of our own.
async fn raw_post(client: &Client, path: &str, key: &str, body: Json) -> Reply {
    let request = client.request(Method::POST, path).json(&body);
    let mut request = request.build().expect("a request");
    request.headers_mut().insert("idempotency-key", key.parse().expect("a header"));
    client.send_built(request).await
}

#[tokio::test]
async fn of_many_requests_with_one_key_one_acts() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let quote = app.quote(&member, &["vitamin-c"]).await;
    let body = json!({"quote": quote["id"]});
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, body) = (app.shop.clone(), body.clone());
        asked.spawn(async move { raw_post(&client, "/v1/orders", "one-key", body).await });
    }
    let mut orders = BTreeSet::new();
    for reply in asked.join_all().await {
        if reply.status == 201 {
            orders.insert(text(&reply.json["id"]));
        } else {
            reply.refused(409, "idempotency-key-in-flight");
        }
    }
    assert_eq!(orders.len(), 1);
    let listed = app.shop.get(&format!("/v1/members/{member}/orders")).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn bad_input_is_named_and_nothing_breaks() {
    let app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let quotes = |body: &str| {
        let request = app.shop.request(Method::POST, "/v1/quotes").header("content-type", "application/json");
        app.shop.send(request.body(body.to_owned()))
    };
    for body in ["", "{", "nonsense", "{\"member\":}", "\u{0}"] {
        quotes(body).await.refused(400, "malformed-json");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    quotes(&deep).await.refused(422, "invalid-request");
    let line = |fields: Json| json!({"member": member, "lines": [fields]});
    let cases = [
        (json!([]), ""),
        (json!({"member": member}), ""),
        (json!({"member": 7, "lines": []}), "/member"),
        (json!({"member": "mbr_7", "lines": []}), "/member"),
        (json!({"member": member, "lines": [], "colour": "red"}), "/colour"),
        (json!({"member": member, "lines": {}}), "/lines"),
        (line(json!({"external_id": "vitamin-c", "quantity": -1})), "/lines/0/quantity"),
        (line(json!({"external_id": "vitamin-c", "quantity": 1.5})), "/lines/0/quantity"),
        (line(json!({"external_id": "vitamin-c", "quantity": 4_294_967_296_u64})), "/lines/0/quantity"),
        (line(json!({"external_id": "nothing", "quantity": 1})), "/lines/0/external_id"),
        (line(json!({"external_id": "a/b", "quantity": 1})), "/lines/0/external_id"),
        (line(json!({"quantity": 1})), "/lines/0"),
    ];
    for (body, pointer) in cases {
        let problem = app.shop.post("/v1/quotes", body.clone()).await.refused(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body} {problem:#}");
    }
    for body in [line(json!({"external_id": "vitamin-c", "quantity": 0})), cart(&member, &[])] {
        app.shop.post("/v1/quotes", body).await.refused(422, "invalid-request");
    }
    let mut dollars = cart(&member, &["vitamin-c"]);
    dollars["delivery_fee"] = json!({"minor": 100, "currency": "USD"});
    let problem = app.shop.post("/v1/quotes", dollars).await.refused(422, "invalid-request");
    assert_eq!(problem["errors"][0]["pointer"], "/delivery_fee/currency");

    app.shop.get("/v1/members/mbr_7").await.refused(400, "malformed-path");
    app.shop.get("/v1/members/ord_00000000000000000000000000000000").await.refused(400, "malformed-path");
    app.shop.get("/v1/members/mbr_00000000000000000000000000000000").await.refused(404, "not-found");
    app.shop.get("/v1/members?limit=0").await.refused(422, "invalid-request");
    app.shop.get("/v1/members?limit=many").await.refused(400, "malformed-query");
    app.shop.get("/v1/members?page=2").await.refused(400, "malformed-query");
    for cursor in ["zz", "00", "ffffffffffffffffffffffffffffffffffffff", "%00"] {
        app.shop.get(&format!("/v1/members?cursor={cursor}")).await.refused(422, "invalid-request");
    }
    app.quote(&member, &["vitamin-c"]).await;
}

#[tokio::test]
async fn wrong_headers_methods_and_sizes_are_refused() {
    let app = TestApp::start().await;
    let post = || app.shop.request(Method::POST, "/v1/members");
    app.shop.send(post().header("content-type", "text/plain").body("{}")).await.refused(415, "unsupported-media-type");
    app.shop.send(post().body("{}")).await.refused(415, "unsupported-media-type");
    let huge = format!("{{\"external_id\":\"{}\"}}", "x".repeat(1 << 20));
    let request = post().header("content-type", "application/json").body(huge);
    app.shop.send(request).await.refused(413, "body-too-large");
    let mut request = post().json(&json!({})).build().expect("a request");
    request.headers_mut().remove("idempotency-key");
    app.shop.send_built(request).await.refused(400, "idempotency-key-missing");
    raw_post(&app.shop, "/v1/members", &"k".repeat(129), json!({})).await.refused(400, "idempotency-key-malformed");
    let reply = app.shop.put("/v1/members", json!({})).await;
    assert!(reply.header("allow").contains("POST"), "{reply:?}");
    reply.refused(405, "method-not-allowed");
    app.shop.get("/v2/members").await.refused(404, "no-such-route");
    let get = app.shop.request(Method::GET, "/v1/members").header("accept", "text/html");
    app.shop.send(get).await.refused(406, "not-acceptable");
    let get = app.anonymous().request(Method::GET, "/v1/members").header("authorization", "Basic eDp5");
    app.shop.send(get).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn an_answer_names_its_trace_and_takes_over_the_callers() {
    let app = TestApp::start().await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let get =
        app.shop.request(Method::GET, "/v1/members/x").header("traceparent", format!("00-{id}-00f067aa0ba902b7-01"));
    let reply = app.shop.send(get).await;
    assert_eq!(reply.header("trace-id"), id);
    assert_eq!(reply.refused(400, "malformed-path")["trace_id"], id);
    let reply = app.shop.get("/v1/members").await;
    assert_eq!(reply.header("trace-id").len(), 32);
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() {
    let app = TestApp::start_with(|config| config.limits.requests_per_second = 20).await;
    let mut refused = 0;
    for _ in 0..60 {
        let reply = app.shop.get("/v1/members").await;
        assert_eq!(reply.header("ratelimit-policy"), "\"default\";q=20;w=1");
        if reply.status == 429 {
            assert_eq!((reply.header("retry-after"), reply.header("ratelimit")), ("1", "\"default\";r=0;t=1"));
            reply.refused(429, "too-many-requests");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

/// A connection of our own, for requests that no client would send.
struct Raw(Arc<TcpStream>);

impl Raw {
    async fn connect(client: &Client) -> std::io::Result<Self> {
        let address = client.url().trim_start_matches("http://").to_owned();
        let stream = tokio::task::spawn_blocking(move || TcpStream::connect(address)).await.expect("does not panic")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(Arc::new(stream)))
    }

    async fn write(&self, text: &str) {
        let (stream, text) = (Arc::clone(&self.0), text.to_owned());
        let written = tokio::task::spawn_blocking(move || (&*stream).write_all(text.as_bytes()));
        written.await.expect("does not panic").expect("is written");
    }

    /// Everything until the server closes; fails if it does not within ten seconds.
    async fn read(&self) -> String {
        let stream = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            (&*stream).read_to_string(&mut text).map(|_| text)
        });
        read.await.expect("does not panic").expect("the server closes the connection")
    }
}

/// A post whose body is still to come.
fn head(client: &Client, path: &str, idempotency_key: &str, bytes: usize) -> String {
    let key = client.key().expect("a key");
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Idempotency-Key: {idempotency_key}\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_client_that_dawdles_is_cut_off() {
    let app = TestApp::start_with(|config| {
        config.server.header_seconds_max = 1;
        config.server.request_seconds_max = 1;
    })
    .await;
    let silent = Raw::connect(&app.shop).await.expect("connects");
    silent.write("GET /healthz HTTP/1.1\r\nHost: x\r\n").await;
    silent.read().await;

    let slow = Raw::connect(&app.shop).await.expect("connects");
    slow.write(&head(&app.shop, "/v1/members", "slow", 100)).await;
    slow.write("{\"ext").await;
    let answer = slow.read().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("request-timeout"), "{answer}");
    raw_post(&app.shop, "/v1/members", "slow", json!({})).await.expect(201);
}

#[tokio::test]
async fn a_client_that_does_not_read_gives_its_place_to_another() {
    let app = TestApp::start_with(|config| {
        config.server.connections_max = 1;
        config.server.header_seconds_max = 1;
        config.server.stall_seconds_max = 1;
    })
    .await;
    let deaf = Raw::connect(&app.shop).await.expect("connects");
    // Far more than the buffers between the two can hold.
    deaf.write(&"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500)).await;
    let next = Raw::connect(&app.shop).await.expect("waits in the backlog");
    next.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(next.read().await.starts_with("HTTP/1.1 200"));
    drop(deaf);
}

#[tokio::test]
async fn requests_in_flight_finish_when_the_server_stops() {
    let mut app = TestApp::start().await;
    let member = app.member("m-1").await;
    app.product("vitamin-c", 5_000).await;
    let quote = app.quote(&member, &["vitamin-c"]).await;
    let body = json!({"quote": quote["id"]}).to_string();
    let (begin, end) = body.split_at(10);
    let last = Raw::connect(&app.shop).await.expect("connects");
    last.write(&head(&app.shop, "/v1/orders", "last", body.len())).await;
    last.write(begin).await;
    // The server has the request once it refuses another one with the same key.
    loop {
        let other = raw_post(&app.shop, "/v1/orders", "last", json!({})).await;
        if other.status == 409 {
            other.refused(409, "idempotency-key-in-flight");
            break;
        }
        other.refused(422, "invalid-request");
    }
    let stopped = tokio::spawn(app.take_running().stop());
    // Nobody new is let in from then on, but the request under way goes on.
    while Raw::connect(&app.shop).await.is_ok() {
        tokio::task::yield_now().await;
    }
    last.write(end).await;
    let answer = last.read().await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    stopped.await.expect("does not panic").expect("stops in order");
}
