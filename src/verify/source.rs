//! The documents as MongoDB has them.

use super::entry::{Entry, Hash, Kind, Sample, hash};
use super::progress::Progress;
use super::sorter::{Folder, Sorter};
use crate::change::namespace::Namespace;
use crate::change::position::ClusterTime;
use crate::change::raw::{self, Element};
use crate::config::JsonMode;
use crate::encode::json;
use crate::error::{Code, Error};
use crate::fields::{Fields, Rules};
use crate::mongo::errors::{self, Phase, SourceFault};
use bson::spec::ElementType;
use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use mongodb::Client;
use mongodb::options::{Hint, ReadConcern};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// How often the reading of a collection is begun again after an error that passes.
const TRIES: u32 = 5;
/// How many documents are asked for by their `_id` at once.
const PORTION: usize = 500;
/// How many bytes of `_id`s are asked for at once.
const PORTION_BYTES: usize = 1 << 20;

/// The `_id`s of the documents that were read, in a file: few of them are needed again.
#[derive(Debug)]
pub struct Ids {
    file: BufWriter<File>,
    at: u64,
}

impl Ids {
    /// # Errors
    /// The system's.
    pub fn new(folder: &Folder) -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, folder.file()?);
        Ok(Self { file, at: 0 })
    }

    /// Keeps an `_id`; where it is.
    fn keep(&mut self, id: Element<'_>) -> io::Result<u64> {
        let at = self.at;
        let len = u32::try_from(id.value.len()).unwrap_or(u32::MAX);
        self.file.write_all(&len.to_le_bytes())?;
        self.file.write_all(&[id.kind as u8])?;
        self.file.write_all(id.value)?;
        self.at += 5 + u64::from(len);
        Ok(at)
    }

    /// # Errors
    /// The system's.
    pub fn get(&mut self, at: u64) -> io::Result<Option<Bson>> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 5];
        file.read_exact(&mut head)?;
        let [len @ .., kind] = head;
        let mut value = vec![0; u32::from_le_bytes(len) as usize];
        file.read_exact(&mut value)?;
        file.seek(SeekFrom::End(0))?;
        let kind = ElementType::from(kind);
        Ok(kind.and_then(|kind| {
            let id = Element {
                kind,
                name: b"_id",
                value: &value,
            };
            id.to_bson()
        }))
    }
}

/// How documents are read, and what becomes of them.
#[derive(Debug)]
pub struct Source<'a> {
    pub client: &'a Client,
    pub mode: JsonMode,
    pub fields: Option<&'a Fields>,
    pub filter: Option<&'a Document>,
    pub sample: Sample,
    pub progress: &'a Progress,
}

/// Where the entries go.
pub struct Into<'a> {
    pub sorter: &'a mut Sorter<Entry>,
    pub ids: &'a mut Ids,
    /// Counts the documents, over all collections.
    pub ordinal: u64,
}

/// What could be no record.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    pub documents: u64,
    /// Nested too deep, so that they can have no record.
    pub unencodable: u64,
}

/// A document's two texts, in buffers that are used again.
#[derive(Debug)]
pub struct Encoder {
    mode: JsonMode,
    /// What is done to the fields of the collection's documents before they go to Kafka.
    rules: Option<Arc<Rules>>,
    id: Vec<u8>,
    text: Vec<u8>,
    room: Vec<u8>,
}

impl Encoder {
    /// The hash of a document's `_id`, and of the whole as its record would have it; none for what can have no record.
    pub fn hashes(&mut self, document: &[u8]) -> Option<(Hash, Hash)> {
        let id = self.id(document)?;
        let content = hash(self.text(document)?);
        Some((id, content))
    }

    /// A document as its record would have it; none for what can have no record.
    pub fn text(&mut self, document: &[u8]) -> Option<&[u8]> {
        self.text.clear();
        let document = match &self.rules {
            None => document,
            Some(rules) => {
                self.room.clear();
                rules.document(document, &mut self.room).ok()?;
                &self.room
            }
        };
        json::write_document(&mut self.text, self.mode, document).ok()?;
        Some(&self.text)
    }

    /// The hash of a document's `_id`.
    pub fn id(&mut self, document: &[u8]) -> Option<Hash> {
        let id = raw::find(document, "_id").ok()??;
        self.id.clear();
        json::write_value(&mut self.id, JsonMode::Relaxed, id).ok()?;
        Some(hash(&self.id))
    }
}

