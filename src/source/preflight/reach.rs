//! Reaching the server, and finding out why not.

use super::{refusal, stranger};
use crate::config::{Mongo, Scope};
use crate::error::Code;
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::mongo::hosts;
use crate::preflight::Finding;
use bson::{Document, doc};
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria, ServerAddress, Tls};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

const NAME: &str = "mongodb.reachable";

/// How many hosts of a connection string are asked one by one.
const MAX_HOSTS: usize = 3;

/// How long a host may take to open a connection.
const KNOCK_PATIENCE: Duration = Duration::from_secs(3);

/// What a server says of itself.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// As `buildInfo` gives it, else guessed from the wire version.
    pub(super) version: String,
    number: (u32, u32, u32),
    /// The replica set's name; `None` for a sharded cluster.
    set: Option<String>,
}

impl Server {
    pub(super) fn is_sharded(&self) -> bool {
        self.set.is_none()
    }

    pub(super) fn is_at_least(&self, number: (u32, u32, u32)) -> bool {
        self.number >= number
    }

    pub(super) fn describe(&self) -> String {
        match &self.set {
            Some(set) => format!("replica set {set} has a primary"),
            None => "a sharded cluster answers".into(),
        }
    }

    pub(super) fn new(version: &str, set: Option<&str>) -> Self {
        let mut numbers = version
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            number: (next(), next(), next()),
            version: version.to_owned(),
            set: set.map(str::to_owned),
        }
    }
}

/// What kind of server sent this `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Sharded,
    Member {
        set: String,
        has_primary: bool,
    },
    /// Started with `--replSet`, and nobody has called `rs.initiate()` yet.
    NotInitiated,
    Standalone,
}

impl Kind {
    pub(super) fn of(hello: &Document) -> Self {
        if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            return Self::Sharded;
        }
        if let Ok(set) = hello.get_str("setName") {
            let is_primary = hello.get_bool("isWritablePrimary").unwrap_or(false);
            let has_primary = is_primary || hello.contains_key("primary");
            return Self::Member {
                set: set.to_owned(),
                has_primary,
            };
        }
        match hello.get_bool("isreplicaset") {
            Ok(true) => Self::NotInitiated,
            _ => Self::Standalone,
        }
    }
}

/// Greets the server; the error is the finding of why it cannot be used now.
pub(super) async fn server(
    client: &Client,
    mongo: &Mongo,
    scope: &Scope,
) -> Result<Server, Finding> {
    let admin = client.database("admin");
    // Any member will do: which one is the primary, or that there is none, is in its answer.
    let nearest = SelectionCriteria::ReadPreference(ReadPreference::Nearest { options: None });
    let hello = match admin
        .run_command(doc! {"hello": 1})
        .selection_criteria(nearest)
        .await
    {
        Ok(hello) => hello,
        Err(error) => return Err(unreachable(mongo, scope, &error).await),
    };
    let set = match Kind::of(&hello) {
        Kind::Sharded => None,
        Kind::Member {
            has_primary: false,
            set,
        } => return Err(no_primary(&set)),
        Kind::Member { set, .. } => Some(set),
        Kind::NotInitiated => return Err(not_initiated()),
        Kind::Standalone => return Err(standalone()),
    };
    let version = match admin.run_command(doc! {"buildInfo": 1}).await {
        Ok(info) => info.get_str("version").map(str::to_owned).ok(),
        Err(error) => match errors::classify(&error, Phase::Other) {
            // The credentials show at the first command that needs them.
            SourceFault::Credentials => {
                return Err(refusal(NAME, mongo, scope, &error, "admin", "logging in").await);
            }
            _ => None,
        },
    };
    let version = version.unwrap_or_else(|| by_wire_version(&hello).into());
    Ok(Server::new(&version, set.as_deref()))
}

/// The oldest release of a wire version.
fn by_wire_version(hello: &Document) -> &'static str {
    match hello.get_i32("maxWireVersion").unwrap_or(0) {
        25.. => "8.0.0",
        21..=24 => "7.0.0",
        17..=20 => "6.0.0",
        13..=16 => "5.0.0",
        9..=12 => "4.4.0",
        _ => "4.2.0",
    }
}

pub(super) fn standalone() -> Finding {
    Finding::error(
        NAME,
        Code::SourceRefused,
        "the server is a standalone, and change streams need a replica set",
    )
    .remedy(
        "one server is enough: start mongod with --replSet rs0, and once, in mongosh, run \
         rs.initiate()",
    )
}

fn not_initiated() -> Finding {
    let sentence = "the server was started for a replica set that is not initiated yet";
    Finding::not_yet(NAME, Code::SourceUnavailable, sentence)
        .remedy("once, in mongosh, run rs.initiate()")
}

fn no_primary(set: &str) -> Finding {
    let sentence = format!("replica set {set} has no primary now");
    Finding::not_yet(NAME, Code::SourceUnavailable, sentence)
        .remedy("it elects one by itself while most of its members are up: rs.status() shows them")
}

