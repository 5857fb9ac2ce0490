//! The accept loop: HTTP/1.1 over TCP with every wait bounded, and a drain that loses no request.
//!
//! [`serve`] takes connections until it is told to stop, lets requests in flight finish for as long as the drain may
//! take, and returns. It does not know what the requests ask for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request, extract::connect_info::ConnectInfo};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::ServiceExt as _;

use super::stall::Bounded;

/// Bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at one time; more wait in the listener's backlog.
    pub connections_max: usize,
    /// From the end of an answer, or from the connection's start, to the end of the next request's headers.
    pub header_read_max: Duration,
    /// How long a client may let an answer wait without taking any of it.
    pub stall_max: Duration,
    /// How long requests in flight may take once the server stops.
    pub drain_max: Duration,
}

/// Serves until `stop` is ready, then drains; how many connections were cut off at the end of the drain.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) -> usize {
    let permits = Arc::new(Semaphore::new(bounds.connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.header_read_max).max_buf_size(HEAD_BYTES_MAX);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = &mut stop => break,
        };
        let (stream, peer, permit) = accepted;
        let router = router.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection =
            graceful.watch(builder.serve_connection(TokioIo::new(Bounded::new(stream, bounds.stall_max)), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended badly");
            }
            drop(permit);
        });
    }
    drop(listener);
    let open = || bounds.connections_max - permits.available_permits();
    tracing::info!(connections = open(), "draining");
    let drained = async {
        graceful.shutdown().await;
        // A connection that has ended may still hold what it served from: whoever opens the same data next must find it
        // let go.
        let all = u32::try_from(bounds.connections_max).unwrap_or(u32::MAX);
        drop(permits.acquire_many(all).await);
    };
    if tokio::time::timeout(bounds.drain_max, drained).await.is_err() {
        tracing::warn!(connections = open(), "connections were cut off at the end of the drain");
        return open();
    }
    0
}

/// The next connection, once there is room for it. A failing accept is tried again: it is the machine's trouble or the
/// client's, never a reason to stop.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no delay cannot be turned off");
                }
                return (stream, peer, permit);
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
