//! Programs for Node: clients as those who use them have them.

use super::process::{self, Process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Node, and a folder with packages, by `scripts/node`.
fn programs() -> &'static (PathBuf, PathBuf) {
    static PROGRAMS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/node");
        let output = Command::new(script).output().expect("a shell script");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(PathBuf::from);
        match (output.status.success(), lines.next(), lines.next()) {
            (true, Some(node), Some(packages)) => (node, packages),
            _ => panic!(
                "`scripts/node` failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    })
}

/// A folder of programs with their packages, in a copy: what they write is gone with the test.
pub struct Node(PathBuf);

impl Node {
    /// Copies a folder of the repository.
    ///
    /// # Panics
    /// When it is not there.
    pub fn with(folder: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let copy = process::folder("node");
        for file in std::fs::read_dir(from).expect("a folder of the repository") {
            let file = file.expect("a folder that can be read").path();
            std::fs::copy(&file, copy.join(file.file_name().expect("a file"))).expect("a file");
        }
        let packages = programs().1.join("node_modules");
        std::os::unix::fs::symlink(packages, copy.join("node_modules")).expect("a new folder");
        Self(copy)
    }

    /// Starts one of the programs.
    pub fn start(&self, args: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(&programs().0);
        command
            .current_dir(&self.0)
            .args(args)
            .envs(variables.iter().copied());
        Process::spawn(args[0], &mut command)
    }
}

/// A new RSA key as PKCS #8, which the tests' own libraries cannot make.
///
/// # Panics
/// When Node does not make one.
pub fn rsa_key() -> Vec<u8> {
    const SCRIPT: &str = "const { privateKey } = require('node:crypto').generateKeyPairSync('rsa', { modulusLength: 2048 });
        process.stdout.write(privateKey.export({ type: 'pkcs8', format: 'der' }))";
    let made = Command::new(&programs().0).args(["-e", SCRIPT]).output();
    let made = made.expect("Node runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    made.stdout
}
