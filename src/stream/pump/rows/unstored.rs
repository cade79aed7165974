//! How much of the rows would come again after a crash: what was sent since the last checkpoint that is stored.

use super::Rows;
use super::page::PORTION_BYTES;
use crate::change::extra::Extra;
use crate::snapshot::progress::State;
use crate::snapshot::reading::Page;

/// What the last checkpoint says of the rows that were sent.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    checkpoint: Option<Extra>,
    bytes: u64,
}

impl Rows {
    /// How many bytes of documents were sent that no checkpoint counts.
    pub(super) fn unstored(&mut self) -> u64 {
        let Some(progress) = &self.state.running else {
            return 0;
        };
        let Some(committed) = self.source.board.committed() else {
            return 0;
        };
        let extra = &committed.position.extra;
        let Unstored { checkpoint, bytes } = &mut self.unstored;
        if !checkpoint.as_ref().is_some_and(|known| known.is(extra)) {
            let stored = State::of(extra).ok().and_then(|state| state.running);
            let stored = stored.filter(|stored| stored.id == progress.id);
            *bytes = stored.map_or(0, |stored| stored.bytes);
            *checkpoint = Some(extra.clone());
        }
        progress.bytes.saturating_sub(*bytes)
    }

    /// How many there may be: one chunk for each query.
    fn most_unstored(&self) -> u64 {
        let spec = &self.source.spec;
        spec.chunk_bytes as u64 * spec.parallelism.max(1) as u64
    }

    /// From how many on a checkpoint is written before it is due: so early that rows seldom wait for it, and so late
    /// that it counts many of them.
    pub(super) fn soon_too_much(&self) -> u64 {
        self.most_unstored() / 8 * 5
    }

    /// Whether the next rows of a page would be too many beside these.
    pub(super) fn is_too_much(&self, unstored: u64, page: &Page) -> bool {
        let next = (page.reply.len() as u64).min(PORTION_BYTES);
        unstored > 0 && unstored + next > self.most_unstored()
    }
}
