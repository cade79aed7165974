//! A test for each rule; `tests/listener_filters.rs` compares with a server.

mod operators;
mod paths;
mod refusals;
mod values;

use super::{Filter, FilterError};
use bson::{Bson, Document, RawDocumentBuf, Regex};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn compile(filter: &Document) -> Result<Filter, FilterError> {
    Filter::compile(&raw(filter))
}

fn matches(filter: &Document, document: &Document) -> bool {
    let compiled = compile(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    compiled.matches(&raw(document))
}

/// Holds `filter` against documents that it must match, and ones that it must not.
fn check<const M: usize, const N: usize>(
    filter: Document,
    matching: [Document; M],
    others: [Document; N],
) {
    for document in matching {
        assert!(
            matches(&filter, &document),
            "{filter} must match {document}"
        );
    }
    for document in others {
        assert!(
            !matches(&filter, &document),
            "{filter} must not match {document}"
        );
    }
}

/// The refusal of `filter`, which must say all of `parts`.
fn refused(filter: Document, at: &str, parts: &[&str]) {
    let Err(error) = compile(&filter) else {
        panic!("{filter} is not refused");
    };
    assert_eq!(error.at(), at, "{filter}: {error}");
    for part in parts {
        assert!(error.problem().contains(part), "{filter}: {error}");
    }
}

fn regex(pattern: &str, options: &str) -> Bson {
    Bson::RegularExpression(Regex {
        pattern: pattern.to_owned().try_into().unwrap(),
        options: options.to_owned().try_into().unwrap(),
    })
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary {
        subtype: subtype.into(),
        bytes: bytes.to_vec(),
    })
}
