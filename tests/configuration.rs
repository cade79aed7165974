//! The binary and its configuration: what it reads, what it says, how it leaves.

use std::fs;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The binary in an empty folder with an empty environment.
struct Binary {
    folder: TempDir,
    vars: Vec<(&'static str, String)>,
}

impl Binary {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            vars: Vec::new(),
        }
    }

    fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.vars.push((name, value.into()));
        self
    }

    fn dotenv(self, text: &str) -> Self {
        fs::write(self.folder.path().join(".env"), text).unwrap();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater"));
        command
            .args(args)
            .env_clear()
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// Exit code, standard output, error output.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

#[test]
fn the_env_file_of_the_generic_database_watcher_is_read_from_the_working_directory() {
    let binary = Binary::new()
        .dotenv(
            "MONGODB_URI=mongodb://localhost:27017/dashboard\nKAFKA_BROKERS=localhost:9092\n\
             KAFKA_CLIENT_ID=database-watcher\nKAFKA_TOPIC_INSERT=database.insert\n\
             KAFKA_TOPIC_UPDATE=database.update\nKAFKA_TOPIC_DELETE=database.delete\n\
             WATCH_COLLECTIONS=users,organizations\nEXCLUDE_COLLECTIONS=sessions,migrations\n\
             LOG_LEVEL=info\nBATCH_SIZE=50\n",
        )
        .var("BATCH_SIZE", "7");
    let (exit, out, err) = binary.run(&["config", "--output", "json"]);
    assert_eq!((exit, err.as_str()), (Some(0), ""));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let setting = |name: &str| {
        let settings = answer["settings"].as_array().unwrap();
        let setting = settings.iter().find(|s| s["variable"] == name).unwrap();
        let part = |key: &str| setting[key].as_str().unwrap().to_owned();
        (part("value"), part("origin"))
    };
    let text = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(setting("KAFKA_CLIENT_ID"), text("database-watcher", ".env"));
    assert_eq!(setting("BATCH_SIZE"), text("7", "env"));
    assert_eq!(
        setting("STREAM_ID"),
        text("database-watcher:dashboard", "derived")
    );
    assert_eq!(answer["warnings"], serde_json::json!([]));
}

#[test]
fn a_wrong_configuration_is_told_whole_and_leaves_with_its_code_whatever_is_run() {
    let binary = Binary::new()
        .var("MONGODB_URI", "mongodb://user:hunter2@localhost:27017")
        .var("BATCH_SIZE", "fifty")
        .var("KAFKA_PROP_NO_SUCH_THING", "1")
        .var("KAFKA_BROKER", "localhost:9092");
    for args in [&[][..], &["run"], &["check"], &["config"]] {
        let (exit, out, err) = binary.run(args);
        assert_eq!((exit, out.as_str()), (Some(2), ""), "{args:?}");
        for expected in [
            "the configuration has 4 errors:",
            "MONGODB_URI=mongodb://***@localhost:27017: names no database",
            "BATCH_SIZE=fifty: is no whole number",
            "KAFKA_BROKERS: is not set",
            "KAFKA_PROP_NO_SUCH_THING=1: No such configuration property",
            "warning: KAFKA_BROKER: is not read; did you mean KAFKA_BROKERS?",
        ] {
            assert!(err.contains(expected), "{args:?}: {err}");
        }
        assert!(!err.contains("hunter2"), "{err}");
    }
}

/// The lines of `config`, whose first word is a variable.
fn setting<'a>(out: &'a str, name: &str) -> &'a str {
    let mut lines = out.lines();
    let line = lines.find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {out}"))
}