impl Source<'_> {
    /// What writes the documents of a collection as its records have them.
    pub fn encoder(&self, of: &Namespace) -> Encoder {
        let rules = self.fields;
        Encoder {
            mode: self.mode,
            rules: rules.and_then(|fields| fields.rules(&of.database, &of.collection)),
            id: Vec::new(),
            text: Vec::new(),
            room: Vec::new(),
        }
    }

    /// Reads a collection, and gives an entry for each document.
    ///
    /// # Errors
    /// The server's, where trying again does not help; the system's, of the files.
    pub async fn scan(
        &self,
        of: &Namespace,
        namespace: u32,
        into: &mut Into<'_>,
    ) -> Result<Scanned, Error> {
        let mut tries = 0;
        loop {
            let read = match self.sample.is_all() {
                true => self.scan_all(of, namespace, into).await,
                false => self.scan_sample(of, namespace, into).await,
            };
            match read {
                // What was read before is there twice: the later of two counts.
                Err(Failure::Source(error)) if tries < TRIES && passes(&error) => {
                    tries += 1;
                    tokio::time::sleep(std::time::Duration::from_secs(1 << tries)).await;
                }
                Err(failure) => return Err(failure.told(of)),
                Ok(scanned) => return Ok(scanned),
            }
        }
    }

    async fn scan_all(
        &self,
        of: &Namespace,
        namespace: u32,
        into: &mut Into<'_>,
    ) -> Result<Scanned, Failure> {
        let database = self.client.database(&of.database);
        let collection = database.collection::<RawDocumentBuf>(&of.collection);
        let mut cursor = collection
            .find(self.filter.cloned().unwrap_or_default())
            .read_concern(ReadConcern::majority())
            .batch_size(2_000)
            .await?;
        let mut encoder = self.encoder(of);
        let mut scanned = Scanned::default();
        while cursor.advance().await? {
            self.take(
                cursor.current().as_bytes(),
                namespace,
                &mut encoder,
                into,
                &mut scanned,
            )?;
        }
        Ok(scanned)
    }

    /// Reads the `_id`s alone, from their index, and only the documents of the sample.
    async fn scan_sample(
        &self,
        of: &Namespace,
        namespace: u32,
        into: &mut Into<'_>,
    ) -> Result<Scanned, Failure> {
        let database = self.client.database(&of.database);
        let collection = database.collection::<RawDocumentBuf>(&of.collection);
        let find = collection
            .find(self.filter.cloned().unwrap_or_default())
            .projection(doc! {"_id": 1})
            .read_concern(ReadConcern::majority())
            .batch_size(2_000);
        let mut cursor = match self.filter {
            None => find.hint(Hint::Keys(doc! {"_id": 1})).await?,
            Some(_) => find.await?,
        };
        let mut encoder = self.encoder(of);
        let mut scanned = Scanned::default();
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        loop {
            let is_more = cursor.advance().await?;
            if is_more {
                let document = cursor.current().as_bytes();
                let is_wanted = encoder
                    .id(document)
                    .is_some_and(|id| self.sample.holds(&id));
                if is_wanted && let Ok(Some(id)) = raw::find(document, "_id") {
                    bytes += id.value.len();
                    wanted.extend(id.to_bson());
                }
            }
            let is_full = wanted.len() >= PORTION || bytes >= PORTION_BYTES;
            if is_full || (!is_more && !wanted.is_empty()) {
                bytes = 0;
                let filter = doc! {"_id": {"$in": std::mem::take(&mut wanted)}};
                let mut found = collection
                    .find(filter)
                    .read_concern(ReadConcern::majority())
                    .await?;
                while found.advance().await? {
                    let document = found.current().as_bytes();
                    self.take(document, namespace, &mut encoder, into, &mut scanned)?;
                }
            }
            if !is_more {
                return Ok(scanned);
            }
        }
    }

    fn take(
        &self,
        document: &[u8],
        namespace: u32,
        encoder: &mut Encoder,
        into: &mut Into<'_>,
        scanned: &mut Scanned,
    ) -> io::Result<()> {
        self.progress.document(document.len());
        scanned.documents += 1;
        let (Some((id, content)), Ok(Some(element))) =
            (encoder.hashes(document), raw::find(document, "_id"))
        else {
            scanned.unencodable += 1;
            return Ok(());
        };
        into.ordinal += 1;
        let offset = into.ids.keep(element)?;
        into.sorter.push(Entry {
            id,
            namespace,
            topic: u32::MAX,
            partition: 0,
            offset,
            seq: into.ordinal,
            kind: Kind::Source,
            content,
        })
    }

    /// The documents with these `_id`s, as they are at `time` or later: each is handed to `each`.
    ///
    /// # Errors
    /// The server's.
    pub async fn by_ids(
        &self,
        of: &Namespace,
        ids: &[Bson],
        time: ClusterTime,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let database = self.client.database(&of.database);
        let time = Timestamp::from(time);
        let mut rest = ids;
        while !rest.is_empty() {
            let (ids, later) = rest.split_at(portion(rest));
            rest = later;
            let command = doc! {
                "find": &of.collection,
                "filter": {"_id": {"$in": ids}},
                "readConcern": {"level": "majority", "afterClusterTime": time},
            };
            let found = async {
                let cursor = database.run_cursor_command(command).await?;
                let mut cursor = cursor.with_type::<RawDocumentBuf>();
                while cursor.advance().await? {
                    each(cursor.current().as_bytes());
                }
                Ok::<_, mongodb::error::Error>(())
            };
            found.await.map_err(|error| told(of, &error))?;
        }
        Ok(())
    }
}

