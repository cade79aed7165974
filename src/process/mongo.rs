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

/// Builds the client; nothing is sent yet. `name` is what the server's log calls it.
///
/// # Errors
/// [`Code::Config`] for a URI that the driver refuses, [`Code::SourceUnavailable`] while the hosts behind
/// a `mongodb+srv://` cannot be looked up.
pub async fn connect(mongo: &Mongo, name: &str) -> Result<Client, Error> {
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
    options
        .server_selection_timeout
        .get_or_insert(SERVER_SELECTION);
    Client::with_options(options).map_err(failed)
}
