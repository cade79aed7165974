//! A TCP proxy that breaks connections on demand.
//!
//! It runs on a thread of its own: a test that blocks its runtime does not slow the network down.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
    Both,
}

/// What happens to bytes that flow one way.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    flow: Flow,
    delay: Duration,
    bytes_per_second: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Pass,
    /// Nothing is taken from the sender: his buffers fill, and no byte is lost.
    Stall,
    /// Everything is taken and lost, and no end of a connection is passed on.
    Swallow,
}

#[derive(Debug, Clone, Copy)]
struct Faults {
    reachable: bool,
    /// Grows with each [`Proxy::drop_connections`].
    generation: u64,
    to_server: Way,
    to_client: Way,
}

const WHOLE: Faults = Faults {
    reachable: true,
    generation: 0,
    to_server: Way {
        flow: Flow::Pass,
        delay: Duration::ZERO,
        bytes_per_second: None,
    },
    to_client: Way {
        flow: Flow::Pass,
        delay: Duration::ZERO,
        bytes_per_second: None,
    },
};

/// A proxy in front of one server; ends, with its connections, when dropped.
pub struct Proxy {
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
}

impl Proxy {
    /// A proxy that passes everything on to `server`, which need not be up yet.
    pub async fn to(server: SocketAddr) -> Self {
        // A port that no outgoing connection takes while the proxy is cut.
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, super::ports::free()));
        let (faults, watched) = watch::channel(WHOLE);
        let (listening, ready) = tokio::sync::oneshot::channel();
        RUNTIME.spawn(async move {
            let listener = listen(addr).await;
            let _ = listening.send(());
            // An error says that the proxy was dropped.
            let _ = accept(listener, addr, server, watched).await;
        });
        ready.await.expect("the proxy listens");
        Self { addr, faults }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections and refuses new ones, as a server that is down.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| faults.reachable = false);
    }

    /// Closes the connections there are; new ones pass.
    pub fn drop_connections(&self) {
        self.faults.send_modify(|faults| faults.generation += 1);
    }

    /// Nothing gets through, nothing is lost: a peer that has stopped reading, a frozen process.
    pub fn stall(&self, direction: Direction) {
        self.change(direction, |way| way.flow = Flow::Stall);
    }

    /// Everything vanishes and nobody is told: a dead route, a firewall that forgot the connection.
    pub fn half_open(&self, direction: Direction) {
        self.change(direction, |way| way.flow = Flow::Swallow);
    }

    /// Bytes arrive later by `delay`, in order and at full rate.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(direction, |way| way.delay = delay);
    }

    /// At most so many bytes per second and connection.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u32) {
        self.change(direction, |way| {
            way.bytes_per_second = Some(bytes_per_second)
        });
    }

    /// Ends all faults. Connections that lost bytes to [`Proxy::half_open`] are closed: what is
    /// left of their streams would be garbage.
    pub fn heal(&self) {
        self.faults.send_modify(|faults| {
            let swallowed = [faults.to_server, faults.to_client]
                .iter()
                .any(|way| way.flow == Flow::Swallow);
            *faults = Faults {
                generation: faults.generation + u64::from(swallowed),
                ..WHOLE
            };
        });
    }

    fn change(&self, direction: Direction, change: impl Fn(&mut Way)) {
        self.faults.send_modify(|faults| {
            if direction != Direction::ToClient {
                change(&mut faults.to_server);
            }
            if direction != Direction::ToServer {
                change(&mut faults.to_client);
            }
        });
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("proxy")
        .enable_all()
        .build()
        .expect("a runtime")
});

type Watched = watch::Receiver<Faults>;
type Dropped = watch::error::RecvError;

async fn listen(addr: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Accepts until the proxy is dropped.
async fn accept(
    mut listener: TcpListener,
    addr: SocketAddr,
    server: SocketAddr,
    mut faults: Watched,
) -> Result<(), Dropped> {
    let mut cut = faults.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(connection(client, server, faults.clone()));
                }
            }
            until = async { cut.wait_for(|faults| !faults.reachable).await.map(drop) } => {
                until?;
                // Refused, not accepted and closed: so the listener itself has to go.
                drop(listener);
                faults.wait_for(|faults| faults.reachable).await?;
                listener = listen(addr).await;
            }
        }
    }
}

async fn connection(client: TcpStream, server: SocketAddr, mut faults: Watched) {
    let generation = faults.borrow().generation;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_client, to_server, faults.clone(), |faults| {
        faults.to_server
    });
    let back = pump(from_server, to_client, faults.clone(), |faults| {
        faults.to_client
    });
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = async {
            let over = |now: &Faults| !now.reachable || now.generation != generation;
            faults.wait_for(over).await.map(drop)
        } => {}
    }
}

/// Carries bytes one way until the sender ends or something fails.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: Watched,
    way: fn(&Faults) -> Way,
) {
    let mut gate = faults.clone();
    // Holds what is under way because of a delay.
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let reader = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            faults
                .wait_for(|faults| way(faults).flow != Flow::Stall)
                .await
                .ok()?;
            let rate = way(&faults.borrow()).bytes_per_second;
            let most = rate.map_or(buffer.len(), |rate| {
                buffer.len().min(rate as usize / 20 + 1)
            });
            let read = from.read(&mut buffer[..most]).await.ok()?;
            // What was read while the fault began is subject to it.
            faults
                .wait_for(|faults| way(faults).flow != Flow::Stall)
                .await
                .ok()?;
            let now = way(&faults.borrow());
            match (now.flow, read) {
                (Flow::Swallow, 0) => {
                    faults
                        .wait_for(|faults| way(faults).flow == Flow::Pass)
                        .await
                        .ok()?;
                    return Some(());
                }
                (Flow::Swallow, _) => continue,
                (_, 0) => return Some(()),
                _ => {}
            }
            if let Some(rate) = now.bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(read as f64 / f64::from(rate))).await;
            }
            send.send((Instant::now() + now.delay, buffer[..read].to_vec()))
                .await
                .ok()?;
        }
    };
    let writer = async move {
        while let Some((at, bytes)) = receive.recv().await {
            tokio::time::sleep_until(at).await;
            gate.wait_for(|faults| way(faults).flow != Flow::Stall)
                .await
                .ok()?;
            to.write_all(&bytes).await.ok()?;
        }
        to.shutdown().await.ok()
    };
    tokio::join!(reader, writer);
}
