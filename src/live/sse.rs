//! Server-sent events: `GET /live`.

use super::Server;
use super::access::{Access, Admitted, Refusal};
use super::ending::Ending;
use super::feed::{Event, Feed, Told};
use super::group::write_event;
use super::gzip;
use super::listen::Peer;
use super::position::Position;
use super::selection::{Asked, Refused, Selection};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How often something is sent at least, so that whatever lies between keeps the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The parameters that are known.
const PARAMETERS: &str =
    "database, collection, operation, id, where, last_event_id and access_token";

/// Answers with a stream, or says why not.
pub async fn live(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let origin = match server.access.origin(&headers) {
        Ok(origin) => origin,
        Err(refusal) => return server.access.refuse(refusal),
    };
    let mut response = match query {
        Err(_) => server
            .access
            .refuse(wrong("the query cannot be read; see docs/live.md")),
        Ok(Query(query)) => match stream(&server, peer, query, &headers).await {
            Ok(response) => response,
            Err(refusal) => server.access.refuse(refusal),
        },
    };
    allow_origin(response.headers_mut(), origin);
    response
}

/// Lets the page read the answer.
pub fn allow_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Origin, Accept-Encoding"),
    );
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// What a browser asks before a page may send a header of its own.
pub async fn preflight(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    allowed(&server.access, &headers)
}

/// Says what a page may send.
pub fn allowed(access: &Access, headers: &HeaderMap) -> Response {
    let origin = match access.origin(headers) {
        Ok(origin) => origin,
        Err(refusal) => return access.refuse(refusal),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let own = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, last-event-id, cache-control, content-type",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        own.insert(name, HeaderValue::from_static(value));
    }
    allow_origin(own, origin);
    response
}

async fn stream(
    server: &Arc<Server>,
    peer: Peer,
    query: Vec<(String, String)>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let Parameters {
        asked,
        mut position,
        token,
    } = Parameters::read(query)?;
    if let Some(last) = headers.get("last-event-id") {
        position = Some(last.to_str().unwrap_or("?").to_owned());
    }
    let token = bearer(headers).or(token.as_deref());
    let grant = server.access.grant(token).await?;
    let expires = grant.expires;
    let selection = Selection::new(asked, grant, server.parts.hub.mode).map_err(refusal)?;
    let position = match position
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        Some(text) => Some(Position::decode(text).map_err(|error| wrong(error.to_string()))?),
        None => None,
    };
    let admitted = server.access.enter(peer.address)?;
    server.ready().await?;
    let mut feed = Feed::open(
        &server.parts,
        Arc::new(selection),
        position,
        peer.cut.clone(),
    );
    let mut head = format!("retry: {}\n", server.retry_millis());
    // A client that is cut off before its first event comes back to where it began.
    if let Some(position) = feed.position() {
        head.push_str(&format!("id: {position}\n"));
    }
    head.push('\n');
    let mut gzip = gzip::is_accepted(headers).then(gzip::Stream::default);
    let head = match &mut gzip {
        Some(gzip) => gzip.begin(head.as_bytes()),
        None => head.into(),
    };
    let mut response = Response::builder();
    if gzip.is_some() {
        response = response.header(header::CONTENT_ENCODING, "gzip");
    }
    let state = Stream {
        feed,
        ending: server.ending(expires),
        told: Instant::now(),
        keep_alive: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
        head: Some(head),
        gzip,
        is_over: false,
        server: Arc::clone(server),
        _admitted: admitted,
    };
    let events = futures_util::stream::unfold(Box::new(state), async |mut state| {
        let bytes = state.next().await?;
        Some((Ok::<_, Infallible>(bytes), state))
    });
    response
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache")
        .header("x-accel-buffering", "no")
        .body(Body::from_stream(events))
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no answer could be made"))
}

/// The token of `Authorization`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub fn wrong(sentence: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}

pub fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Wrong(sentence) => wrong(sentence),
        Refused::Forbidden(sentence) => Refusal::new(StatusCode::FORBIDDEN, sentence),
    }
}

#[derive(Default)]
struct Parameters {
    asked: Asked,
    position: Option<String>,
    token: Option<String>,
}

