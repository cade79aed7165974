//! Strings as the driver's `JsonWriter` escapes them.

use crate::encode::json::{Stats, short_escape};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The text that is written, and what is counted on the way.
pub(super) struct Text<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) stats: Stats,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            stats: Stats::default(),
        }
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Appends a string with its quotes. Bytes that are not UTF-8 become U+FFFD, as in Java.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.push(b'"');
        for chunk in bytes.utf8_chunks() {
            self.contents(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.contents("\u{FFFD}");
                self.stats.replaced += 1;
            }
        }
        self.push(b'"');
    }

    fn contents(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_special) {
            let (plain, special) = rest.split_at(at);
            self.out.extend_from_slice(plain.as_bytes());
            let Some(character) = special.chars().next() else {
                return;
            };
            self.character(character);
            rest = &special[character.len_utf8()..];
        }
        self.out.extend_from_slice(rest.as_bytes());
    }

    fn character(&mut self, character: char) {
        if let Some(short) = u8::try_from(character).ok().and_then(short_escape) {
            return self.out.extend_from_slice(&[b'\\', short]);
        }
        let mut units = [0; 2];
        let units = character.encode_utf16(&mut units);
        // The driver looks at each half of a surrogate pair by itself.
        if units.len() == 1 && is_kept(character) {
            let mut utf8 = [0; 4];
            let utf8 = character.encode_utf8(&mut utf8);
            return self.out.extend_from_slice(utf8.as_bytes());
        }
        for unit in units {
            self.out
                .extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
    }
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte >= 0x7f
}

/// Whether the driver writes a character as it is. Which characters are assigned is Unicode's; Java's may be an older one.
fn is_kept(character: char) -> bool {
    matches!(
        character.general_category(),
        GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::OtherLetter
            | GeneralCategory::DecimalNumber
            | GeneralCategory::LetterNumber
            | GeneralCategory::OtherNumber
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::ConnectorPunctuation
            | GeneralCategory::DashPunctuation
            | GeneralCategory::OpenPunctuation
            | GeneralCategory::ClosePunctuation
            | GeneralCategory::InitialPunctuation
            | GeneralCategory::FinalPunctuation
            | GeneralCategory::OtherPunctuation
            | GeneralCategory::EnclosingMark
            | GeneralCategory::MathSymbol
            | GeneralCategory::CurrencySymbol
            | GeneralCategory::ModifierSymbol
            | GeneralCategory::OtherSymbol
    )
}
