//! What filling and closing batches costs: `cargo bench --bench batch`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::time::{Duration, Instant};
use tailwater::config::Batching;
use tailwater::flow::batch::Fill;

fn main() {
    divan::main();
}

const EVENTS: usize = 10_000;

/// Events added to batches that close as they are full, with a look at the clock for each, as the pump has
/// it. The argument is a record's size: the small ones close a batch by their number, the large by bytes.
#[divan::bench(args = [1_000, 250_000])]
fn fill_and_close(bencher: Bencher<'_, '_>, bytes: usize) {
    let limits = Batching {
        events: 50,
        bytes: 1 << 20,
        timeout: Duration::from_millis(20),
    };
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut fill = Fill::new(Instant::now());
        let mut closed = 0_u32;
        for _ in 0..EVENTS {
            fill.record(black_box(bytes));
            fill.events += 1;
            let now = Instant::now();
            if black_box(fill.closed_by(&limits, now)).is_some() {
                closed += 1;
                fill = Fill::new(now);
            }
        }
        black_box(closed)
    });
}