impl Parameters {
    /// A parameter that is not known is refused: a misspelt filter would show everything.
    fn read(query: Vec<(String, String)>) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for (name, value) in query {
            let own = match name.as_str() {
                "database" => &mut read.asked.database,
                "collection" => &mut read.asked.collection,
                "operation" => &mut read.asked.operation,
                "id" => &mut read.asked.id,
                "last_event_id" => &mut read.position,
                "access_token" => &mut read.token,
                "where" if read.asked.filter.is_some() => {
                    return Err(wrong("where is given twice; use $and in one"));
                }
                "where" => {
                    let parsed = serde_json::from_str(&value);
                    let sentence = "where: is no JSON; give an object such as {\"room\":\"r1\"}, percent-encoded";
                    read.asked.filter = Some(parsed.map_err(|_| wrong(sentence))?);
                    continue;
                }
                _ => {
                    let shown: String = name.chars().take(40).collect();
                    return Err(wrong(format!(
                        "{shown:?} is no parameter; {PARAMETERS} are"
                    )));
                }
            };
            if own.replace(value).is_some() {
                return Err(wrong(format!("{name} is given twice; give it once")));
            }
        }
        Ok(read)
    }
}

/// One client.
struct Stream {
    feed: Feed,
    ending: Ending,
    told: Instant,
    /// No earlier than it is due: what is told meanwhile does not touch it.
    keep_alive: Pin<Box<Sleep>>,
    /// What is sent first.
    head: Option<Bytes>,
    /// Where the client takes it compressed.
    gzip: Option<gzip::Stream>,
    is_over: bool,
    server: Arc<Server>,
    _admitted: Admitted,
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        if self.is_over {
            return None;
        }
        let bytes = loop {
            tokio::select! {
                biased;
                end = self.ending.comes() => {
                    self.is_over = true;
                    let data = json!({ "reason": end.reason() });
                    let retry = self.server.retry_millis();
                    break self.last(format!("retry: {retry}\nevent: close\ndata: {data}\n\n"));
                }
                told = self.feed.next() => break self.write(told),
                () = &mut self.keep_alive => {
                    let due = self.told + KEEP_ALIVE;
                    if due > Instant::now() {
                        self.keep_alive.as_mut().reset(due);
                        continue;
                    }
                    self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
                    // What the client has seen, so that it need not read old changes again when it comes back.
                    let position = self.feed.position();
                    let id = position.map_or_else(String::new, |id| format!("id: {id}\n"));
                    break self.own(format!(": keep-alive\n{id}\n"));
                }
            }
        };
        self.told = Instant::now();
        Some(bytes)
    }

    fn write(&mut self, told: Told) -> Bytes {
        match told {
            Told::Batch(batch) => match &mut self.gzip {
                Some(gzip) => gzip.piece(batch.zipped()),
                None => batch.text.clone(),
            },
            Told::Events(events) => {
                let mut text = Vec::new();
                for Event { id, is_leave, body } in &events {
                    write_event(&mut text, id, *is_leave, body);
                }
                self.own(text)
            }
            Told::Gap { from, to } => {
                let data = json!({ "from": from, "to": to });
                self.own(format!("id: {to}\nevent: gap\ndata: {data}\n\n"))
            }
            Told::Cut => {
                self.is_over = true;
                let data = json!({ "reason": "slow", "message": SLOW });
                self.last(format!("event: cut\ndata: {data}\n\n"))
            }
        }
    }

    /// What is for this client alone.
    fn own(&mut self, text: impl Into<Vec<u8>>) -> Bytes {
        let text = text.into();
        match &mut self.gzip {
            Some(gzip) => gzip.text(&text),
            None => text.into(),
        }
    }

    /// What it is told last.
    fn last(&mut self, text: String) -> Bytes {
        match &mut self.gzip {
            Some(gzip) => gzip.end(text.as_bytes()),
            None => text.into(),
        }
    }
}

/// Why a client was cut off.
pub const SLOW: &str =
    "more than 1 MiB was waiting for this client; connect again to go on from the last id";
