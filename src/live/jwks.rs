//! Public keys that tokens are verified with: a JWKS document, read again from time to time and when a token names a key
//! that is not known.

use crate::config;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How old the keys may become.
const REFRESH: Duration = Duration::from_secs(300);
/// For an unknown key they are not read more often than this.
const SELDOM: Duration = Duration::from_secs(10);
/// More than any set of keys has, in bytes.
const LARGEST: usize = 1 << 20;

/// The keys, and where they come from.
#[derive(Debug)]
pub struct Jwks {
    from: config::Jwks,
    keys: RwLock<Arc<[Key]>>,
    read: Mutex<Instant>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    public: Public,
}

enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point of P-256.
    Ec(Vec<u8>),
}

impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "Rsa",
            Self::Ec(_) => "Ec",
        })
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// As RFC 7517 has it.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads the keys.
    ///
    /// # Errors
    /// A sentence: why there are none.
    pub async fn read(from: config::Jwks) -> Result<Self, String> {
        let keys = match (keys(&from).await, &from) {
            (Ok(keys), _) => keys,
            (Err(reason), config::Jwks::File(_)) => return Err(reason),
            // Its server may come later: until then no token is valid.
            (Err(reason), config::Jwks::Url(_)) => {
                tracing::warn!("LIVE_JWKS cannot be read yet: {reason}");
                Arc::new([])
            }
        };
        Ok(Self {
            from,
            keys: RwLock::new(keys),
            read: Mutex::new(Instant::now()),
        })
    }

    /// Whether the signature is of one of the keys; of the one with this id, where the token names one.
    pub async fn verify(
        &self,
        algorithm: &str,
        id: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> bool {
        let known = self.keys();
        let is_named =
            |keys: &[Key]| id.is_none_or(|id| keys.iter().any(|key| key.id.as_deref() == Some(id)));
        self.refresh(if is_named(&known) { REFRESH } else { SELDOM })
            .await;
        let keys = self.keys();
        keys.iter().any(|key| {
            let is_it = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            is_it && key.public.verifies(algorithm, signed, signature)
        })
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the keys again where they are older than this. When that fails, those from before stay.
    async fn refresh(&self, age: Duration) {
        // Whoever comes meanwhile need not wait for it, unless the key is new.
        let mut read = match age == SELDOM {
            true => self.read.lock().await,
            false => match self.read.try_lock() {
                Ok(read) => read,
                Err(_) => return,
            },
        };
        if read.elapsed() < age {
            return;
        }
        *read = Instant::now();
        match keys(&self.from).await {
            Ok(keys) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys,
            Err(reason) => tracing::warn!(
                "LIVE_JWKS cannot be read again, so the keys from before stay: {reason}"
            ),
        }
    }
}

impl Public {
    fn verifies(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa { n, e }, "RS256") => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
                .is_ok(),
            (Self::Ec(point), "ES256") => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(signed, signature)
                .is_ok(),
            _ => false,
        }
    }
}

async fn keys(from: &config::Jwks) -> Result<Arc<[Key]>, String> {
    let text = match from {
        config::Jwks::File(path) => tokio::fs::read(path)
            .await
            .map_err(|error| format!("cannot be read: {error}"))?,
        config::Jwks::Url(url) => super::fetch::get(url, LARGEST).await?,
    };
    parse(&text)
}

/// The keys of a document that are of use; others are passed over, as RFC 7517 asks for.
fn parse(text: &[u8]) -> Result<Arc<[Key]>, String> {
    let document: Document =
        serde_json::from_slice(text).map_err(|_| "is no JWKS document ({\"keys\":[…]})")?;
    let written = document
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok());
    let keys: Arc<[Key]> = written.filter_map(key).collect();
    match keys.is_empty() {
        true => Err("has no public key for RS256 or ES256 (P-256)".into()),
        false => Ok(keys),
    }
}

fn key(written: Written) -> Option<Key> {
    if written.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
    let (public, algorithm) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => {
            // Without the zeros that some write before it.
            let trimmed =
                |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            let (n, e) = (number(written.n)?, number(written.e)?);
            (
                Public::Rsa {
                    n: trimmed(n),
                    e: trimmed(e),
                },
                "RS256",
            )
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (number(written.x)?, number(written.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            (
                Public::Ec([&[4], x.as_slice(), y.as_slice()].concat()),
                "ES256",
            )
        }
        _ => return None,
    };
    if written.alg.is_some_and(|other| other != algorithm) {
        return None;
    }
    Some(Key {
        id: written.kid,
        public,
    })
}
