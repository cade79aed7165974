use super::*;
use crate::config::{self, Secret};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_000_000;

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(head: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encoded(head), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn hs256(secret: &str, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    signed(&json!({"alg": "HS256"}), claims, |text| {
        hmac::sign(&key, text).as_ref().to_vec()
    })
}

fn verifier(change: impl FnOnce(&mut Tokens)) -> Verifier {
    let mut tokens = Tokens {
        secrets: vec![Secret::new(SECRET)],
        ..Tokens::default()
    };
    change(&mut tokens);
    Verifier::new(&tokens, None, JsonMode::Simple)
}

async fn is_valid(verifier: &Verifier, token: &str) -> bool {
    verifier.claims(token, NOW).await.is_ok()
}

#[tokio::test]
async fn a_token_is_valid_by_its_secret_alone_and_a_second_one_may_stand_beside_it() {
    let claims = json!({"exp": NOW + 60});
    let one = verifier(|_| {});
    assert!(is_valid(&one, &hs256(SECRET, &claims)).await);
    let other = "another secret of thirty-two bytes";
    assert!(!is_valid(&one, &hs256(other, &claims)).await);
    let both = verifier(|tokens| tokens.secrets.push(Secret::new(other)));
    assert!(
        is_valid(&both, &hs256(other, &claims)).await
            && is_valid(&both, &hs256(SECRET, &claims)).await
    );
}

#[tokio::test]
async fn what_is_forged_is_refused() {
    let verifier = verifier(|_| {});
    let token = hs256(SECRET, &json!({"exp": NOW + 60, "sub": "u1"}));
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other = encoded(&json!({"exp": NOW + 60, "sub": "u2"}));
    assert!(!is_valid(&verifier, &format!("{head}.{other}.{signature}")).await);
    let none = encoded(&json!({"alg": "none"}));
    assert!(!is_valid(&verifier, &format!("{none}.{other}.")).await);
    for wrong in [
        "",
        ".",
        "..",
        "a.b.c",
        &token[1..],
        &token[..token.len() - 2],
    ] {
        assert!(!is_valid(&verifier, wrong).await, "{wrong}");
    }
    let crit = json!({"alg": "HS256", "crit": ["b64"]});
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let crit = signed(&crit, &json!({"exp": NOW + 60}), |text| {
        hmac::sign(&key, text).as_ref().to_vec()
    });
    assert!(!is_valid(&verifier, &crit).await);
}

#[tokio::test]
async fn times_issuer_and_audience_are_checked() {
    let strict = verifier(|tokens| {
        tokens.issuer = Some("us".into());
        tokens.audience = Some("live".into());
    });
    let right = json!({"exp": NOW + 60, "nbf": NOW - 1, "iss": "us", "aud": ["x", "live"]});
    assert!(is_valid(&strict, &hs256(SECRET, &right)).await);
    for (name, value) in [
        ("exp", json!(NOW - 31)),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("nbf", json!(NOW + 31)),
        ("nbf", json!("soon")),
        ("iss", json!("them")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", Value::Null),
    ] {
        let mut claims = right.clone();
        claims[name] = value.clone();
        assert!(
            !is_valid(&strict, &hs256(SECRET, &claims)).await,
            "{name} {value}"
        );
    }
    // For an audience that nobody here is.
    assert!(!is_valid(&verifier(|_| {}), &hs256(SECRET, &right)).await);
}

fn jwk(id: &str, pair: &EcdsaKeyPair) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "kid": id, "x": part(&point[..32]), "y": part(&point[32..])})
}

fn es256(id: Option<&str>, pair: &EcdsaKeyPair) -> String {
    let mut head = json!({"alg": "ES256"});
    if let Some(id) = id {
        head["kid"] = id.into();
    }
    let random = SystemRandom::new();
    signed(&head, &json!({"exp": NOW + 60}), |text| {
        pair.sign(&random, text).unwrap().as_ref().to_vec()
    })
}

fn pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

async fn with_keys(keys: &Value) -> (tempfile::NamedTempFile, Verifier) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys.to_string()).unwrap();
    let jwks = Jwks::read(config::Jwks::File(file.path().to_owned()))
        .await
        .unwrap();
    (
        file,
        Verifier::new(&Tokens::default(), Some(jwks), JsonMode::Simple),
    )
}

#[tokio::test]
async fn es256_is_verified_by_the_key_that_the_token_names() {
    let (one, two, stranger) = (pair(), pair(), pair());
    let (_file, verifier) = with_keys(
        &json!({"keys": [jwk("one", &one), jwk("two", &two), {"kty": "oct", "k": "AA"}]}),
    )
    .await;
    assert!(is_valid(&verifier, &es256(Some("one"), &one)).await);
    assert!(is_valid(&verifier, &es256(Some("two"), &two)).await);
    assert!(is_valid(&verifier, &es256(None, &two)).await);
    assert!(!is_valid(&verifier, &es256(Some("one"), &two)).await);
    assert!(!is_valid(&verifier, &es256(Some("one"), &stranger)).await);
    // A public key is no secret for HS256.
    let point = one.public_key().as_ref();
    let key = hmac::Key::new(hmac::HMAC_SHA256, point);
    let confused = signed(
        &json!({"alg": "HS256", "kid": "one"}),
        &json!({"exp": NOW + 60}),
        |text| hmac::sign(&key, text).as_ref().to_vec(),
    );
    assert!(!is_valid(&verifier, &confused).await);
}
