//! What a client has asked for, within what it may see; and what of a change it is shown.

use super::change::{Change, Operations};
use super::filter::Where;
use super::grant::Grant;
use super::redact::Object;
use crate::config::JsonMode;
use crate::encode::json::scan;
use crate::listener::filter::key::Key;
use bson::RawDocumentBuf;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is asked for, as the parameters of a call or the fields of a `subscribe` say it.
#[derive(Debug, Default)]
pub struct Asked {
    pub database: Option<String>,
    pub collection: Option<String>,
    pub operation: Option<String>,
    pub id: Option<String>,
    pub filter: Option<Value>,
}

/// A question that is right.
#[derive(Debug)]
pub struct Selection {
    database: Option<String>,
    collection: Option<String>,
    operations: Operations,
    /// The texts that the `_id` may have, empty for any.
    ids: Vec<String>,
    filter: Option<Where>,
    grant: Arc<Grant>,
    mode: JsonMode,
    key: String,
}

/// Why a question is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// 400: it is wrong.
    Wrong(String),
    /// 403: the token does not allow it.
    Forbidden(String),
}

/// What of a change is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Whole,
    /// This text in its place.
    Narrowed(Vec<u8>),
    /// The document has left what was asked for; this text has its key.
    Leave(Vec<u8>),
}

impl Selection {
    /// # Errors
    /// [`Refused`], with a sentence.
    pub fn new(asked: Asked, grant: Arc<Grant>, mode: JsonMode) -> Result<Self, Refused> {
        let operations = match &asked.operation {
            Some(names) => Operations::read(names).map_err(Refused::Wrong)?,
            None => Operations::OF_CHANGES,
        };
        let filter = asked
            .filter
            .as_ref()
            .map(|filter| Where::compile(filter, mode));
        let filter = filter
            .transpose()
            .map_err(|reason| Refused::Wrong(format!("where: {reason}")))?;
        for (name, value) in [
            ("database", &asked.database),
            ("collection", &asked.collection),
        ] {
            if value
                .as_deref()
                .is_some_and(|value| value.is_empty() || value.contains('\0'))
            {
                return Err(Refused::Wrong(format!(
                    "{name}: is no name; leave it out for all"
                )));
            }
        }
        if let Some(database) = asked
            .database
            .as_deref()
            .filter(|name| !grant.allows_database(name))
        {
            let sentence = format!("the token does not allow the database {}", shown(database));
            return Err(Refused::Forbidden(sentence));
        }
        let is_forbidden = |collection: &&str| match &asked.database {
            Some(database) => !grant.allows(database, collection),
            None => !grant.allows_collection(collection),
        };
        if let Some(collection) = asked.collection.as_deref().filter(is_forbidden) {
            let sentence = format!(
                "the token does not allow the collection {}",
                shown(collection)
            );
            return Err(Refused::Forbidden(sentence));
        }
        let ids = asked
            .id
            .as_deref()
            .map_or_else(Vec::new, |id| texts(id, mode));
        let key = json!([
            asked.database,
            asked.collection,
            operations.bits(),
            ids,
            filter.as_ref().map(Where::text),
            grant.text(),
        ]);
        Ok(Self {
            database: asked
                .database
                .or_else(|| grant.only_database().map(str::to_owned)),
            collection: asked.collection,
            operations,
            ids,
            filter,
            grant,
            mode,
            key: key.to_string(),
        })
    }

