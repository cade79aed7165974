// An idempotent consumer of Tailwater's envelope: keeps a copy of the watched documents.
//
//   npm install && KAFKA_BROKERS=localhost:9092 node index.js [topic…]
//
// Delivery is at least once: after a crash some records come again, later in the same partition.
// Every record carries `tw-seq`, a number that grows with each change of the stream `tw-stream`, and
// keeps it when it is repeated. So: remember the last number, ignore what is not above it.
//
// Remember it per what? Per document (`tw-stream` and the record's key).
// - Not per stream: partitions are read in any order relative to each other.
// - Not per partition: Tailwater promises order per document. After the broker has refused a record,
//   another document's record of the same batch may arrive behind a higher number; a mark per
//   partition would drop it.
// - Per document it is right everywhere, also when several topics are merged: between
//   `database.insert` and `database.update` there is no order, and if an update is read first, the
//   insert that comes late is older than the copy. (Whoever needs to see every single change in
//   order lets Tailwater write them to one topic, KAFKA_DB_CHANGES_TOPIC.)
import { Kafka, logLevel } from 'kafkajs';

const brokers = (process.env.KAFKA_BROKERS ?? 'localhost:9092').split(',');
const topics = process.argv.length > 2
  ? process.argv.slice(2)
  : ['database.insert', 'database.update', 'database.delete'];

// The copy: one entry per document, with the number of the last change it has seen. In a real
// service this is a table, and the comparison is part of the write, so that document and number
// survive a restart together:
//   INSERT INTO users (…) VALUES (…) ON CONFLICT (id) DO UPDATE SET … WHERE users.seq < EXCLUDED.seq
// A deleted document keeps its entry (without content) for as long as records may be repeated, or a
// late copy of an old update would bring it back.
const documents = new Map();

function apply(change) {
  const known = documents.get(change.document);
  if (known && change.seq <= known.seq) return false;
  documents.set(change.document, { seq: change.seq, content: contentAfter(change, known?.content) });
  return true;
}

function contentAfter({ operation, envelope }, before) {
  if (operation === 'delete') return null;
  // Updates carry the whole document (FULL_DOCUMENT=updateLookup, the default); it is null when the
  // document was gone before the server looked: a delete follows.
  return envelope.fullDocument ?? before ?? null;
}

function read({ key, value, headers }) {
  return {
    document: `${headers['tw-stream']} ${key}`,
    seq: Number(headers['tw-seq']), // below 2^53, so a number is exact
    operation: String(headers['tw-op']),
    namespace: String(headers['tw-ns']),
    id: JSON.parse(key)._id,
    envelope: JSON.parse(value),
  };
}

// kafkajs reads uncompressed and gzip records by itself. Where KAFKA_PROP_COMPRESSION_TYPE is set to
// snappy, lz4 or zstd, add a codec: https://kafka.js.org/docs/producing#compression
const kafka = new Kafka({ clientId: 'tailwater-example', brokers, logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: 'tailwater-example-node' });

await consumer.connect();
await consumer.subscribe({ topics, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ topic, message }) => {
    // A tombstone (TOMBSTONES=true) follows a delete for Kafka's compaction: nothing new in it.
    if (message.value === null || !message.headers?.['tw-seq']) return;
    const change = read(message);
    const mark = apply(change) ? ' ' : '=';
    const { operation, namespace, id, seq } = change;
    console.log(mark, topic, operation, namespace, JSON.stringify(id), `seq ${seq}`);
  },
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await consumer.disconnect();
    process.exit(0);
  });
}
