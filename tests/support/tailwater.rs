//! The real binary, as an operator runs it.

use super::http::{self, Reply};
use super::process::{self, Process};
use super::{Database, Kafka, PATIENCE, eventually, unique};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Environment and working directory of runs of Tailwater. One setup can be started again and
/// again: same stream, same folder.
#[derive(Debug, Clone)]
pub struct Setup {
    env: BTreeMap<String, String>,
    args: Vec<String>,
    folder: PathBuf,
    descriptors: Option<u32>,
    program: Option<PathBuf>,
}

/// The program of this build, or the one that figures are wanted of.
fn program() -> PathBuf {
    let other = std::env::var_os("TAILWATER_TEST_PROGRAM");
    other.map_or_else(|| env!("CARGO_BIN_EXE_tailwater").into(), PathBuf::from)
}

impl Setup {
    /// Nothing set but a free HTTP port and an empty working directory.
    pub fn empty() -> Self {
        Self {
            env: BTreeMap::new(),
            args: Vec::new(),
            folder: process::folder("tailwater"),
            descriptors: None,
            program: None,
        }
        .env("HTTP_ADDR", "127.0.0.1:0")
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Command-line arguments: `&["check"]`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// How many descriptors it may open, as `ulimit -n` sets it.
    #[must_use]
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// All variables: for a run inside the test's own process.
    pub fn vars(&self) -> BTreeMap<String, String> {
        self.env.clone()
    }

    /// The working directory: for a `.env` file, or to see what was written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it exits or is not ready after [`PATIENCE`], with its log.
    pub async fn start(&self) -> Tailwater {
        let mut tailwater = self.spawn();
        tailwater.wait_ready().await;
        tailwater
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&self) -> Tailwater {
        let program = self.program.clone().unwrap_or_else(program);
        let mut command = match self.descriptors {
            None => Command::new(program),
            Some(most) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(program);
                shell
            }
        };
        command
            .args(&self.args)
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.env);
        // Coverage and sanitizers are steered from outside.
        for name in ["PATH", "HOME", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Tailwater {
            process: Process::spawn("tailwater", &mut command),
        }
    }

    /// Runs it to its end, as with a command or a wrong configuration.
    ///
    /// # Panics
    /// When it still runs after [`PATIENCE`].
    pub async fn run(&self) -> Exit {
        self.spawn().wait_exit(PATIENCE).await
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Both outputs.
    pub output: String,
}

/// A running Tailwater, killed when dropped.
pub struct Tailwater {
    process: Process,
}

impl Tailwater {
    /// A setup for all changes of `db` into `kafka`, under a stream of its own.
    pub fn on(db: &Database, kafka: &Kafka) -> Setup {
        Setup::empty()
            .env("MONGODB_URI", db.uri())
            .env("KAFKA_BROKERS", kafka.brokers())
            .env("KAFKA_CLIENT_ID", unique("tailwater"))
    }

    /// Waits until `/health/ready` says so.
    ///
    /// # Panics
    /// When it exits or is not ready after [`PATIENCE`], with its log.
    pub async fn wait_ready(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.is_ready().await {
            self.assert_runs("before it was ready");
            assert!(
                Instant::now() < end,
                "tailwater is not ready after {PATIENCE:?}; its log:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether `/health/ready` says so now.
    pub async fn is_ready(&self) -> bool {
        match self.http_addr() {
            Some(addr) => http::get(addr, "/health/ready")
                .await
                .is_ok_and(|r| r.status == 200),
            None => false,
        }
    }

    /// Asks its HTTP server.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> Reply {
        let addr = self.http_addr().expect("its HTTP server listens");
        http::get(addr, path)
            .await
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Waits until the snapshot is over that runs or ran last; what is told of it.
    pub async fn wait_for_snapshot(&self) -> serde_json::Value {
        eventually(PATIENCE, "the snapshot is over", async || {
            let reply = self.get("/api/snapshots").await.json();
            let snapshot = reply["snapshots"].get(0)?.clone();
            (snapshot["state"] == "finished").then_some(snapshot)
        })
        .await
    }

    /// Where its HTTP server listens, once it has said so.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        let log = self.log();
        let line = log
            .lines()
            .find(|line| line.contains("http server listening"))?;
        let (_, value) = line.split_once("addr")?;
        let value = value.trim_start_matches(['"', '=', ':', ' ']);
        let end = value.find(['"', ' ', ',', '}']).unwrap_or(value.len());
        value[..end].parse().ok()
    }

    /// Where it serves live changes, once it does.
    ///
    /// # Panics
    /// When it exits before, or after [`PATIENCE`].
    pub async fn live_addr(&mut self) -> SocketAddr {
        let line = self.wait_for_log("live changes are served addr=").await;
        let (_, addr) = line.rsplit_once("addr=").unwrap();
        let addr: SocketAddr = addr.trim().parse().unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
        eventually(PATIENCE, "live changes are served", async || {
            let answer = http::get(addr, "/health").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        addr
    }

    /// Its log so far, both outputs, without colours.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Waits until the log has a line with `text`, and returns that line.
    ///
    /// # Panics
    /// When it exits before, or after [`PATIENCE`].
    pub async fn wait_for_log(&mut self, text: &str) -> String {
        let what = format!("tailwater logs {text:?}");
        eventually(PATIENCE, &what, async || {
            let running = self.process.exit_status().is_none();
            let log = self.log();
            let line = log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            assert!(
                running || line.is_some(),
                "tailwater exited without {text:?}:\n{log}"
            );
            line
        })
        .await
    }

    /// Waits until the log has the event `id`, and returns its line: what it says may change, its id does not.
    ///
    /// # Panics
    /// As [`wait_for_log`](Self::wait_for_log).
    pub async fn wait_for_event(&mut self, id: &str) -> String {
        self.wait_for_log(&format!("event_id=\"{id}\"")).await
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills it as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Stops it as an orchestrator does (SIGTERM) and expects a graceful end.
    ///
    /// # Panics
    /// When it does not exit with 0 in time; with its log.
    pub async fn stop(mut self) -> Exit {
        self.assert_runs("before it was stopped");
        self.signal(Signal::TERM);
        let exit = self.wait_exit(PATIENCE).await;
        assert_eq!(exit.code, Some(0), "not a graceful stop:\n{}", exit.output);
        exit
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it still runs after `deadline`; with its log.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Exit {
        let status = self.process.wait_exit(deadline).await;
        Exit {
            code: status.code(),
            output: self.log(),
        }
    }

    fn assert_runs(&mut self, when: &str) {
        if let Some(status) = self.process.exit_status() {
            panic!(
                "tailwater exited with {status} {when}; its log:\n{}",
                self.log()
            );
        }
    }
}
