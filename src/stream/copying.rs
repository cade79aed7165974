//! When a stream takes a snapshot by itself, and what a refused row of one teaches.

use crate::change::extra::Extra;
use crate::config::Snapshot;
use crate::route::TargetId;
use crate::sink::producer::Faults;
use crate::snapshot::desk::Desk;
use crate::snapshot::progress::{Progress, Reason, State};

/// What the first position of a stream says of snapshots.
pub(super) fn at_begin(spec: &Snapshot) -> Extra {
    match spec.mode.is_at_begin() {
        true => begun(&Extra::default(), Reason::Initial),
        false => Extra::default(),
    }
}

/// The same position with a snapshot of everything that begins there. One that was running is part of it.
pub(super) fn begun(extra: &Extra, reason: Reason) -> Extra {
    let now = jiff::Timestamp::now().as_millisecond();
    let state = State {
        running: Some(Progress::new(reason, now).of_all()),
        ..State::default()
    };
    state.put(extra)
}

/// Takes the rows out of what was refused: they are known by their ids, and not by numbers.
pub(super) fn learn(desk: &Desk, faults: &mut Faults) {
    let of_rows = faults
        .records
        .iter()
        .find(|((_, target), _)| *target == TargetId::ROWS);
    if let Some((_, code)) = of_rows {
        tracing::warn!(%code, "kafka refused a row of a snapshot; rows are sent alone until it is known which");
        desk.refused(*code);
        faults
            .records
            .retain(|(_, target), _| *target != TargetId::ROWS);
    }
}
