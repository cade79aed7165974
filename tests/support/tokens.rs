//! A server whose resume tokens have the form of real ones.

use super::Mongo;
use super::wire::Wire;
use bson::{Bson, Document};

/// A server whose tokens have the form of real ones: they begin with a cluster time, sort in the order of
/// the stream, and are given back to the server behind as it made them. All have one time, the first that is
/// seen, as the operations of a transaction have.
pub async fn with_real_tokens(server: &Mongo) -> Wire {
    let wire = Wire::before(server.addr()).await;
    let mut first = None;
    wire.alter(move |_, reply| {
        let mut as_real = |token: &mut Document, kind| {
            let (number, time, data) = read(token);
            let time = *first.get_or_insert(time);
            let head = format!("82{time:08X}{:08X}{number:016X}{kind:02X}", 1);
            token.insert("_data", head + &data);
        };
        let Ok(cursor) = reply.get_document_mut("cursor") else {
            return;
        };
        if let Ok(token) = cursor.get_document_mut("postBatchResumeToken") {
            as_real(token, 1);
        }
        for batch in ["firstBatch", "nextBatch"] {
            let events = cursor.get_array_mut(batch).ok().into_iter().flatten();
            for event in events.filter_map(Bson::as_document_mut) {
                if let Ok(token) = event.get_document_mut("_id") {
                    as_real(token, 0);
                }
            }
        }
    });
    wire.alter_commands(|command| {
        let first = command.get_array_mut("pipeline").ok();
        let first = first.and_then(|stages| stages.first_mut()?.as_document_mut());
        let options = first.and_then(|stage| stage.get_document_mut("$changeStream").ok());
        if let Some(token) = options.and_then(|o| o.get_document_mut("startAfter").ok()) {
            let data = token.get_str("_data").unwrap()[HEAD..].to_owned();
            token.insert("_data", data);
        }
    });
    wire
}

/// What a token of a real form has in front of the server's own: type, seconds, increment, number, kind.
const HEAD: usize = 2 + 8 + 8 + 16 + 2;

/// Number, time and text of the server's own token.
fn read(token: &Document) -> (i64, u32, String) {
    let data = token.get_str("_data").unwrap().to_owned();
    let bytes: Vec<u8> = (0..data.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&data[at..at + 2], 16).unwrap())
        .collect();
    let inner = Document::from_reader(bytes.as_slice()).unwrap();
    let number = inner.get_i64("s").unwrap();
    let time = inner.get_timestamp("t").unwrap().time;
    (number, time, data)
}
