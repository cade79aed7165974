//! Whether the change stream can be opened and kept, looked at before it is.
//!
//! Each look gives a [`Finding`]; the first that makes the rest pointless ends the report. Nothing
//! is written, and what the user may not read is said to be unknown rather than wrong.

mod data;
mod eventless;
mod reach;
mod stranger;

use super::capabilities::{self, Learned};
use super::cursor::Start;
use super::filter::Filter;
use super::oplog;
use super::watch::{Images, Watch, change_stream_options};
use crate::config::{Mongo, Scope, StreamSpec};
use crate::error::Code;
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::preflight::{Finding, Report, Severity};
use bson::doc;
use mongodb::{Client, Database};
use reach::Server;
use std::time::Duration;

/// How long one look may take after the server was reached.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks at everything the configured stream needs of MongoDB, and at how far back the oplog reaches.
///
/// A server that cannot be reached costs the client's server selection time-out.
pub async fn run(client: &Client, mongo: &Mongo, stream: &StreamSpec) -> Report {
    let mut report = Report::default();
    let Some(server) = look(client, mongo, stream, &mut report).await else {
        return report;
    };
    if report.severity() != Severity::Error {
        let asking = async { capabilities(client, stream).await };
        report.extend(within(asking).await.flatten());
    }
    if !server.is_sharded() && report.severity() != Severity::Error {
        let window = async { oplog::window(client, &oplog::oldest(client).await).await };
        report.extend(within(window).await);
    }
    report
}

/// Looks at what decides whether the stream can be opened, and at nothing else: this is on the way to
/// the first event. The rest is told by [`headroom`](super::headroom) when the stream is open.
pub async fn before_opening(client: &Client, mongo: &Mongo, stream: &StreamSpec) -> Report {
    let mut report = Report::default();
    look(client, mongo, stream, &mut report).await;
    report
}

/// What is known of a server that has not answered yet; none where it may only be slow.
pub async fn silence(mongo: &Mongo) -> Option<Finding> {
    reach::silence(mongo).await
}

/// Adds what is found to `report`; gives the server if it could be reached.
async fn look(
    client: &Client,
    mongo: &Mongo,
    stream: &StreamSpec,
    report: &mut Report,
) -> Option<Server> {
    let opened = stream.source.opened();
    let server = match reach::server(client, mongo, &opened).await {
        Ok(server) => server,
        Err(finding) => {
            report.push(finding);
            return None;
        }
    };
    report.push(Finding::ok("mongodb.reachable", server.describe()));
    report.push(version(&server));
    let filter = Filter::of(stream);
    let privileges = within(privileges(client, mongo, stream, &opened)).await;
    let may_read = privileges
        .as_ref()
        .is_none_or(|f| f.severity != Severity::Error);
    report.extend(privileges);
    if !may_read {
        return Some(server);
    }
    report.extend(
        within(data::run(client, &stream.source, &filter, &server))
            .await
            .unwrap_or_default(),
    );
    Some(server)
}

/// A look that takes too long is left out: what it would have said shows at the opening.
async fn within<T>(look: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, look).await.ok()
}

/// What is known of the server by its version. What it lacks is found out by asking.
fn version(server: &Server) -> Finding {
    const NAME: &str = "mongodb.version";
    let version = &server.version;
    match server.is_at_least((4, 4, 0)) {
        true => Finding::ok(NAME, format!("MongoDB {version}")),
        false => Finding::warn(
            NAME,
            format!("MongoDB {version} is older than 4.4, for which Tailwater is made"),
        ),
    }
}

/// What the server's change streams can do.
async fn capabilities(client: &Client, stream: &StreamSpec) -> Option<Finding> {
    const NAME: &str = "mongodb.change_streams";
    let watch = Watch::of(stream);
    capabilities::survey(client, &watch).await?;
    let described = watch.capabilities.describe()?;
    Some(match watch.capabilities.is_short() {
        true => Finding::warn(NAME, described),
        false => Finding::ok(NAME, described),
    })
}

