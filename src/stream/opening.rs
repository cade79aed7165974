//! Opens the change stream of a configuration for a command: once, without waiting for anything.

use crate::config::StreamSpec;
use crate::source::Watch;
use crate::source::capabilities::{self, Learned};
use crate::source::cursor::{Cursor, Start};
use crate::source::reply::Reply;
use mongodb::Client;

/// Opens a cursor and gives it with the first reply, which holds no events; goes without what the server
/// lacks.
///
/// # Errors
/// The driver's error.
pub async fn open(
    client: &Client,
    stream: &StreamSpec,
    start: &Start,
    batch_events: u32,
) -> Result<(Cursor, Reply), mongodb::error::Error> {
    let watch = Watch::of(stream);
    loop {
        match Cursor::open(client, &watch, start, batch_events, false).await {
            Err(error) => match capabilities::learn(client, &watch, start, &error).await {
                Learned::Otherwise => {}
                Learned::Nothing | Learned::Missing(_) => return Err(error),
            },
            opened => return opened,
        }
    }
}
