//! Takes connections, within bounds: whoever is slow, silent or many costs little and shuts nobody out.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Connections at a time, where there are descriptors enough. One more takes the place of the oldest, so
/// that a probe gets its answer while others only hold the line.
const MOST: usize = 256;
/// Of the descriptors that the process may open (`ulimit -n`), the share that connections may take: the
/// rest is for MongoDB, Kafka and the checkpoint.
const SHARE: u64 = 8;
/// What is left of that where there are few: a probe, a scrape, and somebody who looks.
const FEWEST: usize = 4;
/// How long the head of a request may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a request with its answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// What the head of a request may hold, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// How long answers may still take at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// After a failure to accept, as when descriptors are used up.
const BREATH: Duration = Duration::from_millis(100);

/// Answers requests until `done`.
pub(super) async fn serve(listener: TcpListener, routes: Router, done: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut order: VecDeque<AbortHandle> = VecDeque::new();
    let most = most(getrlimit(Resource::Nofile).current);
    loop {
        let accepted = tokio::select! {
            () = done.cancelled() => break,
            // Only takes note of what has ended.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        order.retain(|connection| !connection.is_finished());
        // Without a descriptor for the next one, the oldest has to give its own.
        let is_full = accepted.is_err() || order.len() >= most;
        if is_full && let Some(oldest) = order.pop_front() {
            oldest.abort();
        }
        match accepted {
            Ok((stream, _)) => order.push_back(connections.spawn(answer(stream, routes.clone()))),
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    // Whoever has not asked anything until then is not waited for.
    let _ = tokio::time::timeout(FAREWELL, rest).await;
}

/// How many connections are held by a process that may open so many descriptors; `None` is any number.
fn most(descriptors: Option<u64>) -> usize {
    let share = descriptors.map(|descriptors| usize::try_from(descriptors / SHARE));
    match share {
        Some(Ok(share)) => share.clamp(FEWEST, MOST),
        Some(Err(_)) | None => MOST,
    }
}

/// One request, one answer: without keep-alive an idle client holds nothing for long.
async fn answer(stream: TcpStream, routes: Router) {
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // What goes wrong here is the client's: it gets a 4xx, or has gone away.
    let _ = tokio::time::timeout(DEADLINE, answered).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_a_share_of_the_descriptors() {
        for (descriptors, connections) in [
            (Some(0), 4),
            (Some(64), 8),
            (Some(256), 32),
            (Some(1024), 128),
            (Some(1_048_576), 256),
            (None, 256),
        ] {
            assert_eq!(most(descriptors), connections, "{descriptors:?}");
        }
    }
}
