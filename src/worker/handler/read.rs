//! One handler, field by field, with everything that is wrong at once.

use super::{Call, HIGHEST, Order, Service};
use crate::worker::address;
use crate::worker::signature::SigningKey;
use bson::{Bson, Document};
use jiff::SignedDuration;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::time::Duration;

pub(super) struct Reading<'a> {
    document: &'a Document,
    allows_private: Option<bool>,
    /// Fields with what is wrong with them; without a name it is the handler as a whole.
    pub(super) problems: Vec<(String, String)>,
}

const LONGEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The longest wait before another attempt.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// Headers that the request has by itself.
const OWN: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

impl<'a> Reading<'a> {
    pub(super) fn new(document: &'a Document, allows_private: Option<bool>) -> Self {
        Self {
            document,
            allows_private,
            problems: Vec::new(),
        }
    }

    pub(super) fn wrong(&mut self, field: &str, sentence: impl Into<String>) {
        self.problems.push((field.to_owned(), sentence.into()));
    }

    /// A field that is null is one that is not there.
    fn value(&self, field: &str) -> Option<&'a Bson> {
        let value = self.document.get(field);
        value.filter(|value| !matches!(value, Bson::Null))
    }

    /// None where it is wrong.
    pub(super) fn call(&mut self) -> Option<Call> {
        match (self.value("url"), self.value("exec")) {
            (Some(url), None) => self
                .service(url)
                .map(|service| Call::Http(Box::new(service))),
            (None, Some(exec)) => {
                for of_url in ["method", "headers", "secret"] {
                    if self.value(of_url).is_some() {
                        self.wrong(of_url, "is about a url, and this handler has exec");
                    }
                }
                self.exec(exec).map(Call::Exec)
            }
            (None, None) => {
                self.wrong("", "has neither url nor exec; give one of them");
                None
            }
            (Some(_), Some(_)) => {
                self.wrong("", "has both url and exec; give one of them");
                None
            }
        }
    }

    fn exec(&mut self, exec: &Bson) -> Option<Vec<String>> {
        let Bson::Array(list) = exec else {
            self.wrong("exec", "is no list; give a program and its arguments");
            return None;
        };
        let words = list.iter().map(|word| match word {
            Bson::String(word) if !word.contains('\0') => Some(word.clone()),
            _ => None,
        });
        let Some(words) = words.collect::<Option<Vec<_>>>() else {
            self.wrong("exec", "holds something that is no text; put it in quotes");
            return None;
        };
        if words.first().is_none_or(String::is_empty) {
            self.wrong("exec", "names no program");
        }
        Some(words)
    }

    fn service(&mut self, url: &Bson) -> Option<Service> {
        let url = self.url(url);
        let (method, headers, keys) = (self.method(), self.headers(), self.keys());
        Some(Service {
            url: url?,
            method,
            headers,
            keys,
        })
    }

    fn url(&mut self, url: &Bson) -> Option<Url> {
        let url = match url {
            Bson::String(text) => Url::parse(text).ok(),
            _ => None,
        };
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            self.wrong(
                "url",
                "is no URL with http or https; give one such as https://example.com/hooks",
            );
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.wrong(
                "url",
                "holds a user or a password, which would be shown; give them in headers.authorization",
            );
        }
        if self.allows_private == Some(false)
            && address::literal(&url).is_some_and(address::is_private)
        {
            self.wrong("url", address::REFUSED);
        }
        Some(url)
    }

    fn method(&mut self) -> Method {
        let known = [Method::POST, Method::PUT, Method::PATCH];
        match self.value("method") {
            None => Method::POST,
            Some(Bson::String(text)) if known.iter().any(|known| known.as_str() == text) => known
                .into_iter()
                .find(|known| known.as_str() == text)
                .unwrap_or(Method::POST),
            Some(_) => {
                self.wrong("method", "is none of POST, PUT, PATCH");
                Method::POST
            }
        }
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let document = match self.value("headers") {
            None => return headers,
            Some(Bson::Document(document)) => document,
            Some(_) => {
                self.wrong("headers", "is no object of names and values");
                return headers;
            }
        };
        for (name, value) in document {
            let Ok(named) = HeaderName::from_bytes(name.as_bytes()) else {
                self.wrong("headers", "holds a name that is none of a header");
                continue;
            };
            if OWN.contains(&named.as_str()) {
                let sentence = format!("{named} is set by the request itself; leave it out");
                self.wrong("headers", sentence);
                continue;
            }
            let value = match value {
                Bson::String(text) => HeaderValue::from_str(text).ok(),
                _ => None,
            };
            match value {
                Some(mut value) => {
                    value.set_sensitive(true);
                    headers.insert(named, value);
                }
                None => {
                    let sentence = format!("{named} has no text that fits into a header");
                    self.wrong("headers", sentence);
                }
            }
        }
        headers
    }

    fn keys(&mut self) -> Vec<SigningKey> {
        let texts = match self.value("secret") {
            None => return Vec::new(),
            Some(Bson::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if texts.len() > 2 {
            self.wrong(
                "secret",
                "has more than two; give the new one and the one before",
            );
        }
        let mut keys = Vec::new();
        for text in texts {
            let key = match text {
                Bson::String(text) => SigningKey::read(text),
                _ => Err("is no text"),
            };
            match key {
                Ok(key) => keys.push(key),
                Err(problem) => self.wrong(
                    "secret",
                    format!(
                        "{problem}; give whsec_ and 24 to 64 bytes in base64, such as \
                         `echo whsec_$(openssl rand -base64 32)` prints"
                    ),
                ),
            }
        }
        keys
    }

    pub(super) fn timeout(&mut self) -> Duration {
        self.duration("timeout", Duration::from_secs(10), LONGEST_TIMEOUT, "15m")
    }

    pub(super) fn backoff(&mut self) -> Duration {
        self.duration("backoff", Duration::from_secs(1), LONGEST_BACKOFF, "5m")
    }

    fn duration(
        &mut self,
        field: &str,
        default: Duration,
        most: Duration,
        shown: &str,
    ) -> Duration {
        let Some(value) = self.value(field) else {
            return default;
        };
        let read = match value {
            Bson::String(text) => text.parse::<SignedDuration>().ok(),
            _ => None,
        };
        let read = read.and_then(|read| Duration::try_from(read).ok());
        match read {
            Some(read) if read >= Duration::from_millis(1) && read <= most => read,
            _ => {
                let sentence = format!("is no time from 1ms to {shown}; give one such as 10s");
                self.wrong(field, sentence);
                default
            }
        }
    }

    pub(super) fn retries(&mut self) -> u32 {
        self.number("retries", 0, 100).unwrap_or(3)
    }

    pub(super) fn concurrency(&mut self) -> Option<usize> {
        let most = self.number("concurrency", 1, 10_000)?;
        usize::try_from(most).ok()
    }

    pub(super) fn priority(&mut self) -> u8 {
        let given = self.number("priority", 1, u32::from(HIGHEST));
        given
            .and_then(|given| u8::try_from(given).ok())
            .unwrap_or(HIGHEST)
    }

    fn number(&mut self, field: &str, least: u32, most: u32) -> Option<u32> {
        let given = match self.value(field)? {
            Bson::Int32(number) => i64::from(*number),
            Bson::Int64(number) => *number,
            _ => -1,
        };
        match u32::try_from(given) {
            Ok(given) if (least..=most).contains(&given) => Some(given),
            _ => {
                self.wrong(field, format!("is no whole number from {least} to {most}"));
                None
            }
        }
    }

    pub(super) fn order(&mut self) -> Order {
        match self.value("order") {
            None => Order::Key,
            Some(Bson::String(text)) if text == "key" => Order::Key,
            Some(Bson::String(text)) if text == "none" => Order::None,
            Some(_) => {
                self.wrong("order", "is neither key nor none");
                Order::Key
            }
        }
    }
}
