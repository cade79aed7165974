//! `tailwater tail`: the stream on the standard output, with no Kafka and no checkpoint.

use super::{Chosen, StreamArg};
use crate::change::event::Event;
use crate::config::{JsonMode, StartAt};
use crate::encode::envelope::{self, Shape};
use crate::encode::json;
use crate::error::{Code, Error};
use crate::fields::Fields;
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::process;
use crate::source::Filter;
use crate::source::cursor::Cursor;
use crate::source::reply::Reply;
use crate::source::split::{Merged, Merger, SplitError};
use crate::source::start;
use crate::stream::opening;
use jiff::Timestamp;
use std::io::{self, Write};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TailArgs {
    #[command(flatten)]
    pub which: StreamArg,
    /// Print the envelopes that Kafka would get with FORMAT=tailwater, one a line
    #[arg(long)]
    json: bool,
    /// From a time on, as 2024-01-31T12:00:00Z, instead of from now
    #[arg(long)]
    from: Option<Timestamp>,
    /// Stop after so many changes
    #[arg(long, short = 'n')]
    count: Option<u64>,
}

/// Prints changes until `stop`, until there were enough, or until nobody reads them.
///
/// # Errors
/// What the source says; looking is not worth a second attempt.
pub async fn run(
    args: &TailArgs,
    chosen: Chosen<'_>,
    stop: CancellationToken,
) -> Result<u8, Error> {
    let printed = stop.run_until_cancelled(print_changes(args, chosen)).await;
    match printed {
        Some(Err(End::Source(error))) => Err(error),
        None | Some(Ok(()) | Err(End::Unread)) => Ok(0),
    }
}

enum End {
    Source(Error),
    /// The reader of the standard output has gone away, as in `| head`.
    Unread,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Unread
    }
}

async fn print_changes(args: &TailArgs, chosen: Chosen<'_>) -> Result<(), End> {
    let failed = |error| {
        End::Source(errors::error(
            "reading the change stream",
            &error,
            Phase::Other,
        ))
    };
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut cursor = open(args, chosen).await.map_err(End::Source)?;
    let mut merger = Merger::default();
    let filter = Filter::of(chosen.stream);
    let mut fields = Fields::of(chosen.stream.sink.fields.as_ref());
    let shape = Shape::of(chosen.stream.sink.envelope.as_ref());
    let mut line = Vec::new();
    while left > 0 {
        let Some(batch) = cursor.next().await.map_err(failed)? else {
            return Ok(());
        };
        let reply = Reply::new(batch, None);
        for raw in reply.events().map_err(malformed)? {
            let event = Event::parse(raw.map_err(malformed)?).map_err(malformed)?;
            let whole;
            let event = match merger.take(&event).map_err(malformed)? {
                Merged::Whole => event,
                Merged::Fragment => continue,
                Merged::Complete(merged) => {
                    whole = merged;
                    Event::parse(&whole).map_err(malformed)?
                }
            };
            if filter.leaves_out(&event) {
                continue;
            }
            let mut room = Vec::new();
            let event = match &mut fields {
                None => event,
                Some(fields) => match fields.apply(&event, &mut room) {
                    Ok(event) => event,
                    Err(why) => {
                        let detail = format!(
                            "an event of {}.{} ({}) cannot be shown: {why}",
                            event.database, event.collection, event.operation_name
                        );
                        return Err(End::Source(Error::new(Code::RecordRefused, detail)));
                    }
                },
            };
            line.clear();
            write(
                &mut line,
                &event,
                args.json,
                chosen.stream.pipeline.json_mode,
                &shape,
            );
            line.push(b'\n');
            let mut out = io::stdout().lock();
            out.write_all(&line)?;
            out.flush()?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn malformed(why: impl Into<SplitError>) -> End {
    let detail = format!(
        "reading the change stream: {}{}",
        why.into(),
        SourceFault::Malformed.remedy()
    );
    End::Source(Error::new(Code::SourceMalformed, detail))
}

async fn open(args: &TailArgs, chosen: Chosen<'_>) -> Result<Cursor, Error> {
    let start_at =
        match args.from {
            None => StartAt::Now,
            Some(time) => StartAt::Time(u32::try_from(time.as_second()).map_err(|_| {
                Error::new(Code::Config, "--from takes a time between 1970 and 2106")
            })?),
        };
    let client = process::connect(&chosen.config.mongo, &chosen.stream.id, 1).await?;
    let start = start::without_checkpoint(&client, &start_at, 1).await?;
    let opened = opening::open(&client, chosen.stream, &start, 1_000).await;
    let (cursor, _) =
        opened.map_err(|error| errors::error("opening the change stream", &error, Phase::Other))?;
    Ok(cursor)
}

/// One change: the envelope, or time, operation, namespace, key, and the document or what was updated.
fn write(line: &mut Vec<u8>, event: &Event<'_>, as_json: bool, mode: JsonMode, shape: &Shape) {
    if as_json && envelope::write_as(line, mode, shape, event).is_ok() {
        return;
    }
    let time = event
        .timestamp_millis()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map_or_else(String::new, |time| format!("{time:.3}"));
    let head = format!(
        "{time}  {:<8}  {}.{}  ",
        event.operation_name, event.database, event.collection
    );
    line.extend_from_slice(head.as_bytes());
    if let Some(key) = event.document_key {
        // What cannot be written is left out: the line says that there was a change.
        let _ = json::write_document(line, mode, key);
        line.extend_from_slice(b"  ");
    }
    let whole = event
        .full_document
        .and_then(|element| element.as_document());
    if let Some(shown) = event.update_description.or(whole) {
        let _ = json::write_document(line, mode, shown);
    }
    while line.last() == Some(&b' ') {
        line.pop();
    }
}
