//! Signals: the first asks to drain, the second ends the process at once. And the end itself.

use crate::log::event_id;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, as shells give it for an interrupt.
pub const ABORTED: u8 = 130;

/// Supervisors often signal the process and its group: that is one request, not two.
const SAME: Duration = Duration::from_secs(1);

/// Ends the process with this exit code, after what was printed is written out.
///
/// No exit handler of the C libraries runs: threads of librdkafka may still be letting go of theirs, and
/// OpenSSL's handler frees under their hands what they use (seen as an abort in one of some 300 short
/// commands).
pub fn exit(code: u8) -> ! {
    // Nobody reads any more what cannot be written.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    signal_hook::low_level::exit(code.into())
}

/// A token that the first SIGTERM or SIGINT cancels; the second one exits.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = stop.clone();
    tokio::spawn(async move {
        let mut since: Option<Instant> = None;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            match since {
                Some(first) if first.elapsed() < SAME => continue,
                Some(_) => {
                    tracing::warn!(signal = name, "second signal, exiting at once");
                    exit(ABORTED);
                }
                None => since = Some(Instant::now()),
            }
            tracing::info!(
                event_id = event_id::STOPPING,
                signal = name,
                "stopping: no more reading, waiting for the last acknowledgements"
            );
            asked.cancel();
        }
    });
    Ok(stop)
}
