//! Tokens of RS256 and ES256, and the documents that hold their keys.

use super::{Client, alone, refused};
use crate::support::{self, PATIENCE, eventually, rsa_key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A private key with its name.
struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    fn rsa(id: &'static str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(&rsa_key()).unwrap();
        let pair = Pair::Rsa(pair);
        Self { id, pair }
    }

    fn ec(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap();
        let pair = Pair::Ec(pair);
        Self { id, pair }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    /// As RFC 7517 has it.
    fn public(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } =
                    RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "use": "sig", "kid": self.id, "n": encoded(n), "e": encoded(e)})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256", "x": encoded(x), "y": encoded(y)})
            }
        }
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(pair) => pair
                .sign(&random, text.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
        }
    }

    /// `Authorization` with a token that names this key, this algorithm and these databases.
    fn bearer_as(&self, id: &str, algorithm: &str) -> String {
        let head = json!({"alg": algorithm, "kid": id});
        let exp = jiff::Timestamp::now().as_second() + 300;
        let claims = json!({"databases": ["*"], "exp": exp});
        let text = format!(
            "{}.{}",
            encoded(head.to_string()),
            encoded(claims.to_string())
        );
        let signature = encoded(self.sign(&text));
        format!("authorization: Bearer {text}.{signature}\r\n")
    }

    fn bearer(&self) -> String {
        self.bearer_as(self.id, self.algorithm())
    }
}

fn document(keys: &[&Key]) -> Value {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    json!({ "keys": keys })
}

#[tokio::test]
async fn tokens_of_rs256_and_es256_are_verified_with_the_keys_of_a_file() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (rsa, ec) = (Key::rsa("r"), Key::ec("e"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let text = document(&[&rsa, &ec]).to_string();
    std::fs::write(&path, &text).unwrap();
    let mut live = alone(&db, kafka).env("LIVE_JWKS", path.display()).spawn();
    let addr = live.live_addr().await;
    for key in [&rsa, &ec] {
        Client::open(addr, "", &key.bearer()).await;
    }
    let (other_rsa, other_ec) = (Key::rsa("r"), Key::ec("e"));
    let changed = |bearer: String| {
        let parts: Vec<_> = bearer.split('.').collect();
        let claims = json!({"databases": ["*"], "admin": true, "exp": 9_999_999_999_i64});
        format!("{}.{}.{}", parts[0], encoded(claims.to_string()), parts[2])
    };
    // Signed with what everybody knows, as if it were a secret.
    let n = rsa.public()["n"].as_str().unwrap().to_owned();
    let symmetric = [n, text].map(|secret| {
        let claims = json!({"databases": ["*"], "exp": 9_999_999_999_i64});
        format!(
            "authorization: Bearer {}\r\n",
            super::signed(&secret, &claims)
        )
    });
    let mut forged = vec![
        other_rsa.bearer(),
        other_ec.bearer(),
        changed(rsa.bearer()),
        changed(ec.bearer()),
        rsa.bearer_as("e", "RS256"),
        ec.bearer_as("r", "ES256"),
        rsa.bearer_as("r", "ES256"),
        ec.bearer_as("e", "RS256"),
        rsa.bearer_as("r", "none"),
        rsa.bearer_as("r", "RS384"),
        rsa.bearer_as("unknown", "RS256"),
    ];
    forged.extend(symmetric);
    for (n, bearer) in forged.iter().enumerate() {
        let (status, sentence) = refused(addr, "", bearer).await;
        assert_eq!(status, 401, "{n}: {sentence}");
    }
    live.stop().await;
}

/// A server of one document.
struct Keys {
    addr: SocketAddr,
    document: Arc<Mutex<Value>>,
    /// How often it was asked.
    asked: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Keys {
    async fn serve(first: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (document, asked) = (Arc::new(Mutex::new(first)), Arc::new(Mutex::new(0)));
        let (served, counted) = (Arc::clone(&document), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"GET /keys HTTP/1.1\r\n"));
                *counted.lock().unwrap() += 1;
                let body = served.lock().unwrap().to_string();
                let len = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self {
            addr,
            document,
            asked,
            task,
        }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[tokio::test]
async fn keys_of_a_url_are_read_again_when_a_token_names_a_new_one() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (old, new) = (Key::ec("old"), Key::rsa("new"));
    let keys = Keys::serve(document(&[&old])).await;
    let url = format!("http://{}/keys", keys.addr);
    let mut live = alone(&db, kafka).env("LIVE_JWKS", url).spawn();
    let addr = live.live_addr().await;
    Client::open(addr, "", &old.bearer()).await;
    assert_eq!(keys.asked(), 1);
    *keys.document.lock().unwrap() = document(&[&new]);
    // Who makes names of keys up does not have them read each time; so a new one takes some seconds.
    let bearer = new.bearer();
    eventually(PATIENCE, "the new key is known", async || {
        let is_known = super::status(addr, "", &bearer).await == 200;
        is_known.then_some(())
    })
    .await;
    assert_eq!(keys.asked(), 2);
    assert_eq!(refused(addr, "", &old.bearer()).await.0, 401);
    // Without their server, the keys from before stay.
    keys.task.abort();
    Client::open(addr, "", &new.bearer()).await;
    assert_eq!(refused(addr, "", &Key::ec("new").bearer()).await.0, 401);
    live.stop().await;
}
