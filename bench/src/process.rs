//! A measured child process: its CPU time and peak memory, as the kernel counts them.

use crate::error::Fallible;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The unit of times in `/proc`, the same on every Linux.
pub const TICK: Duration = Duration::from_millis(10);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident set, in bytes.
    pub peak_rss: u64,
    /// Resident set now, in bytes.
    pub rss: u64,
}

/// Reads `/proc`; `pid` may be `self`.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: &str) -> Fallible<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    // Fields 14 and 15 of proc(5); two are before the bracket.
    let ticks: u32 = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Fallible<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.unwrap_or("0").parse()?)
    };
    Ok(Usage {
        cpu: TICK * ticks,
        peak_rss: kib("VmHWM:")? * 1024,
        rss: kib("VmRSS:")? * 1024,
    })
}

/// How many threads a process has.
///
/// # Errors
/// When there is no such process.
pub fn threads(pid: u32) -> Fallible<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Sends a signal.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: &str, signal: Signal) -> Fallible {
    let pid = Pid::from_raw(pid.parse()?).ok_or("not a process")?;
    rustix::process::kill_process(pid, signal)?;
    Ok(())
}

/// A child, ended when dropped.
pub struct Measured {
    child: Child,
    pub began: Instant,
    name: String,
}

impl Measured {
    /// Starts it with both outputs in `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Fallible<Self> {
        let log = std::fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        Ok(Self {
            child: command.spawn()?,
            began,
            name: name.to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&mut self) -> Fallible<Usage> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("{} ended by itself with {status}: see its log", self.name).into());
        }
        usage(&self.child.id().to_string())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn stop(mut self) -> Fallible {
        signal(&self.child.id().to_string(), Signal::TERM)?;
        let end = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(format!("{} does not stop", self.name).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets this process, and those that it starts, open as many files as the system allows.
///
/// # Errors
/// When the system does not.
pub fn allow_most_files() -> Fallible {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?;
    Ok(())
}