#[test]
fn the_env_file_of_a_node_program_is_taken_with_the_lines_of_others_in_it() {
    let foreign = "SMTP_FROM=Team <a@example.com>\nFEATURES={\"a\": [1]}\nGREETING=it's\nFOLDER=C:\\new\n\
                   hunter2\nTITLE: Dashboard\n";
    let ours = "export MONGODB_URI=mongodb://u:pa$sw0rd@h/d?useNewUrlParser=true&socketTimeoutMS=5\n\
                KAFKA_BROKERS = \"h:9092\" # local\n";
    let binary = Binary::new().dotenv(&format!("{foreign}{ours}"));
    let (exit, out, err) = binary.run(&["config"]);
    assert_eq!(exit, Some(0), "{err}");
    assert!(
        setting(&out, "MONGODB_URI").ends_with("mongodb://***@h/d?***  [.env]"),
        "{out}"
    );
    assert!(
        setting(&out, "KAFKA_BROKERS").ends_with("h:9092  [.env]"),
        "{out}"
    );
    for said in [
        "warning: .env: line 5 is not read",
        "warning: MONGODB_URI: its option useNewUrlParser has no effect here",
        "warning: MONGODB_URI: its option socketTimeoutMS has no effect here",
    ] {
        assert!(err.contains(said), "{err}");
    }
    assert!(!err.contains("hunter2") && !err.contains("sw0rd"), "{err}");

    let alone = Binary::new()
        .dotenv(foreign)
        .var("MONGODB_URI", "mongodb://h/d")
        .var("KAFKA_BROKERS", "h:1");
    let (exit, _, err) = alone.run(&["config"]);
    assert_eq!((exit, err.lines().count()), (Some(0), 1), "{err}");
}

#[test]
fn nothing_waits_for_a_pipe_in_the_place_of_a_file() {
    let binary = Binary::new()
        .var("MONGODB_URI", "mongodb://h/d")
        .var("KAFKA_BROKERS", "h:1")
        .var("ADMIN_TOKEN_FILE", ".env");
    let pipe = binary.folder.path().join(".env");
    let made = Command::new("mkfifo").arg(pipe).status().unwrap();
    assert!(made.success());
    let (exit, _, err) = binary.run(&["config"]);
    assert_eq!(exit, Some(2));
    assert!(
        err.contains("ADMIN_TOKEN_FILE=.env: is a pipe and no file"),
        "{err}"
    );
    assert!(
        err.contains("warning: .env: is a pipe and no file: it is not read"),
        "{err}"
    );
}

/// librdkafka's threads take the stack that the limit names, so that the system has no room for one.
#[test]
fn a_thread_that_cannot_be_made_is_no_fault_of_the_configuration() {
    let limits = "ulimit -s 1073741824 && ulimit -v 8388608 && exec \"$0\" topics";
    let binary = Binary::new()
        .var("MONGODB_URI", "mongodb://127.0.0.1:1/d")
        .var("KAFKA_BROKERS", "127.0.0.1:1");
    let output = Command::new("sh")
        .args(["-c", limits, env!("CARGO_BIN_EXE_tailwater")])
        .env_clear()
        .envs(binary.vars.iter().map(|(name, value)| (name, value)))
        .current_dir(binary.folder.path())
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(14), "{said}");
    assert!(
        said.contains("Failed to create thread") && said.contains("ulimit -u"),
        "{said}"
    );
}

#[test]
fn reference_and_example_need_no_configuration() {
    let binary = Binary::new().var("BATCH_SIZE", "fifty");
    let (exit, out, _) = binary.run(&["config", "--reference"]);
    assert_eq!(exit, Some(0));
    assert!(out.contains("| `MONGODB_URI` | **required** |"), "{out}");
    let (exit, example, _) = binary.run(&["config", "--example"]);
    assert_eq!(exit, Some(0));
    let (exit, ..) = Binary::new().dotenv(&example).run(&["config"]);
    assert_eq!(exit, Some(0));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let binary = Binary::new();
    let mut child = binary
        .command(&["config", "--reference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn health_needs_only_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for (value, exit, reason) in [
        (address.as_str(), 1, "refused"),
        ("off", 1, "there is no server to ask"),
        ("3001", 2, "HTTP_ADDR=3001: is no IP address with a port"),
    ] {
        let (code, _, err) = Binary::new()
            .var("HTTP_ADDR", value)
            .var("BATCH_SIZE", "fifty")
            .run(&["health"]);
        assert_eq!(code, Some(exit), "{err}");
        assert!(err.contains(reason) && !err.contains("fifty"), "{err}");
    }
}

#[test]
fn a_wrong_command_line_leaves_as_a_wrong_configuration_does() {
    let (exit, _, err) = Binary::new().run(&["rnu"]);
    assert_eq!(exit, Some(2));
    assert!(err.contains("unrecognized subcommand"), "{err}");
    let (exit, out, _) = Binary::new().run(&["--help"]);
    assert_eq!(exit, Some(0));
    assert!(out.contains("Exit codes:"), "{out}");
}
