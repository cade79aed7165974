//! What a change of a listener's document has changed, as it is told.

use super::document::id_text;
use super::entry;
use crate::status::listener_changes::{Field, Kind, ListenerChange};
use bson::{Bson, Document, doc};

/// The field that says whether a listener, or a database, gets records.
const SWITCHES: [&str; 2] = ["isActive", "enabled"];

/// What a change of a document that is held was; none where nothing differs.
pub(super) fn change(
    before: Option<&Document>,
    after: Option<&Document>,
    at_millis: i64,
) -> Option<ListenerChange> {
    let document = after.or(before)?;
    let fields = fields(before, after);
    let kind = match (before, after, fields.as_slice()) {
        (None, _, _) => Kind::Created,
        (_, None, _) => Kind::Deleted,
        (_, _, []) => return None,
        (_, _, [only]) if SWITCHES.contains(&only.name.as_str()) => match only.after {
            Some(Bson::Boolean(false)) => Kind::Disabled,
            _ => Kind::Enabled,
        },
        _ => Kind::Changed,
    };
    Some(ListenerChange {
        listener: document.get("_id").map(id_text).unwrap_or_default(),
        title: entry::title(document),
        kind,
        at_millis,
        fields,
        is_without_values: false,
    })
}

fn fields(before: Option<&Document>, after: Option<&Document>) -> Vec<Field> {
    let keys = |document: Option<&Document>| -> Vec<String> {
        let keys = document.into_iter().flat_map(Document::keys);
        keys.cloned().collect()
    };
    let mut names = keys(before);
    for name in keys(after) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = |document: Option<&Document>, name: &str| document?.get(name).cloned();
    // By their bytes: the order of a filter's fields counts, and a number that is none equals itself.
    let bytes = |value: &Bson| doc! {"": value}.to_vec().ok();
    let fields = names.into_iter().map(|name| Field {
        before: value(before, &name),
        after: value(after, &name),
        name,
    });
    fields
        .filter(|field| field.name != "_id")
        .filter(|field| field.before.as_ref().map(bytes) != field.after.as_ref().map(bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(before: Option<&Document>, after: Option<&Document>) -> Option<(Kind, Vec<String>)> {
        let change = change(before, after, 7)?;
        assert_eq!((change.listener.as_str(), change.at_millis), ("1", 7));
        let names = change.fields.into_iter().map(|field| field.name);
        Some((change.kind, names.collect()))
    }

    #[test]
    fn a_change_says_what_it_was_and_of_which_fields() {
        let first = doc! {"_id": 1, "collection": "c", "jobName": "j"};
        let mut second = first.clone();
        second.insert("filter", doc! {"x": 1, "y": 2});
        let mut turned = second.clone();
        turned.insert("filter", doc! {"y": 2, "x": 1});
        let mut off = second.clone();
        off.insert("isActive", false);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (before, after, kind, fields) in [
            (
                None,
                Some(&first),
                Kind::Created,
                names(&["collection", "jobName"]),
            ),
            (
                Some(&first),
                Some(&second),
                Kind::Changed,
                names(&["filter"]),
            ),
            (
                Some(&second),
                Some(&turned),
                Kind::Changed,
                names(&["filter"]),
            ),
            (
                Some(&second),
                Some(&off),
                Kind::Disabled,
                names(&["isActive"]),
            ),
            (
                Some(&off),
                Some(&second),
                Kind::Enabled,
                names(&["isActive"]),
            ),
            (
                Some(&off),
                Some(&first),
                Kind::Changed,
                names(&["filter", "isActive"]),
            ),
            (
                Some(&first),
                None,
                Kind::Deleted,
                names(&["collection", "jobName"]),
            ),
        ] {
            assert_eq!(said(before, after), Some((kind, fields)));
        }
        assert_eq!(said(Some(&first), Some(&first)), None);
        assert_eq!(said(None, None), None);
    }
}
