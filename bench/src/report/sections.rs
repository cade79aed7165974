//! What the report says of each measurement, in which order.

use super::shape::{Column, Section, bars, column, lines, plain, share};
use crate::record::{RAW, RAW_PRODUCE, value as v};
use crate::workers::CEILING;

/// Cores kept busy from the first record on.
pub const BOUNDS: &[Column] = &[
    plain("its own cores", v::CORES, 2),
    column("MongoDB's", v::MONGODB_CORES, 2),
    column("Kafka's", v::KAFKA_CORES, 2),
    column("whole machine's", v::MACHINE_CORES, 2),
    plain("taken by its host", v::STOLEN_CORES, 2),
];

pub const SECTIONS: &[Section] = &[
    Section {
        mode: "drain",
        title: "Drain",
        text: "Events wait in the oplog; each subject in turn brings them to a topic of one partition, until all are \
               acknowledged. *raw drain* produces nothing; *raw + produce* produces each event's BSON untouched.",
        columns: &[
            column("events/s", v::RATE, 0),
            share("of raw drain", v::RATE, RAW),
            share("of raw + produce", v::RATE, RAW_PRODUCE),
            column("CPU µs/event", v::CPU_US, 1),
            plain("with its start", v::CPU_US_WITH_START, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
            column("events/s from process start", v::RATE_FROM_START, 0),
            plain("first record after, ms", v::FIRST_MS, 0),
        ],
        bounds: true,
        charts: &[
            bars(
                "drain",
                "Drain: events a second, more is better",
                v::RATE,
                0,
            ),
            bars(
                "drain-cpu",
                "Drain: CPU time per event in µs, less is better",
                v::CPU_US,
                1,
            ),
            bars(
                "drain-memory",
                "Drain: peak resident set in MB, less is better",
                v::RSS_MB,
                0,
            ),
        ],
    },
    Section {
        mode: "streams",
        title: "Many streams in one process",
        text: "Streams of databases in which nothing happens.",
        columns: &[
            column("resident, MB", v::RSS_MB, 0),
            column("cores", v::CORES, 3),
            column("threads", v::THREADS, 0),
            column("all open after, ms", v::FIRST_MS, 0),
            column("stopped after, s", v::ALL_S, 1),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "snapshot",
        title: "A snapshot",
        text: "Documents that are there already, copied to one topic of one partition; *plain find* only reads them, or reads and produces them as they are.",
        columns: &[
            column("documents/s", v::RATE, 0),
            column("from the start", v::RATE_FROM_START, 0),
            column("CPU, µs/document", v::CPU_US, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "snapshot-latency",
        title: "Latency while a snapshot runs",
        text: "As below, while Tailwater copies the collections of the section above to another topic, as fast as it can, \
               and while it does not.",
        columns: &[
            column("p50", v::P50, 1),
            column("p90", v::P90, 1),
            column("p99", v::P99, 1),
            column("highest", v::HIGHEST, 0),
            column("rows copied meanwhile", v::RATE, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "live",
        title: "Live changes",
        text: "Clients beside the bridge in one process, half of them in rooms of one, half on the whole collection. Latency \
               in ms from just before an insert is sent to its arrival at a client, or at a consumer (the bridge).",
        columns: &[
            column("p50", v::P50, 1),
            column("p90", v::P90, 1),
            column("p99", v::P99, 1),
            column("highest", v::HIGHEST, 0),
            column("MB/s", v::MB_RATE, 1),
            column("RSS without clients, MB", v::RSS_BEFORE_MB, 0),
            column("with clients at rest", v::RSS_MB, 0),
            column("at the end", v::RSS_AFTER_MB, 0),
            column("cut", v::LOST, 0),
        ],
        bounds: true,
        charts: &[],
    },
    Section {
        mode: "workers",
        title: "Workers",
        text: "Jobs that wait in a topic, handed to a service that takes its time for each. *the service alone* is what so many at \
               a time allow, by the time that the service has measurably taken. Left alone: from an answer to the next request on the \
               same connection, in ms; it is what the worker adds to each job.",
        columns: &[
            column("jobs/s", v::RATE, 0),
            share("of the service alone", v::RATE, CEILING),
            column("left alone, p50", v::P50, 2),
            plain("p90", v::P90, 2),
            plain("p99", v::P99, 2),
            column("CPU µs/job", v::CPU_US, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: true,
        charts: &[],
    },
    Section {
        mode: "latency",
        title: "Latency at a steady rate",
        text: "From just before an insert is sent to its arrival at a consumer, in ms, after a warm-up of five seconds. \
               *the stream alone* is a change stream in the measuring process, without Kafka; *raw + produce* hands each \
               event untouched to librdkafka, which sends it at once (`linger.ms=0`).",
        columns: &[
            column("p50", v::P50, 1),
            column("p90", v::P90, 1),
            column("p99", v::P99, 1),
            column("highest", v::HIGHEST, 1),
            column("CPU µs/event", v::CPU_US, 0),
            plain("not seen", v::LOST, 0),
        ],
        bounds: true,
        charts: &[
            bars(
                "latency-p50",
                "Latency at a steady rate: p50 in ms, less is better",
                v::P50,
                1,
            ),
            bars(
                "latency-p99",
                "Latency at a steady rate: p99 in ms, less is better",
                v::P99,
                1,
            ),
        ],
    },
    Section {
        mode: "sizes",
        title: "Sizes of documents",
        text: "A drain of inserts of one size each; MB are millions of bytes of documents as BSON.",
        columns: &[
            column("MB/s", v::MB_RATE, 1),
            share("of raw drain", v::MB_RATE, RAW),
            column("events/s", v::RATE, 0),
            column("CPU µs/event", v::CPU_US, 1),
            column("CPU ms/MB", v::CPU_MS_PER_MB, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: true,
        charts: &[bars(
            "sizes",
            "Sizes of documents: MB a second, more is better",
            v::MB_RATE,
            0,
        )],
    },
    Section {
        mode: "collections",
        title: "Collections",
        text: "A drain of inserts spread over so many collections, as a whole database and with all of them named by \
               `WATCH_COLLECTIONS`, which makes the server filter.",
        columns: &[
            column("CPU µs/event", v::CPU_US, 2),
            column("events/s", v::RATE, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[bars(
            "collections",
            "Collections: CPU time per event in µs, less is better",
            v::CPU_US,
            2,
        )],
    },
    Section {
        mode: "keys",
        title: "Distinct keys",
        text: "A drain of updates, each of the next of so many documents.",
        columns: &[
            column("CPU µs/event", v::CPU_US, 2),
            column("events/s", v::RATE, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[bars(
            "keys",
            "Distinct keys: CPU time per event in µs, less is better",
            v::CPU_US,
            2,
        )],
    },
    Section {
        mode: "exactly-once",
        title: "Exactly once",
        text: "A drain in both delivery modes. Exactly once, the clock stops when the records are committed.",
        columns: &[
            column("events/s", v::RATE, 0),
            share("of at least once", v::RATE, "Tailwater"),
            column("CPU µs/event", v::CPU_US, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
            plain("first record after, ms", v::FIRST_MS, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "partitions",
        title: "Exactly once with many partitions",
        text: "A drain into a topic of so many partitions, in both delivery modes. Exactly once, the clock stops when the \
               records are committed.",
        columns: &[
            column("events/s from process start", v::RATE_FROM_START, 0),
            share("of at least once", v::RATE_FROM_START, "Tailwater"),
            column("CPU µs/event", v::CPU_US_WITH_START, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
            plain("first record after, ms", v::FIRST_MS, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "formats",
        title: "Formats and serializations",
        text: "As a drain. Each of Tailwater's formats and serializations writes to one topic; the connectors write what they are \
               there for.",
        columns: &[
            column("events/s", v::RATE, 0),
            column("CPU µs/event", v::CPU_US, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
            plain("bytes/event", v::BROKER_BYTES, 0),
        ],
        bounds: true,
        charts: &[],
    },
    Section {
        mode: "compression",
        title: "Compression",
        text: "A drain with each kind of compression (`KAFKA_PROP_COMPRESSION_TYPE`).",
        columns: &[
            column("events/s", v::RATE, 0),
            share("of none", v::RATE, "Tailwater, none"),
            column("CPU µs/event", v::CPU_US, 1),
            column("bytes/event in the broker's log", v::BROKER_BYTES, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: true,
        charts: &[bars(
            "compression",
            "Compression: bytes per event in the broker's log",
            v::BROKER_BYTES,
            0,
        )],
    },
    Section {
        mode: "acks",
        title: "Late acknowledgements",
        text: "A drain through a proxy that holds back what the broker answers for so long.",
        columns: &[
            column("events/s", v::RATE, 0),
            share("of raw + produce", v::RATE, RAW_PRODUCE),
            column("CPU µs/event", v::CPU_US, 1),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[bars(
            "acks",
            "Late acknowledgements: events a second, more is better",
            v::RATE,
            0,
        )],
    },
    Section {
        mode: "metrics",
        title: "What metrics cost",
        text: "A drain without HTTP, and one whose metrics are asked for every second.",
        columns: &[
            column("CPU µs/event", v::CPU_US, 2),
            column("events/s", v::RATE, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "start",
        title: "Cold start",
        text: "From the start of the process to the acknowledgement of its first record, with a checkpoint and one event \
               that waits.",
        columns: &[
            column("first record after, ms", v::FIRST_MS, 0),
            column("CPU, ms", v::CPU_MS, 0),
            column("peak RSS, MB", v::RSS_MB, 0),
        ],
        bounds: false,
        charts: &[],
    },
    Section {
        mode: "steady",
        title: "A long stream",
        text: "Inserts at a steady rate; CPU time is taken every ten seconds. First and last are the means of the first and \
               the last fifth, without the first ten seconds.",
        columns: &[
            column("CPU µs/event", v::CPU_US, 1),
            plain("first", v::CPU_US_FIRST, 1),
            plain("last", v::CPU_US_LAST, 1),
            plain("peak RSS, MB", v::RSS_MB, 0),
            plain("not arrived", v::LOST, 0),
        ],
        bounds: false,
        charts: &[
            lines(
                "steady-cpu",
                "A long stream: CPU time per event",
                v::CPU_US,
                "µs/event",
            ),
            lines(
                "steady-memory",
                "A long stream: resident set",
                v::RSS_MB,
                "MB",
            ),
        ],
    },
    Section {
        mode: "memory",
        title: "Memory while Kafka stands still",
        text: "Kafka is stopped (SIGSTOP) and goes on later, while documents are inserted at a steady rate.",
        columns: &[
            plain("RSS before, MB", v::RSS_BEFORE_MB, 0),
            plain("highest while stopped", v::RSS_STOPPED_MB, 0),
            plain("highest afterwards", v::RSS_AFTER_MB, 0),
            plain("peak RSS, MB", v::RSS_MB, 0),
            plain("all delivered after, s", v::ALL_S, 0),
            plain("not arrived", v::LOST, 0),
        ],
        bounds: false,
        charts: &[lines(
            "memory",
            "Memory while Kafka stands still: resident set",
            v::RSS_MB,
            "MB",
        )],
    },
];
