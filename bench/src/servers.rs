//! The CPU time of the servers and of the whole machine while something runs: what bounds the rate.

use crate::error::Fallible;
use crate::process::{self, TICK};
use crate::record::{Run, value};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The servers' processes, as `scripts/services` tells them; none where they are somebody else's.
#[derive(Debug, Clone)]
pub struct Servers {
    mongodb: Option<String>,
    kafka: Option<String>,
}

/// CPU time used until a moment.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    at: Instant,
    mongodb: Option<Duration>,
    kafka: Option<Duration>,
    busy: Duration,
    stolen: Duration,
}

impl Servers {
    pub fn of_environment() -> Self {
        let pid = |name| std::env::var(name).ok().filter(|pid| !pid.is_empty());
        Self {
            mongodb: pid("SERVICES_MONGODB_PID"),
            kafka: pid("SERVICES_KAFKA_PID"),
        }
    }

    /// Kafka's process.
    ///
    /// # Errors
    /// When it is not ours.
    pub fn kafka(&self) -> Fallible<&str> {
        let pid = self.kafka.as_deref();
        Ok(pid.ok_or("SERVICES_KAFKA_PID is not set: Kafka was not started by scripts/services")?)
    }

    /// # Errors
    /// When a server has ended.
    pub fn now(&self) -> Fallible<Clock> {
        let used = |pid: &Option<String>| -> Fallible<_> {
            let pid = pid.as_deref();
            Ok(pid.map(process::usage).transpose()?.map(|usage| usage.cpu))
        };
        let (busy, stolen) = machine()?;
        Ok(Clock {
            at: Instant::now(),
            mongodb: used(&self.mongodb)?,
            kafka: used(&self.kafka)?,
            busy,
            stolen,
        })
    }

    /// The bytes of a topic's only partition in the broker's log, without its indexes; none where they
    /// cannot be seen.
    pub fn topic_bytes(&self, topic: &str) -> Option<u64> {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.kafka.as_deref()?)).ok()?;
        // The last argument is the file of properties.
        let properties = command.split(|byte| *byte == 0).rfind(|a| !a.is_empty())?;
        let properties = std::fs::read_to_string(std::str::from_utf8(properties).ok()?).ok()?;
        let folder = properties
            .lines()
            .find_map(|line| line.strip_prefix("log.dirs="))?;
        let folder = PathBuf::from(folder).join(format!("{topic}-0"));
        let files = std::fs::read_dir(folder).ok()?.flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|e| e == "log"));
        Some(
            logs.filter_map(|file| Some(file.metadata().ok()?.len()))
                .sum(),
        )
    }
}

impl Clock {
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Notes how many cores each kept busy since `earlier`; `own` is the subject's CPU time.
    pub fn note_since(&self, earlier: &Self, own: Duration, run: &mut Run) {
        let passed = (self.at - earlier.at).as_secs_f64();
        let cores = |used: Duration| used.as_secs_f64() / passed;
        let server = |now: Option<Duration>, then: Option<Duration>| {
            now.zip(then)
                .map_or(f64::NAN, |(now, then)| cores(now.saturating_sub(then)))
        };
        run.set(value::CORES, cores(own))
            .set(value::MONGODB_CORES, server(self.mongodb, earlier.mongodb))
            .set(value::KAFKA_CORES, server(self.kafka, earlier.kafka))
            .set(
                value::MACHINE_CORES,
                cores(self.busy.saturating_sub(earlier.busy)),
            )
            .set(
                value::STOLEN_CORES,
                cores(self.stolen.saturating_sub(earlier.stolen)),
            );
    }
}

/// Time that all cores of the machine have worked, and time that its host gave to others.
fn machine() -> Fallible<(Duration, Duration)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or("").split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq, steal: proc(5).
    let ticks: Vec<u32> = fields
        .map(|field| field.parse::<u64>().map(|ticks| ticks as u32))
        .collect::<Result<_, _>>()?;
    let of = |indexes: &[usize]| -> u32 { indexes.iter().filter_map(|i| ticks.get(*i)).sum() };
    Ok((TICK * of(&[0, 1, 2, 5, 6]), TICK * of(&[7])))
}
