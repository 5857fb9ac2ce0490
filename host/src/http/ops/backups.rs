//! A backup, made while orders flow, as the answer's body.

use std::io::{self, Write};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    Api,
    extract::{Allowed, needs},
    problem::Problem,
};

/// Bytes of one piece of the body.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 8;
pub(in crate::http) const MEDIA_TYPE: &str = "application/vnd.galenic.backup";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Streams a backup of everything, of one moment, while orders flow. It ends with a seal over all its bytes: what breaks
/// off is no backup. The master key is not in it. `galenic backup` calls this, checks what it gets, and writes a file.
#[utoipa::path(
    post, path = "/ops/v1/backups", tag = "operations", security(("api_key" = ["operate"])),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/vnd.galenic.backup"),
        (status = 409, description = "backup-running"),
    ),
)]
async fn create(State(api): State<Api>, _: Allowed<needs::Operate>) -> Result<Response, Problem> {
    let backup = api.services.begin_backup()?;
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut to = ToClient { pieces: pieces.clone(), piece: Vec::with_capacity(PIECE_BYTES) };
        match backup.write(&mut to) {
            Ok(manifest) => {
                tracing::info!(seq = manifest.seq, bytes = manifest.bytes(), parts = manifest.parts.len(), "backed up");
            }
            Err(error) => {
                tracing::error!(%error, "the backup broke off");
                // The body ends in an error, so that nobody takes what was sent for a backup.
                let _gone = pieces.blocking_send(Err(io::Error::other("the backup broke off")));
            }
        }
    });
    let body = futures::stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (piece, body)) });
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::from_stream(body)).into_response())
}

/// Hands bytes to the client's connection, waiting where it does not keep up.
struct ToClient {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl ToClient {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        self.pieces.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

impl Write for ToClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}
