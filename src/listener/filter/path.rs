//! A dotted path, and the values of a document that it leads to.
//!
//! As in MongoDB: an array on the way is looked through, one level deep, for documents that the rest
//! of the path is followed in; where the rest begins with a number, also for the element of that
//! index. At the end of the path, an array stands for each of its elements and for itself.

use super::bounds;
use super::error::{At, FilterError};
use super::order::fields;
use crate::change::raw::{Element, find};
use bson::spec::ElementType;

/// The names of a dotted path, of which there is at least one.
#[derive(Debug)]
pub(super) struct Path {
    first: Part,
    rest: Box<[Part]>,
}

#[derive(Debug)]
struct Part {
    name: Box<str>,
    is_index: bool,
}

/// What an array at the end of the path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its elements, one after the other, and then the array.
    Spread,
    /// The array alone.
    Whole,
}

impl Path {
    /// # Errors
    /// A sentence when a name is empty or no UTF-8, or there are too many.
    pub(super) fn new(dotted: &[u8], at: &At<'_>) -> Result<Self, FilterError> {
        let Ok(dotted) = std::str::from_utf8(dotted) else {
            return at.refuse("the field's name is not valid UTF-8; use one that is");
        };
        let parts: Vec<Part> = dotted.split('.').map(Part::new).collect();
        if parts.iter().any(|part| part.name.is_empty()) {
            return at.refuse("the path has an empty name; give a name before and after each dot");
        }
        if parts.len() > bounds::PATH {
            return at.refuse(format!(
                "the path has {} names; at most {} are allowed",
                parts.len(),
                bounds::PATH
            ));
        }
        let indexes = parts.iter().filter(|part| part.is_index).count();
        if indexes > bounds::INDEXES {
            return at.refuse(format!(
                "{indexes} names of the path are numbers; at most {} are allowed",
                bounds::INDEXES
            ));
        }
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or_else(|| Part::new(""));
        Ok(Self {
            first,
            rest: parts.collect(),
        })
    }

    /// The name of the field that it begins with.
    pub(super) fn root(&self) -> &[u8] {
        self.first.name.as_bytes()
    }

    /// The name, where it is only one.
    pub(super) fn only(&self) -> Option<&str> {
        self.rest.is_empty().then_some(&*self.first.name)
    }

    /// Whether `accept` takes one of the values that the path leads to. `None` is a field that is missing.
    pub(super) fn leads_to(
        &self,
        document: &[u8],
        ending: Ending,
        accept: &impl Fn(Option<&Element<'_>>) -> bool,
    ) -> bool {
        within(document, &self.first, &self.rest, ending, accept)
    }
}

impl Part {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            is_index: !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()),
        }
    }
}

/// Follows `part` and then `rest` from a document.
fn within<'a>(
    mut document: &[u8],
    mut part: &'a Part,
    mut rest: &'a [Part],
    ending: Ending,
    accept: &impl Fn(Option<&Element<'_>>) -> bool,
) -> bool {
    loop {
        let found = find(document, &part.name).ok().flatten();
        let Some(element) = found else {
            return accept(None);
        };
        match (element.kind, rest.split_first()) {
            (ElementType::EmbeddedDocument, Some((next, after))) => {
                (document, part, rest) = (element.value, next, after);
            }
            (ElementType::Array, Some((next, after))) => {
                return through(element.value, next, after, ending, accept);
            }
            (ElementType::Array, None) if ending == Ending::Spread => {
                return fields(element.value).any(|each| accept(Some(&each)))
                    || accept(Some(&element));
            }
            (_, None) => return accept(Some(&element)),
            (_, Some(_)) => return accept(None),
        }
    }
}

/// Follows `part` and then `rest` from each element of an array.
fn through(
    array: &[u8],
    part: &Part,
    rest: &[Part],
    ending: Ending,
    accept: &impl Fn(Option<&Element<'_>>) -> bool,
) -> bool {
    fields(array).any(|element| {
        let is_document = element.kind == ElementType::EmbeddedDocument;
        if is_document && within(element.value, part, rest, ending, accept) {
            return true;
        }
        if !part.is_index || element.name != part.name.as_bytes() {
            return false;
        }
        match rest.split_first() {
            None => accept(Some(&element)),
            Some((next, after)) => match element.kind {
                ElementType::EmbeddedDocument => within(element.value, next, after, ending, accept),
                ElementType::Array => through(element.value, next, after, ending, accept),
                _ => false,
            },
        }
    })
}
