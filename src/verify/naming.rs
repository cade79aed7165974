//! Where documents differ that are named in the report.

use super::entry::{self, Hash};
use super::read::Place;
use super::report::{Finding, Report};
use super::settle::Settling;
use super::source;
use super::{paths, record};
use crate::encode::json::scan;
use crate::error::Error;
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Reads those that are named once more, to say where they differ.
pub async fn name_paths(report: &mut Report, settling: &Settling<'_>) -> Result<(), Error> {
    let now = source::now(settling.source.client).await?;
    for (of, collection) in &mut report.collections {
        let mut wanted: BTreeMap<Place, BTreeSet<i64>> = BTreeMap::new();
        let different = collection.listed.iter_mut();
        let different: Vec<_> = different
            .filter(|it| it.finding == Finding::Different)
            .collect();
        if different.is_empty() {
            continue;
        }
        let mut by_place = HashMap::new();
        let mut ids = Vec::new();
        for (index, listed) in different.iter().enumerate() {
            let Some((topic, partition, offset)) = &listed.place else {
                continue;
            };
            let (place, offset) = Place::at(topic, *partition, *offset);
            wanted.entry(place.clone()).or_default().insert(offset);
            by_place.insert((place, offset), index);
            let text = format!("{{\"_id\":{}}}", listed.id);
            ids.extend(record::id_of(text.as_bytes()));
        }
        let mut in_kafka: HashMap<Hash, (usize, Vec<u8>)> = HashMap::new();
        tokio::task::block_in_place(|| {
            settling.reader.records(&wanted, |message| {
                let at = Place::of(message);
                let id = message.key().and_then(|key| scan::member(key, "_id"));
                let document = message
                    .payload()
                    .and_then(|it| scan::member(it, "fullDocument"));
                if let (Some(index), Some(id), Some(document)) = (by_place.get(&at), id, document) {
                    in_kafka.insert(entry::hash(id), (*index, document.to_vec()));
                }
                Ok(())
            })
        })?;
        let mut encoder = settling.source.encoder(of);
        let mut paths = Vec::new();
        settling
            .source
            .by_ids(of, &ids, now, |document| {
                let id = encoder.id(document);
                if let Some((index, record)) = id.and_then(|id| in_kafka.get(&id))
                    && let Some(text) = encoder.text(document)
                {
                    paths.push((*index, paths::differences(record, text)));
                }
            })
            .await?;
        let mut different = different;
        for (index, found) in paths {
            different[index].paths = found;
        }
    }
    Ok(())
}
