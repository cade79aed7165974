//! Opens the change stream of a configuration for a command: once, without waiting for anything.

use crate::config::Config;
use crate::mongo::errors;
use crate::process;
use crate::source::cursor::{Cursor, Start};
use crate::source::reply::Reply;
use crate::stream::opening::moment;
use mongodb::Client;

/// Opens a cursor and gives it with the first reply, which holds no events; goes without splitting where
/// the server does not know it.
///
/// # Errors
/// The driver's error.
pub(super) async fn open(
    client: &Client,
    config: &Config,
    start: &Start,
    batch_events: u32,
) -> Result<(Cursor, Reply), mongodb::error::Error> {
    let mut watch = process::watch(config);
    loop {
        match Cursor::open(client, &watch, start, batch_events, false).await {
            Err(error) if watch.give_up_splitting(errors::classify(&error, moment(start))) => {}
            opened => return opened,
        }
    }
}