/// Why nothing answers as the connection string says it should: asks each host by itself.
async fn unreachable(mongo: &Mongo, scope: &Scope, error: &mongodb::error::Error) -> Finding {
    if !may_pass(errors::classify(error, Phase::Other)) {
        return refusal(NAME, mongo, scope, error, "admin", "reaching MongoDB").await;
    }
    let plain = |sentence: String| Finding::not_yet(NAME, Code::SourceUnavailable, sentence);
    let Ok(options) = ClientOptions::parse(mongo.uri.expose()).await else {
        return plain(format!("MongoDB cannot be reached: {}", describe(error)));
    };
    let mut silent = Vec::new();
    for address in options.hosts.iter().take(MAX_HOSTS) {
        if let Err(reason) = knock(address).await {
            if Code::of_system(&reason, Code::SourceUnavailable) == Code::Exhausted {
                return exhausted(address, &reason);
            }
            silent.push(format!("{address}: {reason}"));
            continue;
        }
        if let Some(stranger) = speaks(address, &options).await {
            silent.push(format!("{address}: {stranger}"));
            continue;
        }
        let mut direct = options.clone();
        direct.hosts = vec![address.clone()];
        direct.direct_connection = Some(true);
        direct.repl_set_name = None;
        direct.server_selection_timeout = Some(Duration::from_secs(3));
        direct.connect_timeout = Some(Duration::from_secs(3));
        direct.sdam_event_handler = Some(hosts::listener());
        let Ok(client) = Client::with_options(direct) else {
            continue;
        };
        match client
            .database("admin")
            .run_command(doc! {"hello": 1})
            .await
        {
            Ok(hello) => return answered(&address.to_string(), &hello, &options),
            Err(error) => match errors::classify(&error, Phase::Other) {
                fault if may_pass(fault) => silent.push(format!("{address}: {}", why(&error))),
                _ => return refusal(NAME, mongo, scope, &error, "admin", "reaching MongoDB").await,
            },
        }
    }
    no_answer(&silent)
}

/// Whether a start waits for it: also for what is no MongoDB now, as a proxy whose server is not up yet.
fn may_pass(fault: SourceFault) -> bool {
    fault.is_transient() || fault == SourceFault::Malformed
}

fn exhausted(address: &ServerAddress, reason: &io::Error) -> Finding {
    let sentence = format!("no connection to {address} can be made ({reason})");
    Finding::error(NAME, Code::Exhausted, sentence)
        .remedy("raise the limit on open files of this process (ulimit -n)")
}

fn no_answer(silent: &[String]) -> Finding {
    let sentence = format!("MongoDB does not answer ({})", silent.join("; "));
    Finding::not_yet(NAME, Code::SourceUnavailable, sentence)
        .remedy("is it up, is the address right, does a firewall or TLS stand between?")
}

/// What can be said of a server that has not answered yet: something where no MongoDB listens at any of its
/// addresses, nothing where it may only be slow.
pub(super) async fn silence(mongo: &Mongo) -> Option<Finding> {
    let options = ClientOptions::parse(mongo.uri.expose()).await.ok()?;
    let mut silent = Vec::new();
    for address in options.hosts.iter().take(MAX_HOSTS) {
        match knock(address).await {
            Err(reason) => silent.push(format!("{address}: {reason}")),
            Ok(()) => silent.push(format!("{address}: {}", speaks(address, &options).await?)),
        }
    }
    Some(no_answer(&silent))
}

/// What listens there instead of MongoDB, as far as its first bytes tell. With TLS the driver says it.
async fn speaks(address: &ServerAddress, options: &ClientOptions) -> Option<&'static str> {
    if matches!(options.tls, Some(Tls::Enabled(_))) {
        return None;
    }
    let connection = connect(address).await.ok()??;
    stranger::on(connection).await
}

/// Whether anybody listens there. The driver knows, too, but waits for a change all the same.
async fn knock(address: &ServerAddress) -> io::Result<()> {
    connect(address).await.map(drop)
}

/// A connection; none to a socket in the file system.
async fn connect(address: &ServerAddress) -> io::Result<Option<TcpStream>> {
    let ServerAddress::Tcp { host, port } = address else {
        return Ok(None);
    };
    // Brackets are the URI's: an address has none.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connecting = TcpStream::connect((host, port.unwrap_or(27017)));
    match tokio::time::timeout(KNOCK_PATIENCE, connecting).await {
        Ok(connected) => connected.map(Some),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer within 3 s",
        )),
    }
}

/// The short of an error of the network: the driver's own text repeats the topology.
fn why(error: &mongodb::error::Error) -> String {
    match error.kind.as_ref() {
        // What was heard of the host, where anything was.
        ErrorKind::ServerSelection { message, .. } => {
            hosts::heard_of(message).unwrap_or_else(|| "no answer within 3 s".into())
        }
        ErrorKind::Io(error) => error.to_string(),
        _ => describe(error),
    }
}

/// A host answers by itself, and yet the connection string leads nowhere.
fn answered(address: &str, hello: &Document, options: &ClientOptions) -> Finding {
    match (Kind::of(hello), &options.repl_set_name) {
        (Kind::Standalone, _) => standalone(),
        (Kind::NotInitiated, _) => not_initiated(),
        (Kind::Sharded, _) => Finding::error(
            NAME,
            Code::SourceRefused,
            format!("{address} is the router of a sharded cluster, and MONGODB_URI has replicaSet"),
        )
        .remedy("take replicaSet out of MONGODB_URI"),
        (Kind::Member { set, .. }, Some(asked)) if set != *asked => Finding::error(
            NAME,
            Code::SourceRefused,
            format!("{address} is a member of replica set {set}, and MONGODB_URI has {asked}"),
        )
        .remedy(format!("set replicaSet={set} in MONGODB_URI")),
        (
            Kind::Member {
                set,
                has_primary: false,
            },
            _,
        ) => no_primary(&set),
        (Kind::Member { set, .. }, _) => {
            let members = hello.get_array("hosts").into_iter().flatten();
            let members: Vec<&str> = members.filter_map(|host| host.as_str()).collect();
            Finding::not_yet(
                NAME,
                Code::SourceUnavailable,
                format!(
                    "{address} answers, but replica set {set} names its members {}, which cannot \
                     be reached from here",
                    members.join(", ")
                ),
            )
            .remedy(
                "make these names resolve and their ports reachable here, or, with one server, \
                 put directConnection=true into MONGODB_URI",
            )
        }
    }
}
