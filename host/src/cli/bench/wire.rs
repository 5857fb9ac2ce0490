//! A client that costs next to nothing, so that what is measured is the server: HTTP/1.1 over connections that stay open,
//! bodies as text, and of an answer only what the next request needs.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// Open connections to one server, with one key.
pub(super) struct Wires {
    server: SocketAddr,
    key: String,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Wires {
    pub(super) fn new(server: SocketAddr, key: String) -> Self {
        Self { server, key, idle: Mutex::default() }
    }

    /// Sends a request under its own idempotency key; the body of the answer, which must be a success.
    pub(super) async fn post(&self, path: &str, once: &str, body: &str) -> anyhow::Result<String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut wire = match idle {
            Some(wire) => wire,
            None => {
                let wire = TcpStream::connect(self.server).await?;
                wire.set_nodelay(true)?;
                BufReader::new(wire)
            }
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nidempotency-key: {once}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.server,
            self.key,
            body.len(),
        );
        wire.get_mut().write_all(request.as_bytes()).await?;
        let answer = read(&mut wire).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(wire);
        Ok(answer)
    }
}

async fn read(wire: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        ensure!(wire.read_line(&mut line).await? > 0, "the server closed the connection");
        if status.is_empty() {
            status.clone_from(&line);
        } else if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.trim_end().parse().context("a length")?;
        } else if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    wire.read_exact(&mut body).await?;
    let body = String::from_utf8(body).context("an answer is text")?;
    ensure!(status.starts_with("HTTP/1.1 2"), "{} {body}", status.trim_end());
    Ok(body)
}

/// The text that follows `before` in an answer, up to `until`: of the first place where it stands.
pub(super) fn between<'a>(answer: &'a str, before: &str, until: char) -> anyhow::Result<&'a str> {
    let rest = answer.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(until)).map(|(found, _)| found);
    found.with_context(|| format!("no {before} in {answer}"))
}
