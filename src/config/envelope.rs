//! `ENVELOPE_RENAME`, `ENVELOPE_FIELDS`: what the envelope has in common for all events.

/// How the envelope differs from the one of `docs/formats.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `ENVELOPE_RENAME`: fields of the envelope, and what they are called.
    pub names: Vec<(&'static str, String)>,
    /// `ENVELOPE_FIELDS`: more fields, with their values as JSON.
    pub fields: Vec<(String, String)>,
}

impl Envelope {
    /// The fields of the envelope, in their order.
    pub const FIELDS: [&str; 11] = [
        "operationType",
        "database",
        "collection",
        "documentKey",
        "timestamp",
        "fullDocument",
        "updateDescription",
        "fullDocumentBeforeChange",
        "to",
        "operationDescription",
        "transaction",
    ];

    /// What a field is called.
    pub fn name_of<'a>(&'a self, field: &'a str) -> &'a str {
        let renamed = self.names.iter().find(|(known, _)| *known == field);
        renamed.map_or(field, |(_, name)| name)
    }
}
