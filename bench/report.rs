//! Tables for `docs/performance.md`: the median of the turns, and how far they lie apart.

use std::time::Duration;

/// One drain of one subject.
#[derive(Debug, Clone)]
pub struct Drain {
    pub subject: &'static str,
    /// Events a second from the start of the process to the last acknowledgement.
    pub from_start: f64,
    /// The same from the first record on.
    pub from_first: f64,
    /// From the start of the process to the first record.
    pub first_record: Duration,
    /// CPU time of the process for each event, its start included.
    pub cpu_micros: f64,
    /// The same from the first record on.
    pub cpu_micros_from_first: f64,
    /// Bytes.
    pub peak_rss: u64,
}

/// Latencies of one subject, in milliseconds, sorted.
#[derive(Debug, Clone)]
pub struct Latency {
    pub subject: &'static str,
    pub sorted: Vec<f64>,
    pub lost: usize,
    pub cpu_percent: f64,
}

/// Says on stderr what was just measured.
pub fn progress(drain: Option<&Drain>) {
    if let Some(drain) = drain {
        eprintln!(
            "{}: {:.0}/s from start, {:.0}/s from the first record ({} ms), {:.2} µs CPU, {:.0} MB",
            drain.subject,
            drain.from_start,
            drain.from_first,
            drain.first_record.as_millis(),
            drain.cpu_micros,
            mb(drain.peak_rss)
        );
    }
}

/// Prints the table of all drains.
pub fn drains(results: &[Drain]) {
    let rate = |name: &str| median(of(results, name, |d| d.from_start));
    let limit = rate("raw drain");
    println!(
        "| | events/s from process start (lowest–highest) | of the raw drain | events/s from the first record | first record after | CPU µs/event (from the first record) | peak RSS |"
    );
    println!("|---|---|---|---|---|---|---|");
    for name in names(results.iter().map(|d| d.subject)) {
        let mut starts = of(results, name, |d| d.from_start);
        starts.sort_by(f64::total_cmp);
        println!(
            "| {name} | {:.0} ({:.0}–{:.0}) | {:.0} % | {:.0} | {:.0} ms | {:.1} ({:.1}) | {:.0} MB |",
            median(starts.clone()),
            starts.first().unwrap_or(&0.0),
            starts.last().unwrap_or(&0.0),
            100.0 * rate(name) / limit,
            median(of(results, name, |d| d.from_first)),
            median(of(results, name, |d| d.first_record.as_secs_f64() * 1e3)),
            median(of(results, name, |d| d.cpu_micros)),
            median(of(results, name, |d| d.cpu_micros_from_first)),
            results
                .iter()
                .filter(|d| d.subject == name)
                .map(|d| mb(d.peak_rss))
                .fold(0.0, f64::max),
        );
    }
}

/// Prints the table of all latencies.
pub fn latencies(results: &[Latency]) {
    println!("| | p50 ms | p90 ms | p99 ms | highest ms | CPU of one core | not seen |");
    println!("|---|---|---|---|---|---|---|");
    for latency in results {
        let at = |quantile: f64| {
            let index = (latency.sorted.len() as f64 * quantile) as usize;
            latency.sorted.get(index).copied().unwrap_or(f64::NAN)
        };
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} % | {} |",
            latency.subject,
            at(0.5),
            at(0.9),
            at(0.99),
            latency.sorted.last().copied().unwrap_or(f64::NAN),
            latency.cpu_percent,
            latency.lost
        );
    }
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn of(results: &[Drain], subject: &str, value: impl Fn(&Drain) -> f64) -> Vec<f64> {
    let of_subject = results.iter().filter(|d| d.subject == subject);
    of_subject.map(value).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
