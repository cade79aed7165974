//! The page: what a person sees of this process in a browser.
//!
//! It is served from the binary, needs nothing from elsewhere, and does nothing but calls that `docs/api.md` describes. Its
//! content-security policy lets it load and ask this server only, so that what a document or an error holds can never run.

mod runbook;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

/// What the page may load and ask. Without `unsafe-inline`: all scripts and styles are files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($name:literal: $kind:ident),* $(,)?) => {
        const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("assets/", $name)),
        }),*];
    };
}

assets! {
    "call.js": SCRIPT,
    "charts.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "history.js": SCRIPT,
    "index.html": HTML,
    "instances.js": SCRIPT,
    "jobs.js": SCRIPT,
    "letters.js": SCRIPT,
    "listener.js": SCRIPT,
    "listeners.js": SCRIPT,
    "main.js": SCRIPT,
    "overview.js": SCRIPT,
    "schedules.js": SCRIPT,
    "snapshot.js": SCRIPT,
    "stream.js": SCRIPT,
    "style.css": STYLE,
    "tail.js": SCRIPT,
    "troubles.js": SCRIPT,
    "uplot.css": STYLE,
    "uplot.js": SCRIPT,
    "yaml.js": SCRIPT,
}

/// Changes with the files, so that a browser never mixes those of two versions.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.text);
    }
    let mut tag = String::from("\"");
    for byte in &hash.finalize()[..12] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
});

/// The page's routes: `/`, its files, and the runbook that it shows.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(file))
        .route("/page/runbook/{section}", get(section))
}

async fn index(headers: HeaderMap) -> Response {
    file(Path("index.html".to_owned()), headers).await
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == TAG.as_bytes()) {
        return guarded(StatusCode::NOT_MODIFIED.into_response());
    }
    guarded(([(header::CONTENT_TYPE, asset.kind)], asset.text).into_response())
}

async fn section(Path(section): Path<String>) -> Response {
    match runbook::section(&section) {
        Some(text) => guarded(([(header::CONTENT_TYPE, TEXT)], text).into_response()),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&TAG) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser has to load, in bytes.
    const LARGEST: usize = 200_000;

    #[test]
    fn the_page_is_small_and_complete() {
        let all: usize = ASSETS.iter().map(|asset| asset.text.len()).sum();
        assert!(all < LARGEST, "{all} bytes");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/assets");
        let mut there: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".LICENSE"))
            .collect();
        there.sort();
        let served: Vec<_> = ASSETS.iter().map(|asset| asset.name).collect();
        assert_eq!(there, served);
    }

    /// The policy forbids it, so that it would not work.
    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for asset in ASSETS.iter().filter(|asset| asset.name != "uplot.js") {
            for wrong in [
                "style=\"",
                " onclick=",
                "innerHTML",
                "eval(",
                "http://",
                "https://",
            ] {
                assert!(!asset.text.contains(wrong), "{}: {wrong}", asset.name);
            }
        }
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            for (at, _) in asset.text.match_indices("from './") {
                let name = asset.text[at + 8..].split('\'').next().unwrap();
                assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
            }
        }
    }
}
