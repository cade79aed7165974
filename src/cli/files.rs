//! Files that people give to commands: read, and checked without a server.

use super::{complain, print};
use crate::error::Code;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads a file, or the standard input, as text.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    read.map_err(|error| format!("cannot be read: {error}"))
}

/// Checks files: `read` gives a line for each thing that is right, or everything that is wrong. The exit code.
pub(super) fn lint(
    files: &[PathBuf],
    read: impl Fn(&Path) -> Result<Vec<String>, Vec<String>>,
) -> u8 {
    let mut is_wrong = false;
    for path in files {
        let name = path.display();
        match read(path) {
            Ok(right) => {
                for line in &right {
                    print(&format!("{name}: {line}\n"));
                }
                print(&format!("{name}: {} right\n", right.len()));
            }
            Err(wrong) => {
                is_wrong = true;
                for wrong in wrong {
                    complain(&format!("{name}: {wrong}"));
                }
            }
        }
    }
    match is_wrong {
        true => Code::Config.exit_code(),
        false => 0,
    }
}
