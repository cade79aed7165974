//! What stands in the place of a value.

use crate::change::raw::Element;
use crate::config::{self, MaskKind};
use crate::encode::json::{JsonMode, write_value};
use bson::spec::ElementType;
use ring::hmac;
use std::borrow::Cow;

/// With fewer characters, a value's last four are too much of it.
const LEAST: usize = 8;
/// What [`MaskKind::LastFour`] shows of the rest.
const STARS: &str = "****";

/// How values are masked, in all collections.
#[derive(Debug)]
pub struct Masks {
    text: String,
    salt: Option<hmac::Key>,
}

impl Masks {
    pub fn of(settings: &config::Fields) -> Self {
        let salt = settings.salt.as_ref();
        Self {
            text: settings.text.clone(),
            salt: salt.map(|salt| hmac::Key::new(hmac::HMAC_SHA256, salt.expose().as_bytes())),
        }
    }

    /// `FIELDS_MASK_TEXT`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is written for a value that is neither a document nor an array.
    pub fn masked(&self, kind: MaskKind, value: Element<'_>) -> Cow<'_, str> {
        match (kind, &self.salt) {
            (MaskKind::Hash, Some(salt)) => {
                Cow::Owned(hex(hmac::sign(salt, &text(value)).as_ref()))
            }
            (MaskKind::LastFour, _) => Cow::Owned(last_four(value)),
            _ => Cow::Borrowed(&self.text),
        }
    }
}

/// The value as a text: the bytes of a string, and relaxed Extended JSON of anything else, so that others can compute
/// the same hash.
fn text(value: Element<'_>) -> Cow<'_, [u8]> {
    if let (ElementType::String, Some(bytes)) = (value.kind, value.string_bytes()) {
        return Cow::Borrowed(bytes);
    }
    let mut text = Vec::new();
    match write_value(&mut text, JsonMode::Relaxed, value) {
        Ok(_) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(value.value),
    }
}

fn last_four(value: Element<'_>) -> String {
    let is_shown = matches!(
        value.kind,
        ElementType::String | ElementType::Int32 | ElementType::Int64
    );
    let text = String::from_utf8_lossy(&text(value)).into_owned();
    let count = text.chars().count();
    match is_shown && count >= LEAST {
        true => STARS.chars().chain(text.chars().skip(count - 4)).collect(),
        false => STARS.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let pairs = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    pairs.collect()
}
