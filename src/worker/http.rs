//! Calling a service.

use super::address::{self, Refused, Resolver};
use super::connection::Connections;
use super::handler::Service;
use super::job::{Done, Failure, Reason, Record};
use super::signature::sign;
use crate::config::worker::AuthoritiesFile;
use crate::error::{Code, Error};
use crate::sink::parts::hashed;
use crate::tls::{self, Unusable};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Request, Response, StatusCode, redirect};
use std::error::Error as _;
use std::time::Duration;
use tokio_rustls::rustls::RootCertStore;

/// How much of an answer's body is read, in bytes: for the log, and so that the connection can be used again.
const MOST_OF_A_BODY: usize = 16 * 1024;
/// How long reading it may take. What the answer is, its status has said.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// How much of it is logged.
const LOGGED: usize = 256;
/// How much of it is told with the status of the job.
const KEPT: usize = 1024;

/// Makes the calls of a worker, over connections that are kept.
#[derive(Debug, Clone)]
pub struct Caller {
    connections: Connections,
    allows_private: bool,
}

impl Caller {
    /// # Errors
    /// [`Code::Config`] where a file of authorities has none, [`Code::Internal`] where TLS cannot be had.
    pub fn new(allows_private: bool, authorities: Option<&AuthoritiesFile>) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(Code::Internal, format!("no HTTP client: {error}"))
        };
        let mut roots = tls::authorities();
        if let Some(file) = authorities {
            trust(&mut roots, file)?;
        }
        let tls = tls::client(roots).map_err(|error| failed(&error))?;
        let client = || {
            Client::builder()
                .use_preconfigured_tls(tls.clone())
                .redirect(redirect::Policy::none())
                // A proxy would look names up by itself, and so reach what is refused here.
                .no_proxy()
                .dns_resolver(std::sync::Arc::new(Resolver { allows_private }))
        };
        let connections = Connections::new(client).map_err(|error| failed(&error))?;
        Ok(Self {
            connections,
            allows_private,
        })
    }

    /// Hands a record to a service; what it answers.
    ///
    /// # Errors
    /// Why the job is not done.
    pub async fn call(
        &self,
        service: &Service,
        record: &Record,
        attempt: u32,
        timeout: Duration,
    ) -> Result<Done, Failure> {
        if !self.allows_private && address::literal(&service.url).is_some_and(address::is_private) {
            return Err(Failure::new(Reason::AddressRefused, address::REFUSED));
        }
        let body = record.value.clone().unwrap_or_default();
        let mut request = Request::new(service.method.clone(), service.url.clone());
        *request.headers_mut() = of_request(service, record, attempt, &body);
        *request.body_mut() = Some(body.into());
        // Of the answer's head; its body has a time of its own.
        let response = match tokio::time::timeout(timeout, self.connections.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(told(&error)),
            Err(_) => {
                let detail = format!("the service did not answer within {timeout:?}");
                return Err(Failure::new(Reason::Timeout, detail));
            }
        };
        answered(response).await
    }
}

/// Takes the authorities of a file for such, too.
fn trust(roots: &mut RootCertStore, file: &AuthoritiesFile) -> Result<(), Error> {
    let wrong = |why: String| {
        let path = file.path.display();
        let detail = format!(
            "WORKER_TLS_CA_FILE={path}: {why}; give a PEM file with certificates of authorities"
        );
        Error::new(Code::Config, detail)
    };
    tls::trust(roots, &file.pem).map_err(|why| {
        wrong(match why {
            Unusable::Text(error) => format!("is not PEM: {error}"),
            Unusable::Certificate(error) => {
                format!("one of its certificates is of no use: {error}")
            }
            Unusable::Empty => "has no certificate".to_owned(),
        })
    })
}

