//! Takes connections: each serves one call, and ends with it. That is said in each answer's head, since the answer to a
//! WebSocket's call must not say so.

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long the head of a request may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// What the head of a request may hold, and what is kept to be written, in bytes.
const BUFFER: usize = 16 * 1024;
/// How long one who is cut off has to take the reason.
const FAREWELL: Duration = Duration::from_secs(2);
/// After a failure to accept, as when descriptors are used up.
const BREATH: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: IpAddr,
    /// Cancelled when it is too slow.
    pub cut: CancellationToken,
}

/// Answers until `stop`; what is left to be answered then.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Only takes note of what has ended.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // Events are small, and each is written at once.
                let _ = stream.set_nodelay(true);
                let cut = CancellationToken::new();
                let peer = Peer {
                    address: address.ip().to_canonical(),
                    cut,
                };
                connections.spawn(answer(stream, routes.clone(), peer));
            }
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
    connections
}

async fn answer(stream: TcpStream, routes: Router, peer: Peer) {
    let cut = peer.cut.clone();
    let routes = routes.layer(Extension(peer));
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades();
    tokio::select! {
        // What goes wrong here is the client's: it gets a 4xx, or has gone away.
        _ = answered => {}
        () = async { cut.cancelled().await; tokio::time::sleep(FAREWELL).await } => {}
    }
}
