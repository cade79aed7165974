//! Where the servers' programs are: the cache folder that `scripts/services install` fills.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The programs the servers run from.
pub struct Programs {
    /// The MongoDB-compatible server.
    pub mongod: PathBuf,
    /// `-cp` of Kafka: all jars.
    pub kafka_classpath: String,
}

/// Downloads the connectors of others where they are missing, and tells in which folder they are.
///
/// # Panics
/// As [`programs`].
pub fn peers() -> PathBuf {
    installed("peers")
}

/// Downloads the registry of schemas where it is missing, and tells in which folder it is.
///
/// # Panics
/// As [`programs`].
pub fn registry() -> PathBuf {
    installed("registry")
}

/// Installs what is missing (minutes, once per machine) and tells where it is.
///
/// # Panics
/// When something cannot be installed; the script's own words are in the test's output.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let folder = installed("install");
        Programs {
            mongod: folder.join("secantus/bin/secantusd-rs"),
            kafka_classpath: folder.join("kafka").join("*").display().to_string(),
        }
    })
}

/// Has `scripts/services` install something, and tells where it is.
fn installed(what: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
    let output = Command::new(&script)
        .arg(what)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(
        output.status.success(),
        "`scripts/services {what}` failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
