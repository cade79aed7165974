//! Log lines: text for people, JSON for a log store. They go to the error output, so that what a
//! command answers stays alone on the standard one.

mod escaped;
pub mod event_id;
mod json;
mod one_line;

pub(crate) use escaped::Escaped;

use one_line::OneLine;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// How the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `LOG_LEVEL`: error, warn, info, debug or trace. `DEBUG=true` means debug.
    pub level: tracing::Level,
    pub format: LogFormat,
}

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct Handle(reload::Handle<Targets, Registry>);

impl Handle {
    /// Shows what is at least this important from now on.
    pub fn set_level(&self, level: Level) {
        // It fails only when the subscriber is gone, and then there is nothing to filter.
        let _ = self.0.reload(targets(level));
    }
}

/// Sets up the process's logging. Only the first call has an effect.
pub fn init(log: &Log) -> Handle {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (subscriber, handle) = subscriber(log, colour, std::io::stderr);
    // A second subscriber in one process happens in tests only.
    let _ = subscriber.try_init();
    handle
}

fn subscriber<W>(
    log: &Log,
    colour: bool,
    writer: W,
) -> (impl tracing::Subscriber + Send + Sync, Handle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(log.level));
    // Where the output is gone, a complaint about it would go to the same place, and panic there.
    let lines = fmt::layer().log_internal_errors(false);
    let lines = match log.format {
        LogFormat::Text => lines
            .with_writer(OneLine { writer, colour })
            .with_ansi(colour)
            .with_target(log.level >= Level::DEBUG)
            .boxed(),
        LogFormat::Json => lines
            .with_writer(writer)
            .fmt_fields(json::SpanFields)
            .event_format(json::Json)
            .with_ansi(false)
            .boxed(),
    };
    // A filter for all, not `with_filter`: a layer's own remembers that it refused a line until the
    // next line, even when nothing but `log_enabled!` was asked, as rdkafka does before it makes each
    // client. The line that came next would be swallowed.
    (
        tracing_subscriber::registry().with(filter).with(lines),
        Handle(handle),
    )
}

/// Our own lines at the level, those of libraries one step quieter.
fn targets(level: Level) -> Targets {
    let libraries = match level {
        Level::TRACE => Level::DEBUG,
        Level::DEBUG => Level::INFO,
        Level::INFO | Level::WARN => Level::WARN,
        Level::ERROR => Level::ERROR,
    };
    Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_PKG_NAME"), level)
}

#[cfg(test)]
mod tests;
