//! MongoDB: one server for all tests, and dedicated ones to be broken.

use super::process::{self, Process};
use super::{PATIENCE, Proxy, cache, eventually, ports, unique};
use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The server that all tests of this run share: the one of `TAILWATER_TEST_MONGODB_URI`, else one
/// started at the first call.
pub async fn mongo() -> &'static Mongo {
    static SHARED: OnceCell<Mongo> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            match std::env::var("TAILWATER_TEST_MONGODB_URI") {
                Ok(uri) if !uri.is_empty() => Mongo { uri, local: None },
                _ => Mongo::dedicated(&[]).await,
            }
        })
        .await
}

/// A fresh database on the shared server.
pub async fn database() -> Database {
    mongo().await.database().await
}

/// A running server.
pub struct Mongo {
    uri: String,
    local: Option<Local>,
}

/// A server of our own.
struct Local {
    process: Process,
    port: u16,
    data: PathBuf,
    args: Vec<String>,
}

impl Mongo {
    /// A server for one test alone, with options of its command line: `--auth`, `--standalone`,
    /// `--oplog-max-entries N`… It ends when it is dropped.
    pub async fn dedicated(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (port, data) = (ports::free(), process::folder("mongo"));
        let standalone = args.iter().any(|arg| arg == "--standalone");
        let mut mongo = Self {
            uri: if standalone {
                format!("mongodb://127.0.0.1:{port}/")
            } else {
                format!("mongodb://127.0.0.1:{port}/?replicaSet=secantus")
            },
            local: Some(Local {
                process: spawn(port, &data, &args),
                port,
                data,
                args,
            }),
        };
        mongo.wait_until_writable().await;
        mongo
    }

    /// A server with an oplog that [`Database::overtake_oplog`] is soon past.
    pub async fn with_small_oplog() -> Self {
        Self::dedicated(&["--oplog-max-entries", "100"]).await
    }

    /// A server that asks who one is. [`Mongo::client`] and [`Mongo::database`] may do everything;
    /// more users come with [`Mongo::add_user`].
    pub async fn with_auth() -> Self {
        let mut mongo = Self::dedicated(&[]).await;
        let everything = bson::bson!([{"role": "root", "db": "admin"}]);
        mongo.add_user("root", "root-secret", everything).await;
        mongo.local_mut().args.push("--auth".to_owned());
        mongo.restart().await;
        mongo.uri = mongo.uri_as("root", "root-secret", "");
        mongo
    }

    /// Creates a user in `admin` with roles such as `[{"role": "read", "db": "dashboard"}]`.
    pub async fn add_user(&self, user: &str, password: &str, roles: Bson) {
        let command = doc! {"createUser": user, "pwd": password, "roles": roles};
        let created = self
            .client()
            .await
            .database("admin")
            .run_command(command)
            .await;
        created.unwrap_or_else(|error| panic!("cannot create the user {user}: {error}"));
    }

    /// The connection string of a user made by [`Mongo::add_user`].
    pub fn uri_as(&self, user: &str, password: &str, database: &str) -> String {
        let port = self.local().port;
        format!(
            "mongodb://{user}:{password}@127.0.0.1:{port}/{database}\
             ?replicaSet=secantus&authSource=admin"
        )
    }

    /// A fresh database of this server.
    pub async fn database(&self) -> Database {
        self.database_named(&unique("db")).await
    }

    /// The database of that name.
    pub async fn database_named(&self, name: &str) -> Database {
        let uri = self.uri_of(name);
        let client = client(&uri).await;
        Database {
            uri,
            inner: client.database(name),
            client,
        }
    }

