//! A proxy in front of a real Kafka that refuses the first produce request to a topic in its place.
//!
//! So does a broker that does not know yet that it leads a new partition, while the next request is on the wire
//! already (<https://kafka.apache.org/protocol.html>). No broker does it on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

const PRODUCE: i16 = 0;
/// The first version of the requests whose fields are compact.
const COMPACT: i16 = 9;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// How long a refusal waits for a second request.
const ALONE: Duration = Duration::from_secs(2);

/// The proxy; ends with its runtime.
#[derive(Clone)]
pub struct FirstRefused {
    addr: SocketAddr,
    rule: Arc<Rule>,
}

#[derive(Default)]
struct Rule {
    /// The topic whose first request is to be refused; none when it was.
    topic: Mutex<Option<String>>,
    held: Notify,
    /// Whether another request came before the first was answered.
    was_followed: Mutex<bool>,
}

/// What is known of a produce request.
struct Request {
    correlation: i32,
    topic: String,
    partition: i32,
}

impl FirstRefused {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let rule = Arc::<Rule>::default();
        let of_all = Arc::clone(&rule);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, Arc::clone(&of_all)));
            }
        });
        Self { addr, rule }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on the next produce request to `topic` is held, until another one follows or none has come for
    /// two seconds, and refused then.
    pub fn refuse(&self, topic: &str) {
        *self.rule.topic.lock().unwrap() = Some(topic.to_owned());
        *self.rule.was_followed.lock().unwrap() = false;
    }

    /// Waits until it is held.
    pub async fn held(&self) {
        self.rule.held.notified().await;
    }

    /// Whether another request was on the wire behind the refused one.
    pub fn was_followed(&self) -> bool {
        *self.rule.was_followed.lock().unwrap()
    }
}

impl Rule {
    /// Whether this is the request to be refused.
    fn takes(&self, request: &Request) -> bool {
        let mut topic = self.topic.lock().unwrap();
        topic.take_if(|topic| *topic == request.topic).is_some()
    }
}

async fn connection(client: TcpStream, server: SocketAddr, rule: Arc<Rule>) -> Option<()> {
    let server = TcpStream::connect(server).await.ok()?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let answers = Arc::clone(&to_client);
    let back = async move {
        let mut frames = frames(from_server);
        while let Some(frame) = frames.recv().await {
            answers.lock().await.write_all(&frame).await.ok()?;
        }
        Some(())
    };
    let there = async move {
        let mut frames = frames(from_client);
        while let Some(frame) = frames.recv().await {
            let refused = produce_request(&frame).filter(|request| rule.takes(request));
            let Some(refused) = refused else {
                to_server.write_all(&frame).await.ok()?;
                continue;
            };
            rule.held.notify_one();
            let next = tokio::time::timeout(ALONE, frames.recv()).await;
            let answer = refusal(&refused);
            to_client.lock().await.write_all(&answer).await.ok()?;
            if let Ok(next) = next {
                let next = next?;
                *rule.was_followed.lock().unwrap() = produce_request(&next).is_some();
                to_server.write_all(&next).await.ok()?;
            }
        }
        Some(())
    };
    tokio::select! {
        done = back => done,
        done = there => done,
    }
}

/// What is sent, message by message, each with its length.
fn frames(mut from: OwnedReadHalf) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(length) = from.read_u32().await {
            let mut frame = length.to_be_bytes().to_vec();
            frame.resize(4 + length as usize, 0);
            if from.read_exact(&mut frame[4..]).await.is_err() || send.send(frame).await.is_err() {
                return;
            }
        }
    });
    receive
}

/// The first topic and partition of a produce request; none for others.
fn produce_request(frame: &[u8]) -> Option<Request> {
    let mut rest = Fields(&frame[4..]);
    let (api, version, correlation) = (rest.i16(), rest.i16(), rest.i32());
    if api != PRODUCE {
        return None;
    }
    assert!(version >= COMPACT, "version {version} is not known here");
    let client = rest.i16();
    rest.skip(usize::try_from(client).unwrap_or(0));
    rest.no_tags();
    // Transactional id, acks, time-out, number of topics.
    rest.compact();
    rest.skip(2 + 4);
    assert!(rest.varint() > 1, "no topic");
    let topic = String::from_utf8(rest.compact().to_vec()).unwrap();
    assert!(rest.varint() > 1, "no partition");
    Some(Request {
        correlation,
        topic,
        partition: rest.i32(),
    })
}

fn refusal(request: &Request) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(request.correlation.to_be_bytes());
    // No tags; one topic.
    body.extend([0, 2]);
    body.push(u8::try_from(request.topic.len() + 1).expect("a short name"));
    body.extend(request.topic.as_bytes());
    body.push(2);
    body.extend(request.partition.to_be_bytes());
    body.extend(NOT_LEADER_OR_FOLLOWER.to_be_bytes());
    // Offset, time, first offset of the log: not known.
    for _ in 0..3 {
        body.extend((-1_i64).to_be_bytes());
    }
    // No errors of single records, no message, no tags of partition and topic, no throttling, no tags.
    body.extend([1, 0, 0, 0]);
    body.extend(0_i32.to_be_bytes());
    body.push(0);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[..], &body].concat()
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn skip(&mut self, bytes: usize) -> &'a [u8] {
        let (field, rest) = self.0.split_at(bytes);
        self.0 = rest;
        field
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.skip(2).try_into().unwrap())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.skip(4).try_into().unwrap())
    }

    fn varint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.skip(1)[0];
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// A string or nothing.
    fn compact(&mut self) -> &'a [u8] {
        let length = self.varint().saturating_sub(1);
        self.skip(length)
    }

    fn no_tags(&mut self) {
        assert_eq!(self.varint(), 0, "tags are not known here");
    }
}
