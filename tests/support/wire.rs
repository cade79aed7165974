//! A proxy in front of a real MongoDB that can answer in its place.
//!
//! For what the server here does not do on demand and real ones do: codes and labels, tokens that go
//! back, events that are missing, replies that are damaged. It reads `OP_MSG`
//! (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol>); everything else flows
//! through untouched.
//!
//! ```ignore
//! let wire = Wire::before(mongo().await.addr()).await;
//! let setup = Tailwater::on(&db, kafka).env("MONGODB_URI", wire.uri_of(db.name()));
//!
//! // 1. The next commands of a name are answered with an error.
//! wire.refuse_next("getMore", 2, wire::error(462, &["SystemOverloadedError", "RetryableError"]));
//!
//! // 2. A command is answered with an error where a predicate says so.
//! wire.refuse_if(|command| (name(command) == "insert").then(|| wire::error(13, &[])));
//!
//! // 3. Replies of the server are altered, as documents or as bytes that need be no document.
//! wire.alter(|command, reply| if name(command) == "getMore" { reply.insert("x", 1); });
//! wire.alter_bytes(|command, reply| if name(command) == "getMore" { reply.truncate(40); });
//!
//! // 4. Commands are altered before the server sees them.
//! wire.alter_commands(|command| { command.remove("maxTimeMS"); });
//! ```
//!
//! Rules stay until [`Wire::heal`] or the end of the test; a closure counts for itself how often it acts.
//! [`Wire::seen`] says which commands came by. [`Refusals`] is the same for one command and its codes.

use bson::{Document, RawDocument, RawDocumentBuf, doc};
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

const OP_MSG: i32 = 2013;
/// Where the document of a message without a leading sequence begins: header, flags, kind of section.
const BODY: usize = 16 + 4 + 1;

type Refuse = dyn FnMut(&Document) -> Option<Document> + Send;
type Alter = dyn FnMut(&Document, &mut Document) + Send;
type AlterBytes = dyn FnMut(&Document, &mut Vec<u8>) + Send;
type AlterCommand = dyn FnMut(&mut Document) + Send;
type When = dyn FnMut(&Document) -> bool + Send;

/// A reply that is held back.
#[derive(Clone, Default)]
pub struct Hold {
    reached: Arc<tokio::sync::Notify>,
    released: tokio_util::sync::CancellationToken,
}

impl Hold {
    /// Waits until the server has replied, and the client has not been told.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Lets the reply through.
    pub fn release(&self) {
        self.released.cancel();
    }
}

/// What is done to what comes by.
#[derive(Default)]
struct Rules {
    next: HashMap<String, VecDeque<Document>>,
    refuse: Vec<Box<Refuse>>,
    alter: Vec<Box<Alter>>,
    alter_bytes: Vec<Box<AlterBytes>>,
    alter_commands: Vec<Box<AlterCommand>>,
    hold: Vec<(Box<When>, Hold)>,
    seen: HashMap<String, usize>,
}

/// A proxy in front of one server.
#[derive(Clone)]
pub struct Wire {
    addr: SocketAddr,
    rules: Arc<Mutex<Rules>>,
}

