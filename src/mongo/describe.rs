//! The driver's errors in words that hold no document, no token and no secret.
//!
//! Nothing else turns one of them into text: their own `Display` and `Debug` hold the server's whole
//! reply, and its messages quote what was asked for. A test keeps it so.

use super::{codes, hosts};
use mongodb::error::{Error, ErrorKind};

/// What went wrong, in words.
///
/// The server's message is repeated only for codes whose messages are known to quote none of what was
/// sent: those about events and tokens quote them in full, and a token holds the document's key; that of
/// a missing privilege quotes the whole command.
pub fn describe(error: &Error) -> String {
    let described = match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            let name = one_line(&command.code_name);
            let told = format!("{name} ({})", command.code);
            match QUOTES_NOTHING.contains(&command.code) {
                true => format!("{told}: {}", one_line(&command.message)),
                false => told,
            }
        }
        ErrorKind::Write(_) | ErrorKind::InsertMany(_) | ErrorKind::BulkWrite(_) => {
            match codes::server_code(error) {
                Some(code) => format!("a write failed ({code})"),
                None => "a write failed".into(),
            }
        }
        ErrorKind::ServerSelection { message, .. } => hosts::none_of(message),
        // Its text is that of the other failure, whichever that was.
        ErrorKind::ConnectionPoolCleared { .. } => {
            "the connections were closed after another failure".into()
        }
        // What cannot be read is quoted.
        ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_) => {
            "the reply is not what MongoDB's protocol says".into()
        }
        ErrorKind::Custom(own) => match own.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "an error of our own".into(),
        },
        // Texts of the driver itself, and of the operating system.
        known @ (ErrorKind::Io(_)
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::Internal { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::MissingResumeToken
        | ErrorKind::Shutdown) => one_line(&known.to_string()),
        _ => "the driver failed".into(),
    };
    match codes::cause(error) {
        Some(cause) => format!("{described}; {}", describe(cause)),
        None => described,
    }
}

/// An error of ours in the place of one of the driver's, with a text that [`describe`] gives as it is.
pub fn custom(text: &str) -> Error {
    Error::custom(text.to_owned())
}

const QUOTES_NOTHING: &[i32] = &[18, 20, 59, 73, 91, 189, 8000, 10107, 40324, 40415, 40573];

/// How much of a text from outside is repeated, in characters.
const MOST: usize = 300;

/// A text from outside, which may be anything: without control characters, and not without end.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MOST)
        .collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use mongodb::error::{CommandError, WriteError, WriteFailure};

    fn command(code: i32, message: &str) -> Error {
        let reply = doc! {"code": code, "codeName": "Name", "errmsg": message};
        let command: CommandError = bson::deserialize_from_document(reply).unwrap();
        ErrorKind::Command(command).into()
    }

    #[test]
    fn messages_that_may_quote_what_was_sent_are_not_repeated() {
        for code in [10334, 47, 280, 260, 286, 11000, 13, 2, 462, 99_999] {
            let said = describe(&command(code, "SECRET"));
            assert!(
                !said.contains("SECRET") && said.contains(&code.to_string()),
                "{said}"
            );
        }
        let said = describe(&command(40573, "only on replica sets"));
        assert_eq!(said, "Name (40573): only on replica sets");
        let write = doc! {"code": 13, "errmsg": "SECRET"};
        let write: WriteError = bson::deserialize_from_document(write).unwrap();
        let said = describe(&ErrorKind::Write(WriteFailure::WriteError(write)).into());
        assert_eq!(said, "a write failed (13)");
    }

    #[test]
    fn a_servers_text_is_one_line_and_has_an_end() {
        let said = describe(&command(
            20,
            &format!("a\nlevel=ERROR {}", "x".repeat(5000)),
        ));
        assert!(!said.contains('\n') && said.len() < 400, "{said}");
        assert!(said.ends_with('…'), "{said}");
    }

    #[test]
    fn a_text_of_ours_is_given_as_it_is() {
        assert_eq!(describe(&custom("our own words")), "our own words");
        assert_eq!(describe(&Error::custom(1)), "an error of our own");
    }

    /// Where the driver's errors are known, none is formatted but by [`describe`].
    #[test]
    fn no_error_of_the_driver_is_formatted_in_any_other_way() {
        let mut files = vec![std::path::PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src"
        ))];
        let mut looked_at = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(path).unwrap();
                files.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let knows_the_driver = ["mongodb::Client", "mongodb::error", "mongodb::{Client"]
                .iter()
                .any(|import| source.contains(import));
            if !knows_the_driver || path.ends_with("describe.rs") {
                continue;
            }
            looked_at += 1;
            for (index, line) in source.lines().enumerate() {
                let formats = ["%error", "?error", "{error}", "{error:?}", "because(error)"]
                    .iter()
                    .any(|format| line.contains(format));
                assert!(
                    !formats,
                    "{}:{}: name it otherwise if it is none of the driver's, else describe it: {line}",
                    path.display(),
                    index + 1
                );
            }
        }
        assert!(looked_at > 10, "only {looked_at} files know the driver");
    }
}
