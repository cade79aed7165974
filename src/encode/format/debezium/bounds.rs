//! Transactions: what the connector says of them in its envelope, and in a topic of its own at their beginning and end.

use super::{DOCUMENT, write_string};
use crate::change::transactions::{InSpan, Place, Span, TransactionId};
use crate::encode::driver;
use crate::encode::json::EncodeError;

/// The beginning or the end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'s> {
    pub span: &'s Span,
    pub is_end: bool,
    /// The time of the event that it comes with, in ms since the Unix epoch.
    pub millis: i64,
}

impl Bound<'_> {
    /// `status`.
    pub(super) fn status(&self) -> &'static str {
        match self.is_end {
            true => "END",
            false => "BEGIN",
        }
    }

    /// The counts by collection at the end, in the connector's order.
    pub(super) fn collections(&self) -> Option<Vec<&(String, u64)>> {
        self.is_end
            .then(|| in_order_of_java(&self.span.collections))
    }
}

/// What the connector calls a transaction.
pub(super) fn id(id: TransactionId<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut text = Vec::new();
    driver::write_document(&mut text, DOCUMENT, id.lsid)?;
    text.push(b':');
    text.extend_from_slice(itoa::Buffer::new().format(id.number).as_bytes());
    Ok(text)
}

/// The event's place as the envelope has it; none outside of transactions.
pub(super) fn in_span<'a>(place: Option<&Place<'a>>) -> Option<(TransactionId<'a>, InSpan)> {
    let place = place?;
    Some((place.id, place.in_span?))
}

/// The value of the envelope's `transaction`.
pub(super) fn block(place: Option<&Place<'_>>) -> Result<Vec<u8>, EncodeError> {
    let Some((
        name,
        InSpan {
            total,
            of_collection,
        },
    )) = in_span(place)
    else {
        return Ok(b"null".to_vec());
    };
    let mut out = br#"{"id":"#.to_vec();
    write_string(&mut out, &id(name)?);
    out.extend_from_slice(
        format!(r#","total_order":{total},"data_collection_order":{of_collection}}}"#).as_bytes(),
    );
    Ok(out)
}

/// Appends key and value, with their schemas where those are asked for.
pub(super) fn write(
    bound: &Bound<'_>,
    schemas: bool,
    key: &mut Vec<u8>,
    value: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if schemas {
        key.extend_from_slice(KEY.as_bytes());
        for part in VALUE {
            value.extend_from_slice(part.as_bytes());
        }
    }
    let id = id(bound.span.id())?;
    key.extend_from_slice(br#"{"id":"#);
    write_string(key, &id);
    key.push(b'}');
    let status = bound.status();
    value.extend_from_slice(format!(r#"{{"status":"{status}","id":"#).as_bytes());
    write_string(value, &id);
    match bound.collections() {
        None => value.extend_from_slice(br#","event_count":null,"data_collections":null"#),
        Some(collections) => {
            let total = bound.span.total;
            value.extend_from_slice(
                format!(r#","event_count":{total},"data_collections":["#).as_bytes(),
            );
            for (index, (name, count)) in collections.into_iter().enumerate() {
                if index > 0 {
                    value.push(b',');
                }
                value.extend_from_slice(br#"{"data_collection":"#);
                write_string(value, name.as_bytes());
                value.extend_from_slice(format!(r#","event_count":{count}}}"#).as_bytes());
            }
            value.push(b']');
        }
    }
    value.extend_from_slice(format!(r#","ts_ms":{}}}"#, bound.millis).as_bytes());
    if schemas {
        key.push(b'}');
        value.push(b'}');
    }
    Ok(())
}

/// What stands in a bin before Java makes its table larger for that alone.
const FULL: usize = 8;
/// A table as large as this is not made larger for one bin.
const LARGE: usize = 64;

/// In the order in which a `HashMap` of Java gives them that they were put into one after the other: by the lowest bits of
/// a hash, and with equal ones as they came. The table is as large as they need.
fn in_order_of_java(collections: &[(String, u64)]) -> Vec<&(String, u64)> {
    let hashes: Vec<_> = collections
        .iter()
        .map(|(name, _)| hash_of_java(name))
        .collect();
    let mut size = 16;
    for (index, hash) in hashes.iter().enumerate() {
        let bin = |hash: u32| hash as usize & (size - 1);
        let before = hashes[..index].iter();
        let is_full = before.filter(|it| bin(**it) == bin(*hash)).count() >= FULL;
        if is_full && size < LARGE {
            size *= 2;
        }
        if index + 1 > size / 4 * 3 {
            size *= 2;
        }
    }
    let mut order: Vec<_> = (0..collections.len()).collect();
    order.sort_by_key(|index| hashes[*index] as usize & (size - 1));
    order.into_iter().map(|index| &collections[index]).collect()
}

/// `String.hashCode`, as `HashMap` mixes it.
fn hash_of_java(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0_u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    });
    hash ^ (hash >> 16)
}

const KEY: &str = r#"{"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"}],"optional":false,"name":"io.debezium.connector.common.TransactionMetadataKey","version":1},"payload":"#;

const VALUE: &[&str] = &[
    r#"{"schema":{"type":"struct","fields":["#,
    r#"{"type":"string","optional":false,"field":"status"},"#,
    r#"{"type":"string","optional":false,"field":"id"},"#,
    r#"{"type":"int64","optional":true,"field":"event_count"},"#,
    r#"{"type":"array","items":{"type":"struct","fields":["#,
    r#"{"type":"string","optional":false,"field":"data_collection"},{"type":"int64","optional":false,"field":"event_count"}"#,
    r#"],"optional":true,"name":"event.collection","version":1},"optional":true,"field":"data_collections"},"#,
    r#"{"type":"int64","optional":false,"field":"ts_ms"}"#,
    r#"],"optional":false,"name":"io.debezium.connector.common.TransactionMetadataValue","version":1},"payload":"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_in_the_order_of_a_hash_map_of_java() {
        // As OpenJDK 17 prints the keys of such maps.
        let of = |names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| ((*name).to_owned(), 1)).collect();
            let ordered = in_order_of_java(&all).into_iter();
            ordered
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (put, given) in [
            ("shop.orders shop.users", "shop.users shop.orders"),
            (
                "shop.users shop.orders shop.kept",
                "shop.kept shop.users shop.orders",
            ),
            ("d.é d.😀 d.b d.a", "d.😀 d.a d.b d.é"),
            // More than a table has room for at first.
            (
                "shop.c0 shop.c1 shop.c2 shop.c3 shop.c4 shop.c5 shop.c6 shop.c7 shop.c8 shop.c9 shop.c10 shop.c11 \
                 shop.c12 shop.c13",
                "shop.c0 shop.c1 shop.c11 shop.c2 shop.c10 shop.c13 shop.c12 shop.c7 shop.c8 shop.c9 shop.c3 shop.c4 \
                 shop.c5 shop.c6",
            ),
            // Of one hash, so that they stand in one bin.
            (
                "AaAaAaAa BBAaAaAa AaBBAaAa BBBBAaAa AaAaBBAa BBAaBBAa AaBBBBAa BBBBBBAa AaAaAaBB BBAaAaBB x.y \
                 shop.users",
                "x.y AaAaAaAa BBAaAaAa AaBBAaAa BBBBAaAa AaAaBBAa BBAaBBAa AaBBBBAa BBBBBBAa AaAaAaBB BBAaAaBB \
                 shop.users",
            ),
        ] {
            assert_eq!(of(&put.split(' ').collect::<Vec<_>>()), given);
        }
    }
}
