//! What is done about a job: which service is called, or which program is run, and how often that is tried.

pub mod fields;
mod file;
mod read;

pub use file::{of_document, problems, read};
pub use read::LONGEST_BACKOFF;

use super::signature::SigningKey;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The highest priority; 1 is the lowest.
pub const HIGHEST: u8 = 10;

/// How one job is carried out.
#[derive(Debug, Clone)]
pub struct Handler {
    pub job: Arc<str>,
    pub call: Call,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often a failed attempt is made again.
    pub retries: u32,
    /// Before the first of them; it doubles.
    pub backoff: Duration,
    /// How many of its jobs run at a time in one worker; none for as many as there is room for.
    pub concurrency: Option<usize>,
    pub order: Order,
    /// Of jobs that have none of their own.
    pub priority: u8,
}

/// Which jobs wait for one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those of the same key.
    Key,
    None,
}

#[derive(Debug, Clone)]
pub enum Call {
    Http(Box<Service>),
    /// A program and its arguments.
    Exec(Vec<String>),
}

/// A service that is called. Its headers and keys are secrets, and so may be what its URL asks for.
#[derive(Clone)]
pub struct Service {
    pub url: Url,
    pub method: Method,
    pub headers: HeaderMap,
    pub keys: Vec<SigningKey>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.method)
    }
}

/// As it may be shown: without what may be secret.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(service) => service.fmt(f),
            Self::Exec(command) => f.write_str(command.first().map_or("", String::as_str)),
        }
    }
}

/// Handlers by the names of their jobs.
pub type Handlers = BTreeMap<Arc<str>, Arc<Handler>>;
