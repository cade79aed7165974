//! One page of rows: some of them at a time, so that the stream's own events do not wait.

use super::super::{End, Pump, Step, malformed};
use super::Rows;
use crate::change::event::{Event, Operation};
use crate::change::namespace::Namespace;
use crate::change::raw::{self, Element};
use crate::route::{Route, TargetId};
use crate::sink::dead_letter::{Reason, Refused};
use crate::snapshot::progress::{Produced, Progress, Renamed};
use crate::snapshot::reading::{Message, Page, Source};
use crate::stream::produce::Produce;

/// How many rows, and how many bytes of them, are sent before the stream's events have their turn.
const PORTION: usize = 250;
pub(super) const PORTION_BYTES: u64 = 256 << 10;

impl Rows {
    /// Whether nothing is wanted of a page any more.
    pub(super) fn is_obsolete(&self, page: &Page) -> bool {
        let parts = self.state.running.iter().flat_map(|p| &p.parts);
        let mut ranges = parts
            .filter(|part| part.number == page.part)
            .flat_map(|part| &part.ranges);
        !ranges.any(|range| range.number == page.range)
    }

    /// Whether the collection of a page became another since its window was opened.
    pub(super) fn is_void(&self, page: &Page) -> bool {
        let parts = self.state.running.iter().flat_map(|p| &p.parts);
        let mut parts = parts.filter(|part| part.number == page.part);
        parts.any(|part| {
            let at = &part.at;
            self.touched
                .is_void(&page.window, &at.database, &at.collection)
        })
    }
}

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Sends some rows of a page whose time the stream has passed.
    pub(super) async fn page(&mut self, page: Page) -> Step {
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        let Some(progress) = &mut rows.state.running else {
            return Ok(());
        };
        let snapshot = progress.id.clone();
        let Some(part) = progress.part(page.part) else {
            return Ok(());
        };
        let at = part.at.clone();
        let place = (at.database.as_str(), at.collection.as_str());
        let operation = rows.source.spec.operation;
        let is_sharded = rows.marks.is_sharded();
        let is_careful = rows.desk.is_careful();
        let mut events = std::mem::take(&mut rows.events);
        let mut produced = Produced::default();
        let mut again = Vec::new();
        let mut last: Option<Element<'_>> = None;
        let (mut taken, mut is_more, mut ended) = (0, false, Ok(()));
        for raw in page.reply.events().map_err(malformed)?.skip(rows.done) {
            if taken >= PORTION || produced.bytes >= PORTION_BYTES {
                is_more = true;
                break;
            }
            let raw = match raw {
                Ok(raw) => raw,
                Err(error) => {
                    ended = Err(malformed(error));
                    break;
                }
            };
            let id = raw::find(raw, "_id").ok().flatten();
            let Some(rows) = &self.rows else {
                break;
            };
            let touch = id.and_then(|id| rows.touched.document(&page.window, place.0, place.1, id));
            match (touch, id) {
                // Of several shards, another may have a document of this `_id`.
                (Some(touch), _) if touch.is_whole && !is_sharded => produced.left_out += 1,
                (Some(_), Some(id)) => again.extend(id.to_bson()),
                _ => {
                    if let Some(event) =
                        events.event(&snapshot, operation, place, raw, Some(page.high))
                    {
                        if let Err(end) = self.row(&event, is_careful).await {
                            ended = Err(end);
                            break;
                        }
                        produced.rows += 1;
                        produced.bytes += raw.len() as u64;
                    }
                }
            }
            taken += 1;
            last = id.or(last);
        }
        let last = last.and_then(|id| id.to_bson());
        let Some(rows) = &mut self.rows else {
            return ended;
        };
        rows.events = events;
        let Produced {
            rows: sent,
            bytes,
            left_out,
        } = produced;
        self.board.metrics.snapshot(sent, bytes, left_out);
        let mut reads_anew = false;
        if let Some(progress) = &mut rows.state.running {
            progress.advance(page.part, page.range, last, &produced);
            reads_anew |= progress.read_again(page.part, page.range, again);
            if ended.is_ok() && !is_more && page.is_end {
                reads_anew |= progress.end_range(page.part, page.range);
            }
        }
        rows.done = match is_more {
            true => rows.done + taken,
            false => 0,
        };
        if is_careful && !is_more && ended.is_ok() {
            rows.desk.is_delivered();
        }
        if is_more && ended.is_ok() {
            rows.waiting.push_front(Message::Rows(page));
        }
        self.flush_counts();
        self.reach_rows();
        ended?;
        if reads_anew {
            self.read_rows();
        }
        Ok(self.outlet.commit_if_due().await?)
    }

    /// Sends the record of one row, or treats it by `ON_RECORD_ERROR`.
    async fn row(&mut self, event: &Event<'_>, is_careful: bool) -> Step {
        let seq = self.outlet.reached().seq;
        if !is_careful {
            self.counts.event(&self.board.metrics, event);
            self.take_up(event, seq, true).await?;
            self.outlet.count_row();
            return Ok(());
        }
        let Some(desk) = self.rows.as_ref().map(|rows| rows.desk.clone()) else {
            return Ok(());
        };
        let id = event.token_data().unwrap_or_default().as_bytes().to_vec();
        if let Some(code) = desk.refusal(&id) {
            let mut room = Vec::new();
            match self.shown(event, &mut room) {
                Err(why) => self.unfit(event, seq, why).await?,
                Ok(event) => {
                    let refused = Refused {
                        event: &event,
                        seq,
                        listener: None,
                        reason: &Reason::Broker(code),
                        rules: None,
                    };
                    self.refuse(refused, TargetId::ROWS).await?;
                }
            }
        } else {
            // With nothing else on its way, so that a refusal names its row.
            self.outlet.acknowledged().await?;
            desk.sends(Some(&id));
            self.take_up(event, seq, true).await?;
        }
        self.outlet.count_row();
        self.outlet.acknowledged().await.map_err(End::from)?;
        desk.sends(None);
        Ok(())
    }
}

/// Takes the change of a definition into the progress. Whether something else is to be read now.
pub(super) fn apply(progress: &mut Progress, event: &Event<'_>, source: &Source) -> bool {
    let (database, collection) = (event.database, event.collection);
    match event.operation {
        Operation::Drop => progress.forget(database, Some(collection)),
        Operation::DropDatabase => progress.forget(database, None),
        Operation::Rename => {
            let to = |name| {
                let to = event.rename_to.and_then(|to| raw::find(to, name).ok()?);
                to.and_then(|name| name.as_str())
                    .unwrap_or_default()
                    .to_owned()
            };
            let from = Namespace {
                database: database.to_owned(),
                collection: collection.to_owned(),
            };
            let to = Namespace {
                database: to("db"),
                collection: to("coll"),
            };
            let is_wanted =
                source.filter.watches(&to.database, &to.collection) && source.spec.takes(&to);
            let renamed = match is_wanted {
                true => Renamed::Watched(source.spec.filter_of(&to).cloned()),
                false => Renamed::Unwatched,
            };
            progress.rename(&from, &to, renamed)
        }
        _ => false,
    }
}
