//! Running a program: the record on its input, its exit code the answer. No shell.

use super::job::{Failure, Reason, Record};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What of the worker's own environment a program gets: the rest may hold secrets that are not its own.
const KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
/// How much of what it says is logged, in bytes, and how much is read of it at all.
const LOGGED: u64 = 256;
/// How long what it has said is read once it has ended: its exit code is the answer, whoever holds its pipes.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs it and waits for its end.
///
/// # Errors
/// Why the job is not done.
pub async fn run(
    command: &[String],
    record: &Record,
    attempt: u32,
    timeout: Duration,
) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new(
            Reason::Program,
            "the handler names no program",
        ));
    };
    let mut starting = Command::new(program);
    starting
        .args(arguments)
        .env_clear()
        .env("TW_ATTEMPT", attempt.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            starting.env(name, value);
        }
    }
    for (name, value) in record.own_headers() {
        let value = String::from_utf8_lossy(value);
        let is_variable = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_variable && !value.contains('\0') {
            starting.env(name.to_ascii_uppercase().replace('-', "_"), &*value);
        }
    }
    let mut child = Group(starting.spawn().map_err(|error| {
        Failure::new(
            Reason::Program,
            format!("the program cannot be started: {error}"),
        )
    })?);
    let ended = tokio::time::timeout(timeout, finish(&mut child.0, record)).await;
    let Ok(ended) = ended else {
        let detail = format!("the program did not end within {timeout:?} and was killed");
        return Err(Failure::new(Reason::Timeout, detail));
    };
    let status = ended.map_err(|error| {
        Failure::new(
            Reason::Program,
            format!("the program cannot be waited for: {error}"),
        )
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure {
            status: Some(code),
            ..Failure::new(
                Reason::Program,
                format!("the program ended with exit code {code}"),
            )
        }),
        None => Err(Failure::new(
            Reason::Program,
            "the program was ended by a signal",
        )),
    }
}

async fn finish(child: &mut Child, record: &Record) -> std::io::Result<std::process::ExitStatus> {
    let (input, errors) = (child.stdin.take(), child.stderr.take());
    let value = record.value.as_deref().unwrap_or_default();
    let mut said = Vec::new();
    let writing = async move {
        if let Some(mut input) = input {
            // A program need not read it.
            let _ = input.write_all(value).await;
        }
    };
    let reading = async {
        if let Some(mut errors) = errors {
            let _ = (&mut errors).take(LOGGED).read_to_end(&mut said).await;
            // It may say more, and shall not wait for somebody who reads that.
            let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        }
    };
    let status = {
        let talking = async { tokio::join!(writing, reading) };
        tokio::pin!(talking);
        tokio::select! {
            status = child.wait() => {
                // What it has started may hold its pipes for ever: https://github.com/python/cpython/issues/76116.
                let _ = tokio::time::timeout(LAST_WORDS, talking).await;
                status
            }
            _ = &mut talking => child.wait().await,
        }
    };
    if tracing::enabled!(tracing::Level::DEBUG) {
        let said = String::from_utf8_lossy(&said);
        tracing::debug!(said = %said.escape_debug(), "a program has ended");
    }
    status
}

/// A program with all that it has started: where an attempt ends before the program does, they end with it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