/// Opens the very stream the run would, and closes it again.
async fn privileges(client: &Client, mongo: &Mongo, stream: &StreamSpec, scope: &Scope) -> Finding {
    const NAME: &str = "mongodb.privileges";
    let options = change_stream_options(&stream.source, Images::Configured);
    // A stream that starts now, whatever the checkpoint says: only the privilege is in question.
    let mut pipeline = vec![doc! {"$changeStream": options}];
    pipeline.extend(Filter::of_listeners(stream).stages());
    let database = watched(client, scope);
    let command = doc! {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 0}};
    match database.run_command(command).await {
        Ok(reply) => {
            capabilities::close(&database, &reply).await;
            Finding::ok(
                NAME,
                match scope {
                    Scope::Database(name) => format!("may watch and read database {name}"),
                    Scope::Deployment { .. } => "may watch and read all databases".into(),
                },
            )
        }
        Err(error) => {
            // What was not asked for is not to blame.
            let watch = Watch {
                splits: false,
                ..Watch::of(stream)
            };
            let learned = capabilities::learn(client, &watch, &Start::Now, &error).await;
            if let Learned::Missing(why) = learned {
                return Finding::error(NAME, Code::SourceRefused, why);
            }
            refusal(
                NAME,
                mongo,
                scope,
                &error,
                database.name(),
                "opening the change stream",
            )
            .await
        }
    }
}

/// The database a change stream of this scope is opened on.
fn watched(client: &Client, scope: &Scope) -> Database {
    match scope {
        Scope::Database(name) => client.database(name),
        Scope::Deployment { .. } => client.database("admin"),
    }
}

/// What an error of the server amounts to, with the command that helps.
async fn refusal(
    name: &'static str,
    mongo: &Mongo,
    scope: &Scope,
    error: &mongodb::error::Error,
    database: &str,
    attempt: &str,
) -> Finding {
    let said = describe(error);
    let fault = errors::classify(error, Phase::Other);
    let refused = |sentence: String| Finding::error(name, fault.code(), sentence);
    let user = User::of(mongo).await;
    let (role, on) = match scope {
        Scope::Database(name) => ("read", name.as_str()),
        Scope::Deployment { .. } => ("readAnyDatabase", "admin"),
    };
    match fault {
        SourceFault::Credentials => refused(format!(
            "MongoDB refuses the credentials of {}: {said}",
            user.or_none()
        ))
        .remedy(format!(
            "check the user, the password and authSource in MONGODB_URI, or make the user:\n{}",
            user.create(role, on)
        )),
        SourceFault::Unauthorized => {
            let on_what = match scope {
                Scope::Database(name) => format!("database {name}"),
                Scope::Deployment { .. } => "all databases".into(),
            };
            let lacks = "lacks the privileges changeStream and find on";
            refused(format!("{} {lacks} {on_what}", user.or_none())).remedy(match user.is_given {
                true => format!("grant the role that has both:\n{}", user.grant(role, on)),
                false => format!(
                    "make a user and put it into MONGODB_URI:\n{}",
                    user.create(role, on)
                ),
            })
        }
        SourceFault::Standalone => reach::standalone(),
        _ if fault.is_transient() => {
            Finding::not_yet(name, Code::SourceUnavailable, format!("{attempt}: {said}"))
        }
        _ => refused(format!(
            "the server refuses a change stream on {database}: {said}"
        ))
        .remedy("check CHANGE_STREAM_PIPELINE, FULL_DOCUMENT and the names in the lists"),
    }
}

/// Who Tailwater logs in as.
struct User {
    name: String,
    source: String,
    is_given: bool,
}

impl User {
    async fn of(mongo: &Mongo) -> Self {
        let options = mongodb::options::ClientOptions::parse(mongo.uri.expose()).await;
        let credential = options.ok().and_then(|options| options.credential);
        let source = credential.as_ref().and_then(|c| c.source.clone());
        let name = credential.and_then(|credential| credential.username);
        Self {
            is_given: name.is_some(),
            name: name.unwrap_or_else(|| "tailwater".into()),
            source: source.unwrap_or_else(|| "admin".into()),
        }
    }

    fn create(&self, role: &str, on: &str) -> String {
        format!(
            "db.getSiblingDB({:?}).createUser({{user: {:?}, pwd: passwordPrompt(), \
             roles: [{{role: {role:?}, db: {on:?}}}]}})",
            self.source, self.name
        )
    }

    fn grant(&self, role: &str, on: &str) -> String {
        format!(
            "db.getSiblingDB({:?}).grantRolesToUser({:?}, [{{role: {role:?}, db: {on:?}}}])",
            self.source, self.name
        )
    }

    fn or_none(&self) -> String {
        match self.is_given {
            true => format!("user {}", self.name),
            false => "a connection without a user".into(),
        }
    }
}

#[cfg(test)]
mod tests;
