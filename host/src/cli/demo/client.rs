//! A partner's HTTP client that counts what it does.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value as Json;

/// Failures told in words; the rest is only counted.
const FAILURES_TOLD: usize = 5;

/// One server, one API key.
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    server: String,
    key: String,
    keys_used: AtomicU64,
    calls: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
    quotes: Mutex<Vec<Duration>>,
}

/// What a call came to.
pub(in crate::cli) enum Reply {
    Done(Json),
    /// `409 quote-changed`: the fresh quote.
    QuoteChanged(Json),
}

impl Client {
    pub(in crate::cli) fn new(server: String, key: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).pool_max_idle_per_host(64).build()?;
        Ok(Self {
            http,
            server,
            key,
            keys_used: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: Mutex::default(),
            quotes: Mutex::default(),
        })
    }

    /// The API key.
    pub(in crate::cli) fn key(&self) -> &str {
        &self.key
    }

    pub(in crate::cli) async fn get(&self, path: &str) -> anyhow::Result<Json> {
        match self.call(Method::GET, path, None).await? {
            Reply::Done(json) => Ok(json),
            Reply::QuoteChanged(_) => bail!("GET {path} answers with a quote"),
        }
    }

    pub(in crate::cli) async fn post(&self, path: &str, body: Json) -> anyhow::Result<Json> {
        match self.call(Method::POST, path, Some(body)).await? {
            Reply::Done(json) => Ok(json),
            Reply::QuoteChanged(_) => bail!("POST {path} answers with a quote"),
        }
    }

    pub(in crate::cli) async fn put(&self, path: &str, body: Json) -> anyhow::Result<Json> {
        match self.call(Method::PUT, path, Some(body)).await? {
            Reply::Done(json) => Ok(json),
            Reply::QuoteChanged(_) => bail!("PUT {path} answers with a quote"),
        }
    }

    /// Asks for a price, and keeps how long it took.
    pub(in crate::cli) async fn quote(&self, body: Json) -> anyhow::Result<Json> {
        let begun = Instant::now();
        let quote = self.post("/v1/quotes", body).await?;
        self.quotes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(begun.elapsed());
        Ok(quote)
    }

    /// Makes a call with a fresh idempotency key. Anything but success and `quote-changed` counts as failed.
    pub(in crate::cli) async fn call(&self, method: Method, path: &str, body: Option<Json>) -> anyhow::Result<Reply> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = self.send(method.clone(), path, body).await;
        let problem = match answer {
            Ok((status, json)) if status.is_success() => return Ok(Reply::Done(json)),
            Ok((StatusCode::CONFLICT, mut json)) if json["type"] == "urn:galenic:quote-changed" => {
                return Ok(Reply::QuoteChanged(json["quote"].take()));
            }
            Ok((status, json)) => format!("{method} {path}: {status} {}", json["detail"].as_str().unwrap_or_default()),
            Err(error) => format!("{method} {path}: {error:#}"),
        };
        Err(self.fail(problem))
    }

    /// Posts what may be refused with this problem, `urn:galenic:` left out; nothing if it was. Any other refusal counts as
    /// failed.
    pub(in crate::cli) async fn try_post(&self, path: &str, body: Json, problem: &str) -> anyhow::Result<Option<Json>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.send(Method::POST, path, Some(body)).await {
            Ok((status, json)) if status.is_success() => Ok(Some(json)),
            Ok((_, json)) if json["type"] == format!("urn:galenic:{problem}") => Ok(None),
            Ok((status, json)) => Err(self.fail(format!("POST {path}: {status}, not {problem}: {}", json["detail"]))),
            Err(error) => Err(self.fail(format!("POST {path}: {error:#}"))),
        }
    }

    /// Posts what must be refused with this problem. Anything else counts as failed.
    pub(in crate::cli) async fn refused(&self, path: &str, body: Json, problem: &str) -> anyhow::Result<()> {
        match self.try_post(path, body, problem).await? {
            None => Ok(()),
            Some(_) => Err(self.fail(format!("POST {path}: done, and should be refused as {problem}"))),
        }
    }

    /// A text: a file, as it is.
    pub(in crate::cli) async fn text(&self, path: &str) -> anyhow::Result<String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let request = self.http.get(format!("{}{path}", self.server)).bearer_auth(&self.key);
        let answer = async { request.send().await?.error_for_status()?.text().await };
        answer.await.map_err(|error| self.fail(format!("GET {path}: {error:#}")))
    }

    /// Counts a failure.
    fn fail(&self, problem: String) -> anyhow::Error {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if failures.len() < FAILURES_TOLD {
            failures.push(problem.clone());
        }
        anyhow::anyhow!(problem)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Json>) -> anyhow::Result<(StatusCode, Json)> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.server)).bearer_auth(&self.key);
        if method != Method::GET {
            let n = self.keys_used.fetch_add(1, Ordering::Relaxed);
            request = request.header("idempotency-key", format!("demo-{n}"));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        Ok((status, response.json().await.context("the answer is no JSON")?))
    }

    /// Every item of a list.
    pub(in crate::cli) async fn list(&self, path: &str) -> anyhow::Result<Vec<Json>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}?limit=200{cursor}")).await?;
            if let Json::Array(rows) = page["items"].take() {
                items.extend(rows);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    pub(in crate::cli) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(in crate::cli) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(in crate::cli) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The median and the 95th percentile of quotes, as the client saw them.
    pub(in crate::cli) fn quote_times(&self) -> (Duration, Duration) {
        let mut times = self.quotes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        (at(50), at(95))
    }
}
