//! What tracking acknowledgements costs: `cargo bench --bench watermark`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tailwater::change::extra::Extra;
use tailwater::change::position::{Position, ResumeToken, Seq};
use tailwater::flow::watermark::{EntryId, Seal, Watermark};

fn main() {
    divan::main();
}

/// Batches in flight.
const ENTRIES: u64 = 300;
/// Records of each, as `BATCH_SIZE` has it.
const RECORDS: u64 = 50;

/// How delivery reports come: as librdkafka gives them for one partition, for many, or the worst way round.
#[derive(Debug, Clone, Copy)]
enum Order {
    AsProduced,
    OverTwelvePartitions,
    LastFirst,
}

impl Order {
    /// The entries whose records are acknowledged, one after the other.
    fn reports(self) -> Vec<usize> {
        let (entries, records) = (ENTRIES as usize, RECORDS as usize);
        let mut reports: Vec<usize> = (0..entries * records).map(|n| n / records).collect();
        match self {
            Self::AsProduced => {}
            // A request of one partition holds every twelfth record.
            Self::OverTwelvePartitions => {
                let produced = reports.clone();
                reports.clear();
                for partition in 0..12 {
                    reports.extend(produced.iter().skip(partition).step_by(12));
                }
            }
            Self::LastFirst => reports.reverse(),
        }
        reports
    }
}

fn seal(token: &ResumeToken, seq: u64) -> Seal {
    Seal {
        records: RECORDS,
        bytes: 50_000,
        position: Some(Position {
            token: token.clone(),
            seq: Seq(seq),
            time_millis: None,
            cluster_time: None,
            extra: Extra::default(),
        }),
    }
}

fn token() -> ResumeToken {
    let token = bson::doc! { "_data": "8265BC9FB6000000012B042C0100296E5A1004C5B1A4D0E2F64E6D" };
    let bytes = bson::serialize_to_vec(&token).expect("a document");
    ResumeToken::from_bytes(&bytes).expect("a document")
}

/// Entries opened, sealed and acknowledged record by record.
#[divan::bench(args = [Order::AsProduced, Order::OverTwelvePartitions, Order::LastFirst])]
fn acknowledge_each_record(bencher: Bencher<'_, '_>, order: Order) {
    let (reports, token) = (order.reports(), token());
    bencher
        .counter(ItemsCount::new(reports.len()))
        .bench_local(|| {
            let mut watermark = Watermark::new();
            let entries: Vec<EntryId> = (0..ENTRIES)
                .map(|n| {
                    let entry = watermark.open(Seq(n * RECORDS));
                    let _ = watermark.seal(entry, seal(&token, (n + 1) * RECORDS));
                    entry
                })
                .collect();
            for report in &reports {
                let _ = black_box(watermark.resolve(entries[*report], 1));
            }
            assert!(watermark.is_drained(), "all was acknowledged");
            black_box(watermark.take_committable())
        });
}

/// Places without records, as of filtered events and idle tokens.
#[divan::bench]
fn pass_idle_tokens(bencher: Bencher<'_, '_>) {
    let token = token();
    let idle = Seal {
        records: 0,
        ..seal(&token, 1)
    };
    bencher.counter(ItemsCount::new(ENTRIES)).bench_local(|| {
        let mut watermark = Watermark::new();
        for n in 0..ENTRIES {
            let entry = watermark.open(Seq(n));
            let _ = black_box(watermark.seal(entry, idle.clone()));
        }
        black_box(watermark.take_committable())
    });
}
