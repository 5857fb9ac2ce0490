//! Routes without a key: how often, how much, and what a foreign authorization does there.

use reqwest::Method;

use crate::app::{Client, Reply, TestApp};

const RECEIPTS: &str = "/receipts/channel.webhook";
const LINK: &str = "/u/nobody";

async fn send(client: &Client, method: &Method, path: &str, bytes: usize) -> Reply {
    client.send(client.request(method.clone(), path).body(vec![b'x'; bytes])).await
}

#[tokio::test]
async fn one_address_asks_so_often_and_then_hears_when_again() {
    let app = TestApp::start_with(|config| config.limits.anonymous_per_second = 3).await;
    let nobody = app.anonymous();
    for (method, path) in [(Method::POST, RECEIPTS), (Method::GET, LINK), (Method::POST, LINK)] {
        let mut asked = 0;
        let refused = loop {
            asked += 1;
            let reply = send(&nobody, &method, path, 0).await;
            if reply.status == 429 {
                break reply;
            }
            assert!(asked < 1_000, "{method} {path} is never refused: {reply:?}");
        };
        assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("1", "\"default\";r=0;t=1"));
        refused.refused(429, "too-many-requests");
        app.shop.get("/v1/members").await.expect(200);
    }
    let described = app.operator.get("/openapi.json").await.expect(200);
    for (path, method) in [("/receipts/{slot}", "post"), ("/u/{token}", "get"), ("/u/{token}", "post")] {
        let answers = &described["paths"][path][method]["responses"];
        assert_eq!(answers["429"]["description"], "too-many-requests", "{method} {path}: {answers:#}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_an_authorization_there_is_the_vendors() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for (path, most) in [(RECEIPTS, 1 << 20), (LINK, 4 << 10)] {
        send(&nobody, &Method::POST, path, most + 1).await.refused(413, "body-too-large");
        let fits = send(&nobody, &Method::POST, path, most).await;
        assert_ne!(fits.status, 413, "{path}");
    }
    let plain = send(&nobody, &Method::POST, RECEIPTS, 1).await;
    for theirs in ["Basic dmVuZG9yOnBhc3N3b3Jk", "Bearer the-vendors-own-token"] {
        let request = nobody.request(Method::POST, RECEIPTS).header("authorization", theirs).body("x");
        let reply = nobody.send(request).await;
        assert_eq!((reply.status, &reply.json["type"]), (plain.status, &plain.json["type"]), "{reply:?}");
    }
    let request = nobody.request(Method::GET, "/v1/members").header("authorization", "Basic dmVuZG9y");
    nobody.send(request).await.refused(401, "unauthenticated");
}
