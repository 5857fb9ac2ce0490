//! A running server, as commands talk to it.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Method, header};
use serde_json::Value as Json;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to send a file; while it sends, it may pause for [`PATIENCE`].
const DOWNLOAD_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Which server, and with which key.
#[derive(Args)]
pub(super) struct ServerArgs {
    /// The server's address.
    #[arg(long, value_name = "URL", env = "GALENIC_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// An API key with the scope that is needed.
    #[arg(long, value_name = "KEY", env = "GALENIC_KEY", hide_env_values = true)]
    key: String,
}

/// A client of one server.
pub(super) struct Remote {
    http: reqwest::Client,
    server: String,
    key: String,
}

/// What a request brings.
pub(super) enum Body {
    Nothing,
    Json(Json),
    Wasm(Vec<u8>),
}

impl ServerArgs {
    /// That server, with that key.
    pub(super) fn new(server: String, key: String) -> Self {
        Self { server, key }
    }

    /// A client of that server.
    pub(super) fn connect(self) -> anyhow::Result<Remote> {
        let http = reqwest::Client::builder().timeout(PATIENCE).read_timeout(PATIENCE).build()?;
        Ok(Remote { http, server: self.server.trim_end_matches('/').to_owned(), key: self.key })
    }
}

impl Remote {
    /// Asks, and gives the answer's JSON; a problem becomes an error in one line.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Json> {
        let url = format!("{}{path}", self.server);
        let mut request = self.http.request(method.clone(), &url).bearer_auth(&self.key);
        if method != Method::GET {
            request = request.header("idempotency-key", uuid::Uuid::new_v4().to_string());
        }
        request = match body {
            Body::Nothing => request,
            Body::Json(json) => request.json(&json),
            Body::Wasm(bytes) => request.header(header::CONTENT_TYPE, "application/wasm").body(bytes),
        };
        let response = request.send().await.with_context(|| format!("cannot reach {}", self.server))?;
        let status = response.status();
        let text = response.text().await.context("the answer broke off")?;
        let json: Json =
            serde_json::from_str(&text).with_context(|| format!("{url} does not answer as Galenic does"))?;
        if !status.is_success() {
            bail!("{}: {}", json["title"].as_str().unwrap_or(status.as_str()), problem(&json));
        }
        Ok(json)
    }

    /// Posts, and writes the answer's body to `to` as it comes.
    pub(super) async fn download(&self, path: &str, to: &mut impl Write) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.server);
        let request = self.http.post(&url).bearer_auth(&self.key).timeout(DOWNLOAD_TIME_MAX);
        let mut response = request.send().await.with_context(|| format!("cannot reach {}", self.server))?;
        if !response.status().is_success() {
            let status = response.status();
            let json: Json = serde_json::from_str(&response.text().await?).unwrap_or_default();
            bail!("{}: {}", json["title"].as_str().unwrap_or(status.as_str()), problem(&json));
        }
        while let Some(bytes) = response.chunk().await.context("the answer broke off")? {
            to.write_all(&bytes).context("cannot write what the server sends")?;
        }
        Ok(())
    }

    /// Every item of a list, page by page.
    pub(super) async fn list(&self, path: &str) -> anyhow::Result<Vec<Json>> {
        let mut items = Vec::new();
        let mut page = path.to_owned();
        loop {
            let mut json = self.ask(Method::GET, &page, Body::Nothing).await?;
            if let Some(Json::Array(rows)) = json.get_mut("items").map(Json::take) {
                items.extend(rows);
            }
            match json["next_cursor"].as_str() {
                Some(cursor) => page = format!("{path}?cursor={cursor}"),
                None => return Ok(items),
            }
        }
    }
}

fn problem(json: &Json) -> String {
    json["detail"].as_str().unwrap_or("the server does not say why").to_owned()
}