impl Wire {
    /// Stands in front of `server`, and lets everything through until it is told otherwise.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let rules = Arc::<Mutex<Rules>>::default();
        let shared = Arc::clone(&rules);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let rules = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A connection that breaks is the driver's to mend.
                    let _ = serve(client, server, rules).await;
                });
            }
        });
        Self { addr, rules }
    }

    /// The connection string for `database` that goes through here.
    pub fn uri_of(&self, database: &str) -> String {
        // Discovery would tell the client the server's own address.
        format!("mongodb://{}/{database}?directConnection=true", self.addr)
    }

    /// The next `times` commands of that name are answered with `answer` (see [`error`]), after those
    /// that were asked for before.
    pub fn refuse_next(&self, command: &str, times: usize, answer: Document) {
        let mut rules = self.rules.lock().unwrap();
        let queue = rules.next.entry(command.to_owned()).or_default();
        queue.extend(std::iter::repeat_n(answer, times));
    }

    /// How many of the refusals of [`Wire::refuse_next`] are still to come.
    pub fn left(&self, command: &str) -> usize {
        let rules = self.rules.lock().unwrap();
        rules.next.get(command).map_or(0, VecDeque::len)
    }

    /// Answers each command for which `refuse` gives an answer; the server does not see it.
    pub fn refuse_if(&self, refuse: impl FnMut(&Document) -> Option<Document> + Send + 'static) {
        self.rules.lock().unwrap().refuse.push(Box::new(refuse));
    }

    /// Lets `alter` change the server's replies, with the command that each answers.
    pub fn alter(&self, alter: impl FnMut(&Document, &mut Document) + Send + 'static) {
        self.rules.lock().unwrap().alter.push(Box::new(alter));
    }

    /// Lets `alter` change the bytes of the replies' documents, into what need be none.
    pub fn alter_bytes(&self, alter: impl FnMut(&Document, &mut Vec<u8>) + Send + 'static) {
        self.rules.lock().unwrap().alter_bytes.push(Box::new(alter));
    }

    /// Lets `alter` change commands on their way to the server. Replies and refusals are asked with the
    /// command as the client sent it.
    pub fn alter_commands(&self, alter: impl FnMut(&mut Document) + Send + 'static) {
        let mut rules = self.rules.lock().unwrap();
        rules.alter_commands.push(Box::new(alter));
    }

    /// Holds back the reply to the next command of which `when` says so, until it is released.
    pub fn hold(&self, when: impl FnMut(&Document) -> bool + Send + 'static) -> Hold {
        let hold = Hold::default();
        let mut rules = self.rules.lock().unwrap();
        rules.hold.push((Box::new(when), hold.clone()));
        hold
    }

    /// How many commands of that name have come by.
    pub fn seen(&self, command: &str) -> usize {
        let rules = self.rules.lock().unwrap();
        rules.seen.get(command).copied().unwrap_or(0)
    }

    /// Ends all rules.
    pub fn heal(&self) {
        let mut rules = self.rules.lock().unwrap();
        let seen = std::mem::take(&mut rules.seen);
        *rules = Rules {
            seen,
            ..Rules::default()
        };
    }
}

/// The name of a command: its first field.
pub fn name(command: &Document) -> &str {
    command.keys().next().map_or("", String::as_str)
}

/// A server's error reply.
pub fn error(code: i32, labels: &[&str]) -> Document {
    let mut reply = doc! {"ok": 0.0, "errmsg": "refused by the test", "code": code};
    if !labels.is_empty() {
        reply.insert("errorLabels", labels);
    }
    reply
}

/// The options of a command that opens a change stream.
pub fn change_stream(command: &Document) -> Option<&Document> {
    let stages = command.get_array("pipeline").ok()?;
    let first = stages.first()?.as_document()?;
    first.get_document("$changeStream").ok()
}

/// Answers the next commands of one name with an error.
pub struct Refusals {
    wire: Wire,
    command: &'static str,
    code: i32,
}

impl Refusals {
    /// Stands in front of `server`; lets everything through until [`refuse`](Self::refuse).
    pub async fn before(server: SocketAddr, command: &'static str, code: i32) -> Self {
        let wire = Wire::before(server).await;
        Self {
            wire,
            command,
            code,
        }
    }

    /// The connection string for `database` that goes through here.
    pub fn uri_of(&self, database: &str) -> String {
        self.wire.uri_of(database)
    }

    /// The next `times` commands are refused.
    pub fn refuse(&self, times: usize) {
        self.refuse_with(&vec![self.code; times]);
    }

    /// The next commands are refused with these codes.
    pub fn refuse_with(&self, codes: &[i32]) {
        self.wire.rules.lock().unwrap().next.remove(self.command);
        for code in codes {
            self.wire.refuse_next(self.command, 1, error(*code, &[]));
        }
    }

    /// How many refusals are still to come.
    pub fn left(&self) -> usize {
        self.wire.left(self.command)
    }
}

/// The commands of a connection that the server has not answered yet.
type Asked = Arc<Mutex<HashMap<i32, Document>>>;

async fn serve(
    client: TcpStream,
    server: SocketAddr,
    rules: Arc<Mutex<Rules>>,
) -> std::io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let asked = Asked::default();
    tokio::spawn(answers(
        from_server,
        Arc::clone(&to_client),
        Arc::clone(&rules),
        Arc::clone(&asked),
    ));
    while let Ok(mut message) = next_message(&mut from_client).await {
        if let Some(command) = document(&message) {
            let request = number(&message, 4);
            match decide(&rules, &command) {
                Decision::Answer(answer) => {
                    let answer = reply(request, &RawDocumentBuf::try_from(&answer).unwrap());
                    to_client.lock().await.write_all(&answer).await?;
                    continue;
                }
                Decision::Pass(None) => {}
                Decision::Pass(Some(altered)) => replace(&mut message, &altered),
            }
            asked.lock().unwrap().insert(request, command);
        }
        to_server.write_all(&message).await?;
    }
    Ok(())
}

