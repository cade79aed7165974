//! A document rewritten by the rules of its collection.

use super::event::Unfit;
use super::rules::{At, Rules, is_index};
use crate::change::raw::{self, Element};
use crate::encode::json::MAX_DEPTH;
use bson::spec::ElementType;

/// Which kind of fields a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// The document itself.
    Whole,
    /// Names, within a document.
    Fields,
    /// Indexes.
    Array,
    /// Paths: `updatedFields`.
    Paths,
}

impl Rules {
    /// Appends the document as it may leave the process.
    ///
    /// # Errors
    /// [`Unfit`]: nothing of it may. What was appended means nothing then.
    pub fn document(&self, document: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.fields(document, self.start(), Names::Whole, 0, out)
    }

    pub(super) fn fields(
        &self,
        document: &[u8],
        at: At<'_>,
        names: Names,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        if depth > MAX_DEPTH {
            return Err(Unfit::TooDeep);
        }
        let begin = open(out);
        let mut renamed: Vec<Vec<u8>> = Vec::new();
        for element in raw::walk(document)? {
            let element = element?;
            // The key of each record.
            if names == Names::Whole && element.name == b"_id" {
                copy(element, out);
                continue;
            }
            let inner = match names {
                Names::Array => Some(at),
                _ => at.enter(element.name),
            };
            let Some(inner) = inner else {
                continue;
            };
            let before = out.len();
            out.push(element.kind as u8);
            match names {
                Names::Array => out.extend_from_slice(element.name),
                _ => {
                    if at.rename(element.name, out) {
                        renamed.push(out[before + 1..].to_vec());
                    }
                }
            }
            out.push(0);
            if self.value(element, inner, before, depth, out)? {
                continue;
            }
            // It is not to be there. What has an index has its place all the same.
            let keeps_place = match names {
                Names::Array => true,
                Names::Paths => is_in_array(element.name),
                Names::Whole | Names::Fields => false,
            };
            match keeps_place && !inner.is_out() {
                true => out[before] = ElementType::Null as u8,
                false => out.truncate(before),
            }
        }
        close(out, begin);
        match renamed.is_empty() {
            true => Ok(()),
            false => are_single(&out[begin..], &renamed),
        }
    }

    /// Appends a value whose type and name stand at `element_at`; false where it is not to be there.
    fn value(
        &self,
        element: Element<'_>,
        at: At<'_>,
        element_at: usize,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Unfit> {
        let names = match element.kind {
            _ if at.is_untouched() => None,
            ElementType::EmbeddedDocument => Some(Names::Fields),
            ElementType::Array => Some(Names::Array),
            _ => None,
        };
        if at.is_out() || (names.is_none() && !at.is_included) {
            return Ok(false);
        }
        if let Some(names) = names {
            self.fields(element.value, at, names, depth + 1, out)?;
            return Ok(true);
        }
        match at.mask {
            // That there is no value is no secret of it.
            Some(kind) if element.kind != ElementType::Null => {
                let masked = self.masks.masked(kind, element);
                out[element_at] = ElementType::String as u8;
                string(&masked, out);
            }
            _ => out.extend_from_slice(element.value),
        }
        Ok(true)
    }
}

/// Whether the path is that of an element of an array.
fn is_in_array(path: &[u8]) -> bool {
    let mut parts = path.rsplit(|byte| *byte == b'.');
    parts.next().is_some_and(is_index) && parts.next().is_some()
}

/// Two fields of one name would leave it to each reader which of them counts.
fn are_single(document: &[u8], renamed: &[Vec<u8>]) -> Result<(), Unfit> {
    for name in renamed {
        let mut count = 0;
        for element in raw::walk(document)? {
            count += usize::from(element?.name == name);
        }
        if count > 1 {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(Unfit::Taken(name));
        }
    }
    Ok(())
}

/// Begins a document; where.
pub(super) fn open(out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    begin
}

/// Ends the document that begins there.
pub(super) fn close(out: &mut Vec<u8>, begin: usize) {
    out.push(0);
    let len = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
    out[begin..begin + 4].copy_from_slice(&len.to_le_bytes());
}

pub(super) fn copy(element: Element<'_>, out: &mut Vec<u8>) {
    name(element.kind, element.name, out);
    out.extend_from_slice(element.value);
}

pub(super) fn name(kind: ElementType, name: &[u8], out: &mut Vec<u8>) {
    out.push(kind as u8);
    out.extend_from_slice(name);
    out.push(0);
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let len = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}
