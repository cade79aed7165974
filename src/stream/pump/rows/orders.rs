//! What somebody asks of a snapshot: carried out between two events, and answered when it is stored.

use super::super::{End, Pump, Step};
use super::now;
use crate::config::SnapshotMode;
use crate::log::event_id;
use crate::route::Route;
use crate::snapshot::desk::{Answer, Order, Request, Wanted};
use crate::snapshot::progress::{Progress, Reason};
use crate::stream::produce::Produce;

/// How large what a position says of snapshots may become by what is asked for, in bytes: it is stored with each
/// checkpoint.
const MOST_BYTES: usize = 256 << 10;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Carries out a request, and answers it.
    pub(super) async fn carry_out(&mut self, request: Request) -> Step {
        let is_stop = request.order == Order::Stop;
        let answer = self.decide(request.order).await?;
        let mode = self.rows.as_ref().map(|rows| rows.source.spec.mode);
        let ends = is_stop && answer.is_ok() && mode == Some(SnapshotMode::Only);
        // Whoever has asked may have gone.
        let _ = request.answer.send(answer);
        if ends {
            tracing::info!("SNAPSHOT=only: the stream ends with its snapshot");
            return Err(End::Stopped);
        }
        Ok(())
    }

    async fn decide(&mut self, order: Order) -> Step<Answer> {
        let Some(rows) = &mut self.rows else {
            return Ok(Err("this stream takes no snapshots".to_owned()));
        };
        let running = rows.state.running.as_mut();
        let progress = match (order, running) {
            (Order::Start(wanted), _) => return self.start(wanted).await,
            (_, None) => return Ok(Err("no snapshot is running".to_owned())),
            (Order::Stop, Some(progress)) => {
                let ended = progress.ended(false, now());
                let id = ended.id.clone();
                tracing::warn!(
                    event_id = event_id::SNAPSHOT_STOPPED,
                    snapshot = id,
                    rows = ended.rows,
                    "the snapshot was stopped; what was copied stays"
                );
                rows.state.running = None;
                rows.state.last = Some(ended);
                self.store_rows().await?;
                return Ok(Ok(id));
            }
            (Order::Pause, Some(progress)) => {
                progress.is_paused = true;
                progress
            }
            (Order::Resume, Some(progress)) => {
                progress.is_paused = false;
                progress
            }
        };
        let (id, is_paused) = (progress.id.clone(), progress.is_paused);
        let what = if is_paused { "paused" } else { "resumed" };
        tracing::info!(snapshot = id, "the snapshot was {what}");
        self.store_rows().await?;
        Ok(Ok(id))
    }

    async fn start(&mut self, wanted: Vec<Wanted>) -> Step<Answer> {
        let Some(rows) = &mut self.rows else {
            return Ok(Err("this stream takes no snapshots".to_owned()));
        };
        if !self.router.has_rows() {
            return Ok(Err(
                "the rows of a snapshot have no topic: set SNAPSHOT_TOPIC, or one of the topics of changes".to_owned(),
            ));
        }
        let strange = wanted.iter().find(|wanted| {
            let at = &wanted.at;
            !rows.source.filter.watches(&at.database, &at.collection)
        });
        if let Some(wanted) = strange {
            return Ok(Err(format!("{} is not watched by this stream", wanted.at)));
        }
        let mut progress = match (&rows.state.running, wanted.is_empty()) {
            (Some(_), true) => {
                return Ok(Err(
                    "a snapshot is running; stop it before another one of all collections is started".to_owned(),
                ));
            }
            (Some(running), false) => running.clone(),
            (None, true) => Progress::new(Reason::Requested, now()).of_all(),
            (None, false) => Progress::new(Reason::Requested, now()),
        };
        for Wanted { at, filter, bounds } in wanted {
            progress.add(at, filter, bounds);
        }
        if progress.size() > MOST_BYTES {
            return Ok(Err(
                "more is asked for than a checkpoint can hold; ask for fewer documents at a time, and for the rest \
                 when those are copied"
                    .to_owned(),
            ));
        }
        let id = progress.id.clone();
        self.begin_snapshot(progress).await?;
        Ok(Ok(id))
    }

    /// Begins a snapshot, or adds to it, when that is stored: with a number above all that were given out, so that its
    /// rows are newer than what consumers have seen. Nothing is sent before that is stored, because a restart would
    /// give lower numbers to it.
    pub(super) async fn begin_snapshot(&mut self, progress: Progress) -> Step {
        self.outlet.acknowledged().await?;
        self.outlet.renumber();
        if let Some(rows) = &mut self.rows {
            tracing::info!(
                event_id = event_id::SNAPSHOT_STARTED,
                snapshot = progress.id,
                reason = progress.reason.name(),
                collections = progress.parts.len(),
                is_of_all = progress.scan.is_some(),
                "a snapshot begins"
            );
            rows.state.running = Some(progress);
        }
        self.store_rows().await
    }

    /// Stores what has changed, and reads what is wanted now.
    async fn store_rows(&mut self) -> Step {
        if let Some(rows) = &mut self.rows {
            rows.halt();
        }
        self.reach_rows();
        self.outlet.stored().await?;
        self.read_rows();
        Ok(())
    }
}