/// The headers of a request: its own, those that a user gave, and the record's.
fn of_request(service: &Service, record: &Record, attempt: u32, body: &[u8]) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in record.own_headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            all.insert(name, value);
        }
    }
    all.insert("tw-attempt", attempt.into());
    if !body.is_empty() {
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    all.extend(service.headers.clone());
    let id = message_id(&record.id());
    let seconds = jiff::Timestamp::now().as_second();
    if !service.keys.is_empty() {
        let signature = sign(&service.keys, &id, seconds, body);
        if let Ok(signature) = HeaderValue::from_str(&signature) {
            all.insert("webhook-signature", signature);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        all.insert("webhook-id", id);
    }
    all.insert("webhook-timestamp", seconds.into());
    all
}

const AGENT: &str = concat!("tailwater/", env!("CARGO_PKG_VERSION"));

/// The id as it can be a header; what cannot is there as its hash.
fn message_id(id: &str) -> String {
    match id.bytes().all(|byte| byte.is_ascii_graphic()) && id.len() <= 4096 {
        true => id.to_owned(),
        false => hashed(id.as_bytes()),
    }
}

async fn answered(mut response: Response) -> Result<Done, Failure> {
    let status = response.status();
    let rest = retry_after(response.headers());
    let body = tokio::time::timeout(BODY_PATIENCE, read(&mut response)).await;
    let body = body.unwrap_or_default();
    if tracing::enabled!(tracing::Level::DEBUG) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(LOGGED)]);
        tracing::debug!(status = status.as_u16(), body = %shown.escape_debug(), "a service has answered");
    }
    if status.is_success() {
        let kept = String::from_utf8_lossy(&body[..body.len().min(KEPT)]);
        return Ok(Done {
            status: status.as_u16().into(),
            body: (!kept.is_empty()).then(|| kept.into_owned()),
        });
    }
    let (reason, detail) = match status {
        StatusCode::GONE => (
            Reason::HandlerOff,
            "the service answered 410 Gone, which switches its handler off".to_owned(),
        ),
        _ if status.is_redirection() => (
            Reason::Status,
            format!(
                "the service answered {status}; redirects are not followed: give the url that they lead to"
            ),
        ),
        _ => (Reason::Status, format!("the service answered {status}")),
    };
    let is_busy = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    Err(Failure {
        reason,
        detail,
        status: Some(status.as_u16().into()),
        rest: rest.filter(|_| is_busy),
    })
}

/// As much of the body as is of use.
async fn read(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    // Whatever the body lacks, and whatever it has too much.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_OF_A_BODY {
            break;
        }
    }
    body
}

/// The header retry-after: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too large for a number is bounded as any other is.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let wait = date.timestamp().duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// An error of the client in words. Its own hold the URL, which may hold secrets.
fn told(error: &reqwest::Error) -> Failure {
    let mut source = error.source();
    let mut last = None;
    while let Some(cause) = source {
        if cause.is::<Refused>() {
            return Failure::new(Reason::AddressRefused, address::REFUSED);
        }
        last = Some(cause);
        source = cause.source();
    }
    let what = match error.is_connect() {
        true => "cannot be reached",
        false => "gave no answer",
    };
    let cause = last.map_or_else(String::new, |cause| format!(": {cause}"));
    Failure::new(Reason::Unreachable, format!("the service {what}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_ask_for_any_time_and_what_is_none_is_not_there() {
        let of = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(of(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(of("0"), Some(Duration::ZERO));
        for large in [
            "18446744073709551615",
            "18446744073709551616",
            &"9".repeat(99),
        ] {
            assert_eq!(of(large), Some(Duration::from_secs(u64::MAX)), "{large}");
        }
        assert_eq!(of("Fri, 01 Jan 1999 00:00:00 GMT"), Some(Duration::ZERO));
        let late = of("Thu, 31 Dec 9998 23:59:59 GMT").unwrap();
        assert!(late > Duration::from_secs(1 << 32), "{late:?}");
        for none in ["", "-1", "+1", "1.5", "soon"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
