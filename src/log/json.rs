//! One JSON object a line: `timestamp`, `level`, `component`, `event` (what happened), then its
//! fields in the order in which they were given.

use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(
            writer,
            "{{\"timestamp\":\"{:.3}\",\"level\":\"{}\",\"component\":{},\"event\":{}",
            jiff::Timestamp::now(),
            metadata.level().as_str().to_ascii_lowercase(),
            quoted(component(metadata.target())),
            quoted(&fields.message),
        )?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                writer.write_str(fields)?;
            }
        }
        writeln!(writer, "{}}}", fields.rest)
    }
}

/// The fields of a span, as they stand in the object of each of its lines.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut found = Fields::default();
        fields.record(&mut found);
        writer.write_str(&found.rest)
    }
}

/// The module a line comes from: `source` of `tailwater::source::reader`, the crate elsewhere.
fn component(target: &str) -> &str {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or(target);
    if first == env!("CARGO_PKG_NAME") {
        parts.next().unwrap_or(first)
    } else {
        first
    }
}

fn quoted(text: &str) -> String {
    // A string has no reason to fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// The fields as they will stand in the object, each with a comma before it.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn push(&mut self, field: &Field, json: &str) {
        // A field may not hide one of ours.
        let clash = matches!(field.name(), "timestamp" | "level" | "component" | "event");
        let mark = if clash { "_" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(
            self.rest,
            ",{}:{json}",
            quoted(&format!("{}{mark}", field.name()))
        );
    }

    fn push_text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.push(field, &quoted(&text));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        let json = if value.is_finite() {
            value.to_string()
        } else {
            "null".to_owned()
        };
        self.push(field, &json);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, &value.to_string());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push(field, &value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, &value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, format!("{value:?}"));
    }
}
