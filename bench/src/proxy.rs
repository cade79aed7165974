//! A TCP proxy in front of the broker that holds back what the broker answers: acknowledgements come
//! later, in order and at full rate, as from a broker far away.

use crate::error::Fallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Chunks of answers under way in one connection.
const UNDER_WAY: usize = 1_024;

/// Listens until the program ends.
pub struct Proxy {
    address: String,
    delay_millis: Arc<AtomicU64>,
}

impl Proxy {
    /// Where `scripts/services` has told the broker to send its clients (`SERVICES_KAFKA_PROXY`), in front of the
    /// broker's listener for it (`SERVICES_KAFKA_PROXIED`).
    ///
    /// # Errors
    /// When the variables are missing, or somebody listens there.
    pub async fn of_environment() -> Fallible<Self> {
        let variable = |name| {
            std::env::var(name)
                .map_err(|_| format!("{name} is not set: TAILWATER_KAFKA_PROXY=yes was not"))
        };
        let (address, server) = (
            variable("SERVICES_KAFKA_PROXY")?,
            variable("SERVICES_KAFKA_PROXIED")?,
        );
        let listener = TcpListener::bind(&address).await?;
        let delay_millis = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_millis);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error is the end of this connection alone.
                tokio::spawn(carry(client, server.clone(), Arc::clone(&delay)));
            }
        });
        Ok(Self {
            address,
            delay_millis,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on, also for connections there are.
    pub fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay_millis.store(millis, Ordering::Relaxed);
    }
}

async fn carry(client: TcpStream, server: String, delay: Arc<AtomicU64>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let requests = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let answers = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            let chunk = buffer[..read].to_vec();
            if read == 0 || sender.send((due, chunk)).await.is_err() {
                return std::io::Result::Ok(());
            }
        }
    };
    let held_back = async {
        while let Some((due, chunk)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            to_client.write_all(&chunk).await?;
        }
        to_client.shutdown().await
    };
    tokio::try_join!(requests, answers, held_back)?;
    Ok(())
}
