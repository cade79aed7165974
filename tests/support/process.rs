//! A child process that never outlives the tests, and its output.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    output: Arc<Mutex<String>>,
    /// End when both outputs do.
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts `command` in a process group of its own, with both outputs captured.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        GUARD.tell("kill", child.id());
        let output = Arc::default();
        let readers = [
            capture(child.stdout.take(), &output),
            capture(child.stderr.take(), &output),
        ];
        Self {
            name: name.to_owned(),
            child,
            ended: None,
            output,
            readers,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, without colours.
    pub fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    /// How it ended, once it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
            if self.ended.is_some() {
                GUARD.tell("spare", self.pid());
            }
        }
        self.ended
    }

    /// Sends `signal`, unless it has ended: its number may belong to another process by then.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit_status().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// SIGKILL: gone without a last word, as in a crash.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child of ours");
        self.exit_status();
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// After `deadline`, with its output.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            // Its last lines may still be on their way through the pipe.
            if let Some(status) = self.exit_status()
                && self.readers.iter().all(JoinHandle::is_finished)
            {
                return status;
            }
            assert!(
                Instant::now() < end,
                "{} still runs after {deadline:?}; its output:\n{}",
                self.name,
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}", self.name, self.output());
        }
    }
}

fn capture(
    pipe: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<String>>,
) -> JoinHandle<()> {
    let (pipe, output) = (pipe.expect("piped"), Arc::clone(output));
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = without_colours(&String::from_utf8_lossy(&line));
            output.lock().expect("no reader panics").push_str(&text);
            line.clear();
        }
    })
}

/// Drops `ESC [ … m` sequences.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// A folder that is removed when the test process has ended.
pub fn folder(name: &str) -> PathBuf {
    let folder = GUARD.root.join(super::unique(name));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}

/// A shell that waits for the test process to end, by whatever cause (a panic, Ctrl-C, SIGKILL),
/// then kills what is still there and removes the temporary folder. The end of its standard input
/// is how it learns; so no child may inherit that pipe, and none does: the standard library opens
/// pipes close-on-exec.
struct Guard {
    root: PathBuf,
    shell: Mutex<Child>,
}

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        pids=' '
        while read -r verb pid; do
            case $verb in
                kill) pids="$pids$pid " ;;
                spare) pids="${pids%% $pid *} ${pids#* $pid }" ;;
            esac
        done
        for pid in $pids; do kill -9 "$pid"; done
        rm -rf -- "$1"
    "#;
    let root = tempfile::Builder::new()
        .prefix("tailwater-test-")
        .tempdir()
        .expect("the temporary folder is writable")
        .keep();
    let shell = Command::new("sh")
        .args(["-c", SCRIPT, "guard"])
        .arg(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh runs");
    Guard {
        root,
        shell: Mutex::new(shell),
    }
});

impl Guard {
    fn tell(&self, verb: &str, pid: u32) {
        let mut shell = self.shell.lock().expect("no holder panics");
        let pipe = shell.stdin.as_mut().expect("piped");
        writeln!(pipe, "{verb} {pid}").expect("the guard listens");
    }
}
