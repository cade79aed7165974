//! Socket.IO, for front ends that speak it: `join` a room, receive `change`. A subscription is the same as over the
//! WebSocket of its own; here are only the packets: of Engine.IO 4 and of Socket.IO 5, as
//! <https://socket.io/docs/v4/engine-io-protocol/> and <https://socket.io/docs/v4/socket-io-protocol/> have them.
//!
//! There is no long polling: all requests of one client would have to reach the same instance, and what waits for a
//! slow one could not be bounded.

use super::message::{self, Dialect, Wanted};
use super::{Close, Connection, FORBIDDEN, LARGEST, PING};
use crate::live::random;
use serde_json::{Value, json};

const GOODBYE: u16 = 1000;
const PROTOCOL: u16 = 1002;

/// How long a client waits for a ping that is late, in milliseconds.
const PING_TIMEOUT: u64 = 20_000;

/// What a client sends.
#[derive(Debug, PartialEq)]
enum Packet {
    Pong,
    /// It goes.
    Goodbye,
    /// Whatever it gives as `auth`.
    Connect(Value),
    /// To a namespace, of which there is only the default one.
    Elsewhere(String),
    Event {
        /// The number under which an answer is wanted.
        ack: Option<u64>,
        name: String,
        argument: Value,
    },
}

impl Packet {
    /// None where it is no packet that is known here.
    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        match kind {
            "1" => return Some(Self::Goodbye),
            "3" => return Some(Self::Pong),
            "4" => {}
            _ => return None,
        }
        let (kind, rest) = rest.split_at_checked(1)?;
        match (kind, rest) {
            ("0", "") => Some(Self::Connect(Value::Null)),
            ("0", named) if named.starts_with('/') => {
                let name = named.split_once(',').map_or(named, |(name, _)| name);
                Some(Self::Elsewhere(name.chars().take(100).collect()))
            }
            ("0", auth) => serde_json::from_str(auth).ok().map(Self::Connect),
            ("1", "") => Some(Self::Goodbye),
            ("2", event) => {
                let list = event.trim_start_matches(|digit: char| digit.is_ascii_digit());
                let ack = &event[..event.len() - list.len()];
                let ack = match ack {
                    "" => None,
                    number => Some(number.parse().ok()?),
                };
                let mut list = serde_json::from_str::<Vec<Value>>(list).ok()?.into_iter();
                let Value::String(name) = list.next()? else {
                    return None;
                };
                let argument = list.next().unwrap_or_default();
                Some(Self::Event {
                    ack,
                    name,
                    argument,
                })
            }
            _ => None,
        }
    }
}

/// The first packet.
pub fn open() -> String {
    let open = json!({
        "sid": name(),
        "upgrades": [],
        "pingInterval": PING.as_millis() as u64,
        "pingTimeout": PING_TIMEOUT,
        "maxPayload": LARGEST,
    });
    format!("0{open}")
}

pub const PING_PACKET: &str = "2";

