//! Tokens: JWTs signed with HS256, RS256 or ES256. The key decides the algorithm, and never the token.

use super::access::Refusal;
use super::grant::{Grant, seconds};
use super::jwks::Jwks;
use crate::config::{JsonMode, Tokens};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value};

/// What clocks may differ by, in seconds.
const LEEWAY: i64 = 30;
/// More than any token has, in bytes.
const LONGEST: usize = 16 * 1024;

/// Verifies tokens, and says what they allow.
#[derive(Debug)]
pub struct Verifier {
    secrets: Vec<hmac::Key>,
    jwks: Option<Jwks>,
    issuer: Option<String>,
    audience: Option<String>,
    filter: Option<Value>,
    mode: JsonMode,
}

impl Verifier {
    pub fn new(tokens: &Tokens, jwks: Option<Jwks>, mode: JsonMode) -> Self {
        let key = |secret: &crate::config::Secret| {
            hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())
        };
        Self {
            secrets: tokens.secrets.iter().map(key).collect(),
            jwks,
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            filter: tokens.filter.clone(),
            mode,
        }
    }

    /// What a token allows.
    ///
    /// # Errors
    /// 401 for none that is valid, 403 for one that allows nothing.
    pub async fn grant(&self, token: Option<&str>) -> Result<Grant, Refusal> {
        let Some(token) = token else {
            return Err(unauthorized(
                "a token is required: send Authorization: Bearer <token>, or the parameter access_token",
            ));
        };
        let now = jiff::Timestamp::now().as_second();
        let claims = self.claims(token, now).await.map_err(unauthorized)?;
        let grant = Grant::of_claims(&claims, self.filter.as_ref(), self.mode);
        grant.map_err(|sentence| Refusal::new(StatusCode::FORBIDDEN, sentence))
    }

    /// The claims of a token that is valid.
    async fn claims(&self, token: &str, now: i64) -> Result<Map<String, Value>, &'static str> {
        const SHAPE: &str = "the token is no signed JWT";
        if token.len() > LONGEST {
            return Err(SHAPE);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(SHAPE)?;
        let (head, body) = signed.split_once('.').ok_or(SHAPE)?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SHAPE);
        let object = |text: &str| {
            serde_json::from_slice::<Map<String, Value>>(&decoded(text)?).map_err(|_| SHAPE)
        };
        let head = object(head)?;
        let signature = decoded(signature)?;
        // An extension that must be understood is not.
        if head.contains_key("crit") {
            return Err("the token has an extension (crit) that is not known here");
        }
        let is_valid = match head.get("alg").and_then(Value::as_str) {
            Some("HS256") => {
                let verified =
                    |key: &hmac::Key| hmac::verify(key, signed.as_bytes(), &signature).is_ok();
                self.secrets.iter().any(verified)
            }
            Some(algorithm @ ("RS256" | "ES256")) => match &self.jwks {
                Some(jwks) => {
                    let id = head.get("kid").and_then(Value::as_str);
                    jwks.verify(algorithm, id, signed.as_bytes(), &signature)
                        .await
                }
                None => false,
            },
            _ => return Err("the token is not signed with HS256, RS256 or ES256"),
        };
        if !is_valid {
            return Err("the token's signature is not valid, or its key is not known here");
        }
        let claims = object(body)?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn check(&self, claims: &Map<String, Value>, now: i64) -> Result<(), &'static str> {
        match claims.get("exp").and_then(seconds) {
            Some(at) if now >= at.saturating_add(LEEWAY) => return Err("the token has expired"),
            Some(_) => {}
            None => return Err("the token has no time at which it expires (exp)"),
        }
        match claims.get("nbf").map(seconds) {
            Some(Some(at)) if now < at.saturating_sub(LEEWAY) => {
                return Err("the token is not valid yet (nbf)");
            }
            Some(None) => return Err("the token's claim nbf is no time"),
            _ => {}
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && issuer != self.issuer.as_deref() {
            return Err("the token is of another issuer than LIVE_JWT_ISSUER");
        }
        match (&self.audience, claims.get("aud")) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                Err("the token is for an audience (aud), and LIVE_JWT_AUDIENCE is not set")
            }
            (Some(own), Some(Value::String(audience))) if own == audience => Ok(()),
            (Some(own), Some(Value::Array(list)))
                if list.iter().any(|each| each.as_str() == Some(own)) =>
            {
                Ok(())
            }
            (Some(_), _) => Err("the token is for another audience than LIVE_JWT_AUDIENCE"),
        }
    }
}

fn unauthorized(sentence: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, sentence)
}

#[cfg(test)]
mod tests;