    /// What tells it from others: two with one key are shown the same.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    pub fn collection(&self) -> Option<&str> {
        self.collection.as_deref()
    }

    pub fn operations(&self) -> Operations {
        self.operations
    }

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// A field, and the value that a document must have there.
    pub fn equality(&self) -> Option<(&str, Key)> {
        let own = self.filter.iter().chain(&self.grant.filters);
        own.into_iter().find_map(Where::equality)
    }

    /// What of `change` is shown.
    pub fn judge(&self, change: &Change) -> Shown {
        if !self.operations.hold(change.operation) {
            return Shown::Nothing;
        }
        if !change.is_of_document() {
            return self.judge_definition(change);
        }
        if !self.is_in(&change.database, &change.collection) {
            return Shown::Nothing;
        }
        let is_it = |id: &String| change.id.as_ref() == Some(id);
        if !self.ids.is_empty() && !self.ids.iter().any(is_it) {
            return Shown::Nothing;
        }
        if self.filter.is_none() && self.grant.filters.is_empty() {
            return Shown::Whole;
        }
        self.judge_images(change)
    }

    fn is_in(&self, database: &str, collection: &str) -> bool {
        let is = |own: &Option<String>, name: &str| own.as_deref().is_none_or(|own| own == name);
        // A `dropDatabase` is about all collections of the database.
        is(&self.database, database)
            && (collection.is_empty() || is(&self.collection, collection))
            && self.grant.allows(database, collection)
    }

    fn judge_definition(&self, change: &Change) -> Shown {
        let to = change.renamed_to();
        let is_of_target = to
            .as_ref()
            .is_some_and(|(database, collection)| self.is_in(database, collection));
        let is_of_source = self.is_in(&change.database, &change.collection);
        if !is_of_source && !is_of_target {
            return Shown::Nothing;
        }
        // Names of collections that may not be seen are none of the client's business, nor are definitions where a
        // token shows only some of the documents.
        let may_see_source = self.grant.allows(&change.database, &change.collection);
        let may_see_target = to
            .as_ref()
            .is_none_or(|(database, collection)| self.grant.allows(database, collection));
        let mut hidden: Vec<&[u8]> = Vec::new();
        if !may_see_source {
            hidden.extend([&b"database"[..], b"collection"]);
        }
        if !may_see_target {
            hidden.push(b"to");
        }
        if !self.grant.filters.is_empty() {
            hidden.push(b"operationDescription");
        }
        match hidden.is_empty() {
            true => Shown::Whole,
            false => Shown::Narrowed(without(&change.value, &hidden)),
        }
    }

    fn judge_images(&self, change: &Change) -> Shown {
        let images = change.images(self.mode);
        let (after, before) = (images.after.as_ref(), images.before.as_ref());
        let is_within = |image: &RawDocumentBuf| {
            self.may_see(image) && self.filter.as_ref().is_none_or(|it| it.matches(image))
        };
        let was = before.map(is_within);
        let is_shown = match (after.map(is_within), was) {
            (Some(true), _) => true,
            (Some(false), Some(true)) => return Shown::Leave(leave(change)),
            // A delete, or an update of which the document is not known.
            (None, Some(true)) => true,
            _ => false,
        };
        if !is_shown {
            return Shown::Nothing;
        }
        if self.grant.filters.is_empty() {
            return Shown::Whole;
        }
        let mut hidden: Vec<&[u8]> = Vec::new();
        let may_see_before = before.is_some_and(|image| self.may_see(image));
        if before.is_some() && !may_see_before {
            hidden.push(b"fullDocumentBeforeChange");
        }
        // It tells of a document as it was between the two images, or of one that nobody knows.
        if change.name == "update"
            && !(may_see_before && after.is_some_and(|image| self.may_see(image)))
        {
            hidden.push(b"updateDescription");
        }
        match hidden.is_empty() {
            true => Shown::Whole,
            false => Shown::Narrowed(without(&change.value, &hidden)),
        }
    }

    /// Whether the token allows this image.
    fn may_see(&self, image: &RawDocumentBuf) -> bool {
        self.grant
            .filters
            .iter()
            .all(|filter| filter.matches(image))
    }
}

/// A name as it may be shown in a sentence.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(100).collect();
    format!("{cut:?}")
}

/// The texts that the `_id` may have in a record, of an `id` that is given as JSON or as plain text.
fn texts(id: &str, mode: JsonMode) -> Vec<String> {
    let quoted = Value::from(id).to_string();
    let Ok(value) = serde_json::from_str::<Value>(id) else {
        let is_object_id =
            mode != JsonMode::Simple && id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let as_object_id =
            is_object_id.then(|| json!({ "$oid": id.to_ascii_lowercase() }).to_string());
        return [quoted].into_iter().chain(as_object_id).collect();
    };
    match &value {
        Value::String(_) | Value::Object(_) | Value::Array(_) => vec![value.to_string()],
        // As a number or flag, and as the string of these characters.
        _ => {
            let mut texts = vec![value.to_string(), quoted];
            if mode == JsonMode::Canonical {
                for wrapper in ["$numberInt", "$numberLong"] {
                    texts.push(json!({ wrapper: value.to_string() }).to_string());
                }
            } else if mode != JsonMode::Simple
                && id.len() == 24
                && id.bytes().all(|b| b.is_ascii_digit())
            {
                texts.push(json!({ "$oid": id }).to_string());
            }
            texts
        }
    }
}

/// The envelope without these fields.
fn without(value: &[u8], hidden: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut object = Object::open(&mut out);
    for (name, value) in scan::members(value) {
        if !hidden.contains(&name) {
            object.member(name, value);
        }
    }
    object.close();
    out
}

/// What is told of a document that has left: its key, and no image.
fn leave(change: &Change) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    for (name, value) in scan::members(&change.value) {
        match name {
            b"operationType" | b"database" | b"collection" | b"timestamp" => {
                object.member(name, value)
            }
            // A shard key may have changed with it.
            b"documentKey" => {
                object.name(name);
                let mut key = Object::open(object.out);
                if let Some(id) = scan::member(value, "_id") {
                    key.member(b"_id", id);
                }
                key.close();
            }
            _ => {}
        }
    }
    object.close();
    out
}

#[cfg(test)]
mod tests;
