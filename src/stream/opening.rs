//! Opens the change stream for an incarnation, waiting for what heals by itself.

use super::incarnation::Rooms;
use crate::change::position::{Position, ResumeToken};
use crate::error::Error;
use crate::mongo::errors::{self, Moment, SourceFault};
use crate::retry::Delays;
use crate::source::cursor::{Cursor, Start};
use crate::source::reader::READ_PATIENCE;
use crate::status::waiting::Awaited;
use bson::RawDocumentBuf;

/// What an incarnation begins with.
pub struct Opened {
    /// None where the server does not find the position's token: the reader looks for its time.
    pub cursor: Option<Cursor>,
    pub position: Position,
    /// The event that tells of lost history, to go before all others.
    pub gap: Option<RawDocumentBuf>,
}

/// Opens a cursor and gives it with the position it starts from; none when asked to stop. There is no cursor
/// where the server does not find the token to start after.
///
/// # Errors
/// What does not heal by itself, or not within `delays`.
pub async fn cursor(
    rooms: &Rooms,
    start: &Start,
    delays: &mut Delays,
) -> Result<Option<(Option<Cursor>, Option<ResumeToken>)>, Error> {
    loop {
        let events = rooms.batch_size.events();
        let opening = Cursor::open(&rooms.client, &rooms.watch, start, events, false);
        let opened = tokio::select! {
            () = rooms.stop.cancelled() => return Ok(None),
            opened = rooms.board.waits.on(Awaited::MongoDb, opening) => opened,
        };
        let error = match opened {
            Ok((cursor, first)) => {
                rooms.board.mongo_refuses.set(false);
                return Ok(Some((Some(cursor), first.post_batch_token())));
            }
            Err(error) => error,
        };
        let fault = errors::classify(&error, moment(start));
        if fault == SourceFault::TokenNotFound {
            return Ok(Some((None, None)));
        }
        rooms.board.mongo_refuses.set(fault.is_of_the_user());
        let attempt = "opening the change stream";
        let error = errors::of_fault(attempt, fault, rooms.stage(), &error);
        rooms.board.mongo_connected.set(false);
        if !pause(rooms, error, delays).await? {
            return Ok(None);
        }
    }
}

/// What the first reply of a cursor says of the place it was opened at.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Ahead {
    /// It is there.
    Ready(Cursor),
    /// Its token is not found.
    TokenNotFound,
    /// Something else came between, which the reader will see to with a cursor of its own.
    Unknown,
}

/// Asks a cursor that was opened at `start` for its first reply, and keeps it there: a server looks only then
/// whether it still holds the place.
///
/// # Errors
/// [`Code::HistoryLost`](crate::error::Code::HistoryLost) and
/// [`Code::TokenInvalid`](crate::error::Code::TokenInvalid) where it cannot.
pub async fn look_ahead(rooms: &Rooms, mut cursor: Cursor, start: &Start) -> Result<Ahead, Error> {
    let looked = tokio::select! {
        () = rooms.stop.cancelled() => return Ok(Ahead::Ready(cursor)),
        looked = rooms.board.waits.on(
            Awaited::MongoDb,
            tokio::time::timeout(READ_PATIENCE, cursor.look_ahead()),
        ) => looked,
    };
    match looked {
        Ok(Ok(())) => Ok(Ahead::Ready(cursor)),
        Ok(Err(error)) => match errors::classify(&error, moment(start)) {
            SourceFault::TokenNotFound => Ok(Ahead::TokenNotFound),
            fault @ (SourceFault::HistoryLost | SourceFault::TokenInvalid) => {
                let attempt = "reading the change stream";
                Err(errors::of_fault(attempt, fault, rooms.stage(), &error))
            }
            _ => Ok(Ahead::Unknown),
        },
        Err(_elapsed) => Ok(Ahead::Unknown),
    }
}

/// What an error means for a stream that is being opened at `start`.
pub fn moment(start: &Start) -> Moment {
    match start {
        Start::After(_) => Moment::Resuming,
        Start::At(_) | Start::Now => Moment::Other,
    }
}

/// Waits before the next attempt; false when asked to stop meanwhile.
///
/// # Errors
/// The error itself, when there should be no other attempt.
pub async fn pause(rooms: &Rooms, error: Error, delays: &mut Delays) -> Result<bool, Error> {
    let delay = match delays.after(error.policy) {
        Ok(delay) => delay,
        Err(given_up) => return Err(given_up.error(error)),
    };
    rooms.board.source_error.set(error.detail.as_str());
    tracing::warn!(code = error.code.name(), %error, "trying again");
    Ok(tokio::select! {
        () = rooms.stop.cancelled() => false,
        () = rooms.board.waits.on(Awaited::MongoDb, tokio::time::sleep(delay)) => true,
    })
}
