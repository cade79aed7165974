//! Services with certificates that nobody vouches for, or an authority of one's own.

use super::{dead_letters, wanted, with_topic, worker, write};
use crate::support::{PATIENCE, eventually};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A service that says yes, and counts.
struct Service {
    port: u16,
    connected: Arc<AtomicUsize>,
    /// Bytes of requests.
    received: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start(certificate: &[u8], key: &[u8]) -> Self {
        let certificate = CertificateDer::from(certificate.to_vec());
        let key = PrivatePkcs8KeyDer::from(key.to_vec());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connected, received) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (ours, bytes) = (Arc::clone(&connected), Arc::clone(&received));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                ours.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut some = [0; 4096];
                    let count = stream.read(&mut some).await.unwrap_or_default();
                    bytes.fetch_add(count, Ordering::Relaxed);
                    let yes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    // Whoever trusts it not has gone.
                    let _ = stream.write_all(yes).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        Self {
            port,
            connected,
            received,
            task,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_service_with_a_certificate_of_its_own_making_is_sent_nothing() {
    let certificate = include_bytes!("self-signed.der");
    let service = Service::start(certificate, include_bytes!("self-signed.key.der")).await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let handlers = json!({
        "all": {"url": service.url(), "retries": 1, "backoff": "20ms"},
    });
    write(kafka, &topic, &[wanted("all", 1, "a")]).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 1).await;
    let letter = &letters[0];
    assert_eq!(letter.header("tw-dlq-reason"), "unreachable");
    let detail = letter.header("tw-dlq-detail");
    assert!(detail.contains("certificate"), "{detail}");
    assert!(service.connected.load(Ordering::Relaxed) >= 2);
    let received = service.received.load(Ordering::Relaxed);
    assert_eq!(received, 0, "nothing was sent");
    worker.stop().await;
}

#[tokio::test]
async fn a_service_is_trusted_where_an_authority_of_ones_own_vouches_for_it() {
    let certificate = include_bytes!("signed.der");
    let service = Service::start(certificate, include_bytes!("signed.key.der")).await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let handlers = json!({
        "all": {"url": service.url(), "retries": 0},
    });
    let setup = worker(kafka, &prefix, &handlers);
    write(kafka, &topic, &[wanted("all", 1, "a")]).await;
    let without = setup.start().await;
    let letters = dead_letters(kafka, &prefix, 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    assert!(detail.contains("certificate"), "{detail}");
    without.stop().await;

    let own = setup.folder().join("ca.pem");
    let setup = setup.env("WORKER_TLS_CA_FILE", own.display());
    for (text, expected) in [
        ("no certificate", "has no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n",
            "is not PEM",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "is of no use",
        ),
    ] {
        std::fs::write(&own, text).unwrap();
        let exit = setup.run().await;
        assert_eq!(exit.code, Some(2), "{}", exit.output);
        assert!(exit.output.contains(expected), "{}", exit.output);
        assert!(exit.output.contains("give a PEM file"), "{}", exit.output);
    }
    std::fs::write(&own, include_bytes!("authority.pem")).unwrap();
    let with = setup.start().await;
    write(kafka, &topic, &[wanted("all", 2, "b")]).await;
    eventually(PATIENCE, "it is done", async || {
        let health = with.get("/health").await.json();
        (health["jobs"]["all"]["completed"] == 1).then_some(())
    })
    .await;
    assert!(service.received.load(Ordering::Relaxed) > 0);
    with.stop().await;
}
