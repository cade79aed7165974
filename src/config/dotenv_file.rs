//! The `.env` file.

use super::problem::Problem;
use std::path::Path;

/// The file's pairs in their order; none where there is no file.
///
/// # Errors
/// Where it cannot be read. The file may hold secrets, so nothing of its content is told.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, Problem> {
    let problem = |sentence: String| Problem {
        variable: path.display().to_string(),
        given: None,
        sentence,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(problem(format!(
                "cannot be read: {error}; correct it or remove it"
            )));
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut pairs = Vec::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok(pair) => pairs.push(pair),
            // The error holds the line, which may hold a secret: only where it is may be told.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let before = text.find(line.as_str()).unwrap_or_default();
                let number = text[..before].matches('\n').count() + 1;
                return Err(problem(format!(
                    "line {number} cannot be read; give NAME=value, and put a value with spaces, \
                     quotes, $ or # in single quotes"
                )));
            }
            Err(_) => return Err(problem("cannot be read".into())),
        }
    }
    Ok(pairs)
}
