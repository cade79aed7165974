//! The wall clock of a process, which a test can step.

use super::process;
use super::tailwater::Setup;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// The library that is preloaded.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = process::folder("clock").join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .args([source, "-ldl", "-lpthread"])
        .status();
    assert!(built.expect("a C compiler").success(), "{source}");
    library
});

/// A wall clock, right until it is stepped.
pub struct Clock(PathBuf);

impl Clock {
    pub fn new() -> Self {
        let clock = Self(process::folder("clock").join("ahead"));
        clock.step_to(0);
        clock
    }

    /// From now on it is so many seconds ahead of the right time.
    pub fn step_to(&self, seconds: i64) {
        // In place: the process has mapped the file.
        use std::io::Write;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false);
        let written = file
            .open(&self.0)
            .and_then(|mut file| file.write_all(&seconds.to_ne_bytes()));
        written.expect("the file can be written");
    }

    /// A setup whose process goes by this clock.
    pub fn of(&self, setup: &Setup) -> Setup {
        setup
            .clone()
            .env("LD_PRELOAD", LIBRARY.display())
            .env("STEPPED_CLOCK", self.0.display())
    }
}