enum Decision {
    Answer(Document),
    /// On to the server, altered or as it is.
    Pass(Option<Vec<u8>>),
}

fn decide(rules: &Mutex<Rules>, command: &Document) -> Decision {
    let mut rules = rules.lock().unwrap();
    *rules.seen.entry(name(command).to_owned()).or_default() += 1;
    let next = rules.next.get_mut(name(command));
    if let Some(answer) = next.and_then(VecDeque::pop_front) {
        return Decision::Answer(answer);
    }
    let answer = rules.refuse.iter_mut().find_map(|refuse| refuse(command));
    if let Some(answer) = answer {
        return Decision::Answer(answer);
    }
    if rules.alter_commands.is_empty() {
        return Decision::Pass(None);
    }
    let mut altered = command.clone();
    for alter in &mut rules.alter_commands {
        alter(&mut altered);
    }
    let is_new = altered != *command;
    Decision::Pass(is_new.then(|| altered.to_vec().unwrap()))
}

/// Carries the server's replies back.
async fn answers(
    mut from_server: impl AsyncRead + Unpin,
    to_client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    rules: Arc<Mutex<Rules>>,
    asked: Asked,
) {
    while let Ok(mut message) = next_message(&mut from_server).await {
        let command = asked.lock().unwrap().remove(&number(&message, 8));
        if let Some(command) = command {
            alter(&rules, &command, &mut message);
            if let Some(hold) = held(&rules, &command) {
                hold.reached.notify_one();
                hold.released.cancelled().await;
            }
        }
        if to_client.lock().await.write_all(&message).await.is_err() {
            return;
        }
    }
    let _ = to_client.lock().await.shutdown().await;
}

fn held(rules: &Mutex<Rules>, command: &Document) -> Option<Hold> {
    let mut rules = rules.lock().unwrap();
    let at = rules.hold.iter_mut().position(|(when, _)| when(command))?;
    Some(rules.hold.remove(at).1)
}

fn alter(rules: &Mutex<Rules>, command: &Document, message: &mut Vec<u8>) {
    let mut rules = rules.lock().unwrap();
    if !rules.alter.is_empty()
        && let Some(mut answer) = document(message)
    {
        let before = answer.clone();
        for alter in &mut rules.alter {
            alter(command, &mut answer);
        }
        if answer != before {
            replace(message, &answer.to_vec().unwrap());
        }
    }
    if !rules.alter_bytes.is_empty() && number(message, 12) == OP_MSG {
        let mut bytes = message[BODY..].to_vec();
        for alter in &mut rules.alter_bytes {
            alter(command, &mut bytes);
        }
        if bytes != message[BODY..] {
            replace_all(message, &bytes);
        }
    }
}

async fn next_message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 16];
    from.read_exact(&mut message).await?;
    message.resize(number(&message, 0) as usize, 0);
    from.read_exact(&mut message[16..]).await?;
    Ok(message)
}

fn number(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

/// The document of an `OP_MSG`, which comes first in those of the driver and of the server.
fn document(message: &[u8]) -> Option<Document> {
    let is_message = number(message, 12) == OP_MSG && message.get(BODY - 1) == Some(&0);
    let length = is_message.then(|| number(message, BODY) as usize)?;
    let raw = RawDocument::from_bytes(message.get(BODY..BODY + length)?).ok()?;
    Document::try_from(raw).ok()
}

/// Puts another document in the place of the message's; sequences behind it stay.
fn replace(message: &mut Vec<u8>, document: &[u8]) {
    let length = number(message, BODY) as usize;
    let sequences = message[BODY + length..].to_vec();
    let bytes = [document, &sequences].concat();
    replace_all(message, &bytes);
}

fn replace_all(message: &mut Vec<u8>, bytes: &[u8]) {
    message.truncate(BODY);
    message.extend_from_slice(bytes);
    // No checksum follows any more.
    message[16] &= !1;
    let length = message.len() as i32;
    message[..4].copy_from_slice(&length.to_le_bytes());
}

/// An `OP_MSG` reply to `request`.
fn reply(request: i32, body: &RawDocumentBuf) -> Vec<u8> {
    let length = BODY + body.as_bytes().len();
    let mut message = Vec::with_capacity(length);
    for number in [length as i32, 1, request, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(body.as_bytes());
    message
}