    /// A connection string without a database, as for a deployment-wide stream.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        let hosts = self.uri.split("//").nth(1);
        let host = hosts.and_then(|rest| rest.split('/').next()).unwrap();
        host.parse().unwrap()
    }

    /// The connection string with `database` in its path.
    pub fn uri_of(&self, database: &str) -> String {
        with_database(&self.uri, database)
    }

    /// The connection string for `database` that goes through `proxy` (see [`Mongo::proxy`]).
    pub fn uri_through(&self, proxy: &Proxy, database: &str) -> String {
        // Discovery would tell the client the server's own address, past the proxy.
        format!(
            "mongodb://{}/{database}?directConnection=true",
            proxy.addr()
        )
    }

    /// A fault proxy in front of a dedicated server.
    pub async fn proxy(&self) -> Proxy {
        let port = self.local().port;
        Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
    }

    /// A client of this test's runtime.
    pub async fn client(&self) -> Client {
        client(&self.uri).await
    }

    /// Kills it as a crash does; [`Mongo::restart`] brings it back.
    pub fn kill9(&mut self) {
        self.local_mut().process.kill9();
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn stop_signal(&mut self) {
        self.local_mut().process.signal(Signal::STOP);
    }

    /// Ends [`Mongo::stop_signal`].
    pub fn cont(&mut self) {
        self.local_mut().process.signal(Signal::CONT);
    }

    /// Starts it again (killing it first where it still runs), on the same data and port.
    pub async fn restart(&mut self) {
        let local = self.local_mut();
        local.process.kill9();
        local.process = spawn(local.port, &local.data, &local.args);
        self.wait_until_writable().await;
    }

    /// As [`Mongo::restart`], with other options: users are made first and `--auth` comes after.
    pub async fn restart_with(&mut self, args: &[&str]) {
        self.local_mut().args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.restart().await;
    }

    /// The server's own log.
    pub fn log(&self) -> String {
        self.local().process.output()
    }

    async fn wait_until_writable(&mut self) {
        let client = client(&format!(
            "mongodb://127.0.0.1:{}/?directConnection=true",
            self.local().port
        ))
        .await;
        eventually(PATIENCE, "mongodb is writable", async || {
            let process = &mut self.local_mut().process;
            if let Some(status) = process.exit_status() {
                panic!("mongodb ended with {status}:\n{}", process.output());
            }
            let hello = client
                .database("admin")
                .run_command(doc! {"hello": 1})
                .await;
            hello
                .is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
                .then_some(())
        })
        .await;
    }

    fn local(&self) -> &Local {
        self.local.as_ref().expect(NOT_OURS)
    }

    fn local_mut(&mut self) -> &mut Local {
        self.local.as_mut().expect(NOT_OURS)
    }
}

const NOT_OURS: &str = "the shared server is not to be broken: use Mongo::dedicated";

fn spawn(port: u16, data: &PathBuf, args: &[String]) -> Process {
    Process::spawn(
        "mongodb",
        Command::new(&cache::programs().mongod)
            // A configuration file of the machine's own must not be found.
            .current_dir(data)
            .args(["--port", &port.to_string()])
            .args([
                "--cache-size",
                "512M",
                "--log-level",
                "WARNING",
                "--storage-path",
            ])
            .arg(data)
            // What was acknowledged must survive a kill, as it does on a real server.
            .arg("--sync-on-commit")
            .args(args),
    )
}

async fn client(uri: &str) -> Client {
    let mut options = mongodb::options::ClientOptions::parse(uri)
        .await
        .unwrap_or_else(|error| panic!("{uri}: {error}"));
    options.server_selection_timeout = Some(Duration::from_secs(15));
    Client::with_options(options).expect("parsed options are valid")
}

/// Puts `database` into the path of a connection string, in place of what is there.
fn with_database(uri: &str, database: &str) -> String {
    let (scheme, rest) = uri.split_once("://").expect("a connection string");
    let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, _) = address.split_once('/').unwrap_or((address, ""));
    format!("{scheme}://{hosts}/{database}?{options}")
}

/// A database that one test has for itself; also a [`mongodb::Database`].
pub struct Database {
    uri: String,
    pub client: Client,
    inner: mongodb::Database,
}

impl Database {
    /// The connection string with this database in its path.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// A topic name of this database's own: `<database>.<name>`.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    /// A collection of plain documents.
    pub fn documents(&self, collection: &str) -> Collection<Document> {
        self.collection(collection)
    }

    /// Inserts far more documents than the oplog of [`Mongo::with_small_oplog`] holds, of which the last is
    /// number `last`.
    pub async fn overtake_oplog(&self, last: i32) {
        for batch in 0..20 {
            let first = last - 1000 + batch * 50;
            let documents = (first + 1..=first + 50).map(|id| doc! {"_id": id});
            let things = self.documents("things");
            things.insert_many(documents).await.unwrap();
        }
    }

    /// The indexes of a collection.
    pub async fn indexes(&self, collection: &str) -> Vec<mongodb::IndexModel> {
        use futures_util::TryStreamExt;
        let cursor = self.documents(collection).list_indexes().await.unwrap();
        cursor.try_collect().await.unwrap()
    }

    /// All documents of a collection, by `_id`.
    pub async fn contents(&self, collection: &str) -> Vec<Document> {
        use futures_util::TryStreamExt;
        let found = self
            .documents(collection)
            .find(doc! {})
            .sort(doc! {"_id": 1})
            .await;
        let documents = match found {
            Ok(cursor) => cursor.try_collect().await,
            Err(error) => Err(error),
        };
        documents.unwrap_or_else(|error| panic!("cannot read {collection}: {error}"))
    }
}

impl Deref for Database {
    type Target = mongodb::Database;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
