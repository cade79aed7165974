//! The process's one client of MongoDB.

use crate::config::Mongo;
use crate::error::{Code, Error};
use crate::mongo::describe::describe;
use crate::mongo::hosts;
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use std::time::Duration;

/// How long the driver looks for a server before it says that there is none.
const SERVER_SELECTION: Duration = Duration::from_secs(5);

/// Connections beside those that the cursors wait on.
const SPARE_CONNECTIONS: u32 = 10;

/// Builds the client for so many streams; nothing is sent yet. `name` is what the server's log calls it.
///
/// An idle cursor holds a connection while its `getMore` waits: with fewer connections than that, streams
/// would wait for each other.
///
/// # Errors
/// [`Code::Config`] for a URI that the driver refuses, [`Code::SourceUnavailable`] while the hosts behind
/// a `mongodb+srv://` cannot be looked up.
pub async fn connect(mongo: &Mongo, name: &str, streams: usize) -> Result<Client, Error> {
    let failed = |error: mongodb::error::Error| {
        let code = match error.kind.as_ref() {
            ErrorKind::DnsResolve { .. } => Code::SourceUnavailable,
            ErrorKind::Io(error) => Code::of_system(error, Code::SourceUnavailable),
            ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. } => Code::Config,
            _ => Code::Internal,
        };
        Error::new(code, format!("MONGODB_URI: {}", describe(&error)))
    };
    let mut options = ClientOptions::parse(mongo.uri.expose())
        .await
        .map_err(failed)?;
    options.sdam_event_handler = Some(hosts::listener());
    options
        .app_name
        .get_or_insert_with(|| format!("tailwater {name}"));
    let connections = u32::try_from(streams).unwrap_or(u32::MAX);
    options
        .max_pool_size
        .get_or_insert(connections.saturating_add(SPARE_CONNECTIONS));
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION);
    Client::with_options(options).map_err(failed)
}