/// An event; `argument` is JSON.
pub fn event(name: &str, argument: &str) -> String {
    format!(r#"42["{name}",{argument}]"#)
}

fn connected() -> String {
    format!("40{}", json!({ "sid": name() }))
}

/// What the client knows as `connect_error`.
fn refused(namespace: &str, status: u16, message: &str) -> String {
    let error = json!({ "message": message, "data": { "status": status } });
    format!("44{namespace}{error}")
}

fn name() -> String {
    format!("{:016x}{:016x}", random(), random())
}

impl Connection {
    /// Takes a packet; what is answered.
    pub(super) async fn packet(&mut self, text: &str) -> Result<Option<String>, Close> {
        const UNKNOWN: Close = (
            PROTOCOL,
            "this is no packet of Socket.IO that is known here",
        );
        match Packet::read(text).ok_or(UNKNOWN)? {
            Packet::Pong => Ok(None),
            Packet::Goodbye => Err((GOODBYE, "the client has left")),
            Packet::Elsewhere(name) => {
                let sentence = "there is only the default namespace; connect without one";
                Ok(Some(refused(&format!("{name},"), 404, sentence)))
            }
            Packet::Connect(auth) => {
                let token = auth["token"].as_str().map(str::to_owned);
                let token = token.or_else(|| self.token.clone());
                if let Err(close) = self.authenticate(token.as_deref(), true).await {
                    let status = if close.0 == FORBIDDEN { 403 } else { 401 };
                    self.send(refused("", status, close.1)).await;
                    return Err(close);
                }
                Ok(Some(connected()))
            }
            Packet::Event { .. } if self.grant.is_none() => Err((
                PROTOCOL,
                "the first packet connects to the default namespace",
            )),
            Packet::Event {
                ack,
                name,
                argument,
            } => {
                let answer = match (name.as_str(), argument) {
                    ("join", argument) => self.join(argument),
                    ("leave", Value::String(id)) => match self.subscriptions.remove(&id) {
                        Some(_) => Ok(json!({ "status": "ok" })),
                        None => Err((404, "there is no subscription of this id".into())),
                    },
                    ("access_token", Value::String(token)) => {
                        self.authenticate(Some(&token), true).await?;
                        Ok(json!({ "status": "ok" }))
                    }
                    _ => Err((400, EVENTS.into())),
                };
                Ok(written(ack, answer))
            }
        }
    }

    fn join(&mut self, argument: Value) -> Result<Value, (u16, String)> {
        let wanted = message::subscription(argument).map_err(|sentence| (400, sentence))?;
        let position = self.subscribe(Wanted::from(wanted))?;
        Ok(json!({ "status": "ok", "position": position }))
    }
}

const EVENTS: &str = "the events are join ({\"id\":\"…\",\"collection\":\"…\",\"where\":{…}}), leave (an id) and \
                      access_token (a token)";

/// An answer, where one is wanted; what is refused is told anyway.
fn written(ack: Option<u64>, answer: Result<Value, (u16, String)>) -> Option<String> {
    let refused = |(status, message)| json!({ "status": status, "message": message });
    let is_refused = answer.is_err();
    let answer = answer.unwrap_or_else(refused);
    match ack {
        Some(number) => Some(format!("43{number}[{answer}]")),
        None if is_refused => Some(event("error", &answer.to_string())),
        None => None,
    }
}

impl Dialect {
    /// The last event before the connection is closed, which tells why.
    pub(super) fn farewell(self, is_slow: bool, reason: &str) -> Option<String> {
        let name = if is_slow { "cut" } else { "close" };
        let told = || event(name, &json!({ "reason": reason }).to_string());
        (self == Self::SocketIo).then(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        let event = |ack, name: &str, argument| Packet::Event {
            ack,
            name: name.into(),
            argument,
        };
        for (text, packet) in [
            ("3", Some(Packet::Pong)),
            ("1", Some(Packet::Goodbye)),
            ("41", Some(Packet::Goodbye)),
            ("40", Some(Packet::Connect(Value::Null))),
            (
                "40{\"token\":\"t\"}",
                Some(Packet::Connect(json!({"token": "t"}))),
            ),
            (
                "40/admin,{\"a\":1}",
                Some(Packet::Elsewhere("/admin".into())),
            ),
            (
                "42[\"leave\",\"a\"]",
                Some(event(None, "leave", json!("a"))),
            ),
            (
                "4212[\"join\",{\"id\":\"a\"}]",
                Some(event(Some(12), "join", json!({"id": "a"}))),
            ),
            ("42[\"join\"]", Some(event(None, "join", Value::Null))),
            ("", None),
            ("4", None),
            ("é", None),
            ("40{", None),
            ("42{}", None),
            ("42[1]", None),
            ("42[]", None),
            ("42999999999999999999999[\"join\"]", None),
            ("42/admin,[\"join\"]", None),
            ("451-[\"join\",{\"_placeholder\":true,\"num\":0}]", None),
            ("5", None),
        ] {
            assert_eq!(Packet::read(text), packet, "{text}");
        }
    }

    #[test]
    fn an_answer_is_given_where_it_is_wanted_and_a_refusal_always() {
        let refused = || Err((400, "no".to_owned()));
        assert_eq!(
            written(Some(7), Ok(json!({"status": "ok"}))).unwrap(),
            r#"437[{"status":"ok"}]"#
        );
        assert_eq!(written(None, Ok(json!({"status": "ok"}))), None);
        assert!(written(Some(0), refused()).unwrap().starts_with("430[{"));
        assert!(
            written(None, refused())
                .unwrap()
                .starts_with("42[\"error\",{")
        );
    }
}
