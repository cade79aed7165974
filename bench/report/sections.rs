//! What the report says of each measurement, in which order.

use crate::record::value as v;
use crate::subject::{RAW, RAW_PRODUCE};

pub struct Section {
    pub mode: &'static str,
    pub title: &'static str,
    /// How it is measured.
    pub text: &'static str,
    pub columns: &'static [Column],
    /// Whether a second table shows what the servers and the machine did meanwhile.
    pub bounds: bool,
    pub charts: &'static [Chart],
}

pub struct Column {
    pub title: &'static str,
    pub value: &'static str,
    pub decimals: usize,
    /// Whether the lowest and the highest are shown.
    pub spread: bool,
    /// The subject whose median counts as 100 %.
    pub of: Option<&'static str>,
}

pub enum Chart {
    Bars(Bars),
}

/// One bar for each subject in each case.
pub struct Bars {
    pub file: &'static str,
    pub title: &'static str,
    pub value: &'static str,
    pub decimals: usize,
}

impl Chart {
    pub fn file(&self) -> &'static str {
        match self {
            Self::Bars(bars) => bars.file,
        }
    }

    pub fn title(&self) -> &'static str {
        match self {
            Self::Bars(bars) => bars.title,
        }
    }
}

const fn column(title: &'static str, value: &'static str, decimals: usize) -> Column {
    Column {
        title,
        value,
        decimals,
        spread: true,
        of: None,
    }
}

/// The median alone.
const fn plain(title: &'static str, value: &'static str, decimals: usize) -> Column {
    Column {
        spread: false,
        ..column(title, value, decimals)
    }
}

const fn share(title: &'static str, value: &'static str, of: &'static str) -> Column {
    Column {
        of: Some(of),
        ..column(title, value, 0)
    }
}

const fn bars(
    file: &'static str,
    title: &'static str,
    value: &'static str,
    decimals: usize,
) -> Chart {
    Chart::Bars(Bars {
        file,
        title,
        value,
        decimals,
    })
}

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
        mode: "latency",
        title: "Latency at a steady rate",
        text: "From just before an insert is sent to its arrival at a consumer, in ms, after a warm-up of five seconds. \
               *the stream alone* is a change stream in the measuring process, without Kafka.",
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
];