/// How many of these are asked for at once: at least one.
fn portion(ids: &[Bson]) -> usize {
    let mut bytes = 0;
    let fits = |id: &&Bson| {
        let size = doc! {"": (*id).clone()}
            .to_vec()
            .map_or(PORTION_BYTES, |bytes| bytes.len());
        bytes += size;
        bytes <= PORTION_BYTES
    };
    ids.iter().take(PORTION).take_while(fits).count().max(1)
}

/// The time of the cluster now, as the primary says it: what is read at it or later holds all that Kafka has.
///
/// # Errors
/// The server's; [`Code::SourceRefused`] where it tells no time.
pub async fn now(client: &Client) -> Result<ClusterTime, Error> {
    let reply = client
        .database("admin")
        .run_command(doc! {"ping": 1})
        .await
        .map_err(|error| errors::error("asking for the cluster time", &error, Phase::Other))?;
    let time = reply.get_timestamp("operationTime").map_err(|_| {
        let detail = "the server tells no operationTime: it is no member of a replica set";
        Error::new(Code::SourceRefused, detail)
    })?;
    Ok(ClusterTime::new(time.time, time.increment))
}

enum Failure {
    Source(mongodb::error::Error),
    File(io::Error),
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl Failure {
    fn told(self, of: &Namespace) -> Error {
        match self {
            Self::Source(error) => told(of, &error),
            Self::File(error) => no_room(&error),
        }
    }
}

fn passes(error: &mongodb::error::Error) -> bool {
    let fault = errors::classify(error, Phase::Other);
    fault.is_transient()
        || errors::server_code(error) == Some(CURSOR_NOT_FOUND)
        || fault == SourceFault::Resumable
}

const CURSOR_NOT_FOUND: i32 = 43;

fn told(of: &Namespace, error: &mongodb::error::Error) -> Error {
    errors::error(&format!("reading {of}"), error, Phase::Other)
}

/// The error of a file that cannot be written or read.
pub fn no_room(why: &io::Error) -> Error {
    let code = Code::of_system(why, Code::Exhausted);
    let detail = "the folder for temporary files cannot be written or read; name another with --work-dir, \
                  with room for about 60 bytes for each record and 80 for each document";
    Error::new(code, format!("{detail}: {why}"))
}

/// Whether an `_id` can only have been made at this time or later, in seconds since the Unix epoch.
pub fn is_made_since(id: &Bson, seconds: u64) -> bool {
    match id {
        Bson::ObjectId(id) => {
            let [a, b, c, d, ..] = id.bytes();
            u64::from(u32::from_be_bytes([a, b, c, d])) >= seconds
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back_with_its_type() {
        let mut ids = Ids::new(&Folder::new(None)).unwrap();
        let all = [
            Bson::Int32(7),
            Bson::Int64(7),
            Bson::Double(-0.0),
            Bson::String("é".into()),
            Bson::Document(doc! {"b": 1, "a": [1, "x"]}),
            Bson::ObjectId(bson::oid::ObjectId::new()),
            Bson::Null,
            Bson::MinKey,
        ];
        let mut places = Vec::new();
        for id in &all {
            let raw = RawDocumentBuf::try_from(&doc! {"_id": id.clone()}).unwrap();
            let element = raw::find(raw.as_bytes(), "_id").unwrap().unwrap();
            places.push(ids.keep(element).unwrap());
        }
        for (id, place) in all.iter().zip(places).rev() {
            assert_eq!(ids.get(place).unwrap().as_ref(), Some(id));
        }
    }

    /// A command takes no more than 48 MB.
    #[test]
    fn long_ids_are_asked_for_in_small_numbers() {
        let short: Vec<Bson> = (0..1200).map(Bson::from).collect();
        assert_eq!((portion(&short), portion(&short[..7])), (PORTION, 7));
        let long = vec![Bson::String("x".repeat(300_000)); 9];
        assert_eq!(portion(&long), 3);
        let longest = vec![Bson::String("x".repeat(3 << 20)); 2];
        assert_eq!(portion(&longest), 1);
    }

    #[test]
    fn only_an_object_id_tells_when_it_was_made() {
        let id =
            Bson::ObjectId(bson::oid::ObjectId::parse_str("65bc9fb6c485f419a7a877fe").unwrap());
        assert!(is_made_since(&id, 0x65bc_9fb6) && !is_made_since(&id, 0x65bc_9fb7));
        assert!(!is_made_since(&Bson::Int32(7), 0));
    }
}
