//! Services with certificates that nobody vouches for.

use super::{dead_letters, wanted, with_topic, worker, write};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

#[tokio::test]
async fn a_service_with_a_certificate_of_its_own_making_is_sent_nothing() {
    let certificate = CertificateDer::from(include_bytes!("self-signed.der").to_vec());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("self-signed.key.der").to_vec());
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
                let mut some = [0; 64];
                let count = stream.read(&mut some).await.unwrap_or_default();
                bytes.fetch_add(count, Ordering::Relaxed);
            }
        }
    });
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let handlers = json!({
        "all": {"url": format!("https://localhost:{port}/"), "retries": 1, "backoff": "20ms"},
    });
    write(kafka, &topic, &[wanted("all", 1, "a")]).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 1).await;
    let letter = &letters[0];
    assert_eq!(letter.header("tw-dlq-reason"), "unreachable");
    let detail = letter.header("tw-dlq-detail");
    assert!(detail.contains("certificate"), "{detail}");
    assert!(connected.load(Ordering::Relaxed) >= 2);
    assert_eq!(received.load(Ordering::Relaxed), 0, "nothing was sent");
    worker.stop().await;
    task.abort();
}
