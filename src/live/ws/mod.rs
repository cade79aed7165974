//! WebSocket: `GET /live/ws`. Subscriptions come and go on one connection, each with an id of the client's choice.
//! Socket.IO is another dialect of the same.

mod message;
mod socketio;
mod subscription;

use super::Server;
use super::access::{Admitted, Refusal};
use super::ending::{End, Ending};
use super::grant::Grant;
use super::listen::Peer;
use super::position::Position;
use super::selection::{Refused, Selection};
use super::sse::{SLOW, allow_origin, bearer, wrong};
use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use message::{Dialect, Incoming, Wanted};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use subscription::{Out, Subscription};
use tokio::sync::mpsc;
use tokio::time::Instant;

const UNAUTHENTICATED: u16 = 4401;
const FORBIDDEN: u16 = 4403;
const TOO_SLOW: u16 = 4408;
const TOO_MANY: u16 = 4429;
const GOING_AWAY: u16 = 1001;

/// The largest frame that a client may send, in bytes.
const LARGEST: usize = 64 * 1024;
/// Frames a second that a client may send, and how many at once.
const RATE: f64 = 100.0;
/// Frames that wait for the connection.
const QUEUE: usize = 8;
/// How long a client has to send its token.
const PATIENCE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(25);
/// How long a client may be silent, which answers pings.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a client has to take what was on its way to it, and the reason behind that.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a connection ends: a code, and a sentence.
type Close = (u16, &'static str);

/// Answers with a WebSocket, or says why not.
pub async fn live(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let known = |(name, _): &&(String, String)| name == "access_token";
    let in_query = query.iter().find(known).map(|(_, token)| token.as_str());
    if query.iter().any(|pair| !known(&pair)) {
        let sentence =
            "only access_token is a parameter here; what to subscribe to is said in a frame";
        return server.access.refuse(wrong(sentence));
    }
    let token = bearer(&headers).or(in_query).map(str::to_owned);
    match begin(&server, peer, &headers, (Dialect::Plain, token), upgrade).await {
        Ok(response) => response,
        Err(refusal) => server.access.refuse(refusal),
    }
}

/// The same for a client of Socket.IO.
pub async fn socket_io(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let of = |wanted: &str| {
        let found = query.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let begun = match upgrade {
        Ok(upgrade) if of("EIO") == Some("4") => {
            let token = bearer(&headers).or(of("access_token")).map(str::to_owned);
            begin(&server, peer, &headers, (Dialect::SocketIo, token), upgrade).await
        }
        _ => Err(wrong(
            "Socket.IO is served over WebSocket alone, to clients of version 3 and later: give io() the option \
             transports: [\"websocket\"]",
        )),
    };
    begun.unwrap_or_else(|refusal| {
        let mut response = server.access.refuse(refusal);
        // A page that asked by polling is to read why that is refused.
        if let Ok(origin) = server.access.origin(&headers) {
            allow_origin(response.headers_mut(), origin);
        }
        response
    })
}

async fn begin(
    server: &Arc<Server>,
    peer: Peer,
    headers: &HeaderMap,
    (dialect, token): (Dialect, Option<String>),
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    server.access.origin(headers)?;
    let admitted = server.access.enter(peer.address)?;
    server.ready().await?;
    let tracked = server.sockets.token();
    let server = Arc::clone(server);
    let upgrade = upgrade
        .read_buffer_size(4 * 1024)
        .write_buffer_size(4 * 1024)
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST);
    Ok(upgrade.on_upgrade(async move |socket| {
        let connection = Connection::new(server, peer, socket, admitted, (dialect, token));
        Box::pin(connection.run()).await;
        drop(tracked);
    }))
}

struct Connection {
    server: Arc<Server>,
    peer: Peer,
    socket: WebSocket,
    dialect: Dialect,
    /// With which it connected.
    token: Option<String>,
    subscriptions: HashMap<String, Subscription>,
    next_generation: u64,
    sender: mpsc::Sender<Out>,
    frames: mpsc::Receiver<Out>,
    grant: Option<Arc<Grant>>,
    ending: Ending,
    /// Frames that the client may still send.
    allowance: f64,
    refilled: Instant,
    heard: Instant,
    _admitted: Admitted,
}

impl Connection {
    fn new(
        server: Arc<Server>,
        peer: Peer,
        socket: WebSocket,
        admitted: Admitted,
        (dialect, token): (Dialect, Option<String>),
    ) -> Self {
        let (sender, frames) = mpsc::channel(QUEUE);
        let now = Instant::now();
        Self {
            ending: server.ending(None),
            server,
            peer,
            socket,
            dialect,
            token,
            subscriptions: HashMap::new(),
            next_generation: 0,
            sender,
            frames,
            grant: None,
            allowance: RATE,
            refilled: now,
            heard: now,
            _admitted: admitted,
        }
    }

    async fn run(mut self) {
        let cut = self.peer.cut.clone();
        let close = tokio::select! {
            close = self.serve() => close,
            () = cut.cancelled() => Some((TOO_SLOW, SLOW)),
        };
        let Some((code, reason)) = close else { return };
        self.subscriptions.clear();
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let farewell = async {
            let told = self.dialect.farewell(code == TOO_SLOW, reason);
            if let Some(told) = told.filter(|_| self.grant.is_some()) {
                self.send(told).await;
            }
            let _ = self.socket.send(Message::Close(Some(frame))).await;
            // What it still sends is taken: otherwise the connection would be reset, and the reason lost with it.
            while let Some(Ok(_)) = self.socket.recv().await {}
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    /// Until the client goes, which gives none, or has to.
    async fn serve(&mut self) -> Option<Close> {
        match self.dialect {
            Dialect::Plain => {
                let token = self.token.take();
                if let Err(close) = self.authenticate(token.as_deref(), false).await {
                    return Some(close);
                }
            }
            Dialect::SocketIo => {
                if !self.send(socketio::open()).await {
                    return None;
                }
            }
        }
        let patience = Instant::now() + PATIENCE;
        let mut pings = tokio::time::interval_at(Instant::now() + PING, PING);
        loop {
            let sent = tokio::select! {
                biased;
                end = self.ending.comes() => return Some(match end {
                    End::Expired => (UNAUTHENTICATED, end.reason()),
                    End::Lifetime | End::Stopping => (GOING_AWAY, end.reason()),
                }),
                () = tokio::time::sleep_until(patience), if self.grant.is_none() => {
                    return Some((UNAUTHENTICATED, "no token came within 10 s"));
                }
                received = self.socket.recv() => match received {
                    Some(Ok(message)) => match self.take(message).await {
                        Ok(Some(answer)) => self.send(answer).await,
                        Ok(None) => true,
                        Err(close) => return Some(close),
                    },
                    Some(Err(_)) | None => return None,
                },
                Some(out) = self.frames.recv() => match out {
                    Out::Frame { id, generation, frame } => {
                        let is_there = self.subscriptions.get(&*id).is_some_and(|own| own.generation == generation);
                        !is_there || self.send(frame).await
                    }
                    Out::Slow => return Some((TOO_SLOW, SLOW)),
                },
                _ = pings.tick() => match self.heard.elapsed() > SILENCE {
                    true => return None,
                    false => {
                        let ping = match self.dialect {
                            Dialect::Plain => Message::Ping(axum::body::Bytes::new()),
                            Dialect::SocketIo => Message::text(socketio::PING_PACKET),
                        };
                        self.socket.send(ping).await.is_ok()
                    }
                },
            };
            if !sent {
                return None;
            }
        }
    }

    async fn send(&mut self, frame: impl Into<axum::extract::ws::Utf8Bytes>) -> bool {
        self.socket.send(Message::Text(frame.into())).await.is_ok()
    }

    /// Takes a frame; what is answered.
    async fn take(&mut self, message: Message) -> Result<Option<String>, Close> {
        self.heard = Instant::now();
        self.allowance = RATE.min(self.allowance + self.refilled.elapsed().as_secs_f64() * RATE);
        self.refilled = self.heard;
        self.allowance -= 1.0;
        if self.allowance < 0.0 {
            return Err((TOO_MANY, "more than 100 frames a second; send fewer"));
        }
        let text = match message {
            Message::Text(packet) if self.dialect == Dialect::SocketIo => {
                return self.packet(&packet).await;
            }
            Message::Text(text) => text,
            Message::Binary(_) if self.dialect == Dialect::SocketIo => {
                return self.packet("").await;
            }
            Message::Binary(_) => {
                return Ok(Some(message::error(None, 400, "frames are JSON text")));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(None),
        };
        match Incoming::read(&text) {
            Err(sentence) => Ok(Some(message::error(None, 400, &sentence))),
            Ok(Incoming::Ping {}) => Ok(Some(r#"{"type":"pong"}"#.to_owned())),
            Ok(Incoming::AccessToken { token }) => {
                self.authenticate(Some(&token), true).await?;
                Ok(Some(r#"{"type":"access_token","status":"ok"}"#.to_owned()))
            }
            Ok(Incoming::Unsubscribe { id }) => Ok(Some(match self.subscriptions.remove(&id) {
                Some(_) => message::unsubscribed(&id, None),
                None => message::error(Some(&id), 404, "there is no subscription of this id"),
            })),
            Ok(Incoming::Subscribe(wanted)) => {
                let wanted = Wanted::from(wanted);
                let id = wanted.id.clone();
                Ok(Some(match self.subscribe(wanted) {
                    Ok(position) => message::subscribed(&id, position.as_deref()),
                    Err((status, sentence)) => message::error(Some(&id), status, &sentence),
                }))
            }
        }
    }

    /// Takes a token; without one it may come later. A new one may allow something else: what was subscribed to under
    /// the old one ends then.
    async fn authenticate(&mut self, token: Option<&str>, is_renewal: bool) -> Result<(), Close> {
        if token.is_none() && self.server.access.verifier.is_some() && !is_renewal {
            return Ok(());
        }
        let grant = self.server.access.grant(token).await.map_err(|refusal| {
            self.server.access.counts().refused.add(1);
            match refusal.status.as_u16() {
                403 => (FORBIDDEN, "the token allows nothing here; see docs/live.md"),
                _ => (UNAUTHENTICATED, "the token is not valid, or has expired"),
            }
        })?;
        self.ending.renew(grant.expires);
        let is_other = self
            .grant
            .as_ref()
            .is_some_and(|before| before.text() != grant.text());
        self.grant = Some(grant);
        if is_other {
            let ids: Vec<_> = self.subscriptions.drain().map(|(id, _)| id).collect();
            for id in ids {
                let sentence =
                    "the new token allows something else; subscribe again from your last position";
                let told = message::unsubscribed(&id, Some(sentence));
                self.send(self.dialect.frame("unsubscribed", told)).await;
            }
        }
        Ok(())
    }

    /// Begins a subscription; its position.
    fn subscribe(&mut self, wanted: Wanted) -> Result<Option<String>, (u16, String)> {
        let Some(grant) = &self.grant else {
            return Err((
                401,
                "send a token first: {\"type\":\"access_token\",\"token\":\"…\"}".into(),
            ));
        };
        if wanted.id.is_empty() || wanted.id.len() > 100 {
            return Err((400, "id is a text of 1 to 100 bytes".into()));
        }
        if self.subscriptions.contains_key(&wanted.id) {
            return Err((
                409,
                "there is a subscription of this id; unsubscribe it first".into(),
            ));
        }
        if self.subscriptions.len() >= self.server.max_subscriptions {
            let most = self.server.max_subscriptions;
            return Err((
                429,
                format!("{most} subscriptions are there, as many as LIVE_MAX_SUBSCRIPTIONS allows"),
            ));
        }
        let selection = Selection::new(wanted.asked, Arc::clone(grant), self.server.parts.hub.mode);
        let selection = selection.map_err(|refused| match refused {
            Refused::Wrong(sentence) => (400, sentence),
            Refused::Forbidden(sentence) => (403, sentence),
        })?;
        let position = wanted.position.as_deref().map(Position::decode).transpose();
        let position = position.map_err(|error| (400, error.to_string()))?;
        let generation = self.next_generation;
        self.next_generation += 1;
        let cut = self.peer.cut.clone();
        let (own, position) = Subscription::begin(
            &self.server.parts,
            (self.dialect, wanted.id.clone(), generation),
            selection,
            position,
            cut,
            self.sender.clone(),
        );
        self.subscriptions.insert(wanted.id, own);
        Ok(position)
    }
}
