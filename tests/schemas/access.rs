//! A registry that asks who one is, over TLS. The real one here asks nobody: a gate in front of it does.

use super::{on, topic};
use crate::support::{self, eventually};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::doc;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tailwater::error::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/authority.pem");

/// Ends TLS, and lets through whoever has the right header, as long as it is open.
struct Gate {
    port: u16,
    is_open: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    async fn start(registry: SocketAddr, authorization: String) -> Self {
        let certificate = CertificateDer::from(include_bytes!("../workers/signed.der").to_vec());
        let key = include_bytes!("../workers/signed.key.der").to_vec();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_open);
        let task = tokio::spawn(async move {
            let wanted = format!("\r\nauthorization: {authorization}\r\n").to_lowercase();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut head = vec![0; 1 << 16];
                let count = stream.read(&mut head).await.unwrap_or_default();
                head.truncate(count);
                let text = String::from_utf8_lossy(&head).to_lowercase();
                if !text.contains(&wanted) || !asked.load(Ordering::Relaxed) {
                    let no = r#"{"error_code":401,"message":"who is that?"}"#;
                    let answer = format!(
                        "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{no}",
                        no.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    continue;
                }
                // One request for each connection, so that each is looked at.
                let head = String::from_utf8(head).unwrap();
                let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let mut behind = TcpStream::connect(registry).await.unwrap();
                behind.write_all(head.as_bytes()).await.unwrap();
                tokio::spawn(async move {
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        Self {
            port,
            is_open,
            task,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/apis/ccompat/v7", self.port)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const WORD: &str = "QXZJ-secret:word";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_or_a_token_is_let_in_over_tls_and_neither_is_ever_shown() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("ada:{WORD}")));
    let ways = [
        (
            basic,
            vec![
                ("SCHEMA_REGISTRY_USERNAME", "ada"),
                ("SCHEMA_REGISTRY_PASSWORD", WORD),
            ],
        ),
        (
            format!("Bearer {WORD}"),
            vec![("SCHEMA_REGISTRY_TOKEN", WORD)],
        ),
    ];
    let mut shown = String::new();
    for (id, (authorization, variables)) in (1..).zip(ways) {
        let gate = Gate::start(registry.addr(), authorization).await;
        let mut setup = on(&db, kafka, registry)
            .env("STREAM_ID", format!("{}-{id}", db.name()))
            .env("SCHEMA_REGISTRY_URL", gate.url())
            .env("SCHEMA_REGISTRY_CA_LOCATION", AUTHORITY)
            .env("LOG_LEVEL", "trace");
        // Who is not let in is told so, with the exit code.
        let exit = setup.clone().run().await;
        assert_eq!(exit.code, Some(i32::from(Code::SinkRefused.exit_code())));
        assert!(
            exit.output
                .contains("answers 401 Unauthorized: who is that?"),
            "{}",
            exit.output
        );
        for (name, value) in variables {
            setup = setup.env(name, value);
        }
        let mut tailwater = setup.start().await;
        let collection = format!("users{id}");
        let (users, topic) = (db.documents(&collection), topic(&db, &collection));
        users.insert_one(doc! {"_id": id}).await.unwrap();
        kafka.wait_for_records(&[&topic], 1).await;
        // Shut out later on, it waits by that name, and goes on when it is let in again.
        gate.is_open.store(false, Ordering::Relaxed);
        let new = format!("field{id}");
        users
            .insert_one(doc! {"_id": id * 100, new: 1})
            .await
            .unwrap();
        let line = tailwater.wait_for_log("a schema is needed, waiting").await;
        assert!(line.contains("401"), "{line}");
        gate.is_open.store(true, Ordering::Relaxed);
        eventually(support::PATIENCE, "it goes on", async || {
            let records = kafka.records(&[&topic]).await;
            let mut all = records.iter();
            all.any(|record| record.key["_id"] == id * 100)
                .then_some(())
        })
        .await;
        shown += &tailwater.get("/health/detailed").await.body;
        shown += &tailwater.stop().await.output;
        shown += &setup.args(&["config"]).run().await.output;
    }
    assert!(!shown.contains("QXZJ"), "a secret is shown");
    assert!(!shown.contains(&STANDARD.encode(format!("ada:{WORD}"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let gate = Gate::start(registry.addr(), "Bearer x".into()).await;
    let exit = on(&db, kafka, registry)
        .env("SCHEMA_REGISTRY_URL", gate.url())
        .env("SCHEMA_REGISTRY_TOKEN", "x")
        .args(&["check"])
        .run()
        .await;
    assert_ne!(exit.code, Some(0));
    assert!(exit.output.contains("certificate"), "{}", exit.output);
}
