//! The `.env` file of a program that was there before.

use super::*;
use std::fs;

/// As a Node watcher may have it: read by nobody but that program so far.
const FOREIGN: &str = "\
SMTP_FROM=Team <a@example.com>
FEATURES={\"beta\": true, \"names\": [\"x\"]}
GREETING=it's us
FOLDER=C:\\new
bare_name
services:
  - hunter2
TITLE: Dashboard
PRICE=100$
CERT=\"-----BEGIN
hunter2
-----END\"
";

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn read(path: &Path, vars: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let vars = vars
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::from_sources(vars, Some(path))
}

fn warnings(loaded: &Loaded) -> String {
    loaded.warnings.iter().map(|w| format!("{w}\n")).collect()
}

#[test]
fn lines_of_others_that_nobody_can_read_are_warned_of_by_number_alone() {
    let ours = "MONGODB_URI=mongodb://h/d\nKAFKA_BROKERS=h:1\n";
    let with_ours = file(format!("{FOREIGN}{ours}").as_bytes());
    let alone = file(FOREIGN.as_bytes());
    for loaded in [read(with_ours.path(), &[]), read(alone.path(), &REQUIRED)] {
        let loaded = loaded.unwrap();
        let said = warnings(&loaded);
        assert!(said.contains(".env: line 5 is not read"), "{said}");
        assert!(
            !said.contains("hunter2") && !said.contains("bare_name"),
            "{said}"
        );
        assert_eq!(loaded.warnings.len(), 1, "{said}");
    }
}

#[test]
fn a_line_of_ours_that_cannot_be_read_is_an_error_unless_the_environment_has_it() {
    for line in [
        "MONGODB_URI mongodb://u:hunter2@h/d",
        "MONGODB_URI",
        "export MONGODB_URI",
        "MONGODB_URI:mongodb://u:hunter2@h/d",
        "\"MONGODB_URI\": \"mongodb://u:hunter2@h/d\",",
        "- MONGODB_URI=mongodb://u:hunter2@h/d",
        "set MONGODB_URI=mongodb://u:hunter2@h/d",
        "MONGODB_URI_FILE /run/hunter2",
    ] {
        let file = file(format!("A=1\nKAFKA_BROKERS=h:1\n{line}\n").as_bytes());
        let errors = read(file.path(), &[]).unwrap_err().to_string();
        let named = errors.contains("\n  MONGODB_URI: line 3 of .env names it and cannot be read")
            || errors.contains("\n  MONGODB_URI_FILE: line 3 of .env");
        assert!(named, "{line}: {errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
        let loaded = read(file.path(), &REQUIRED).unwrap();
        assert!(warnings(&loaded).contains(".env: line 3 is not read"));
    }
}

#[test]
fn no_value_of_ours_is_cut_or_changed_without_a_word() {
    let file = file(
        b"MONGODB_URI=mongodb://u:pa$sw0rd@h/d\nKAFKA_BROKERS=h:1\nKAFKA_CLIENT_ID=$HOME\n\
          KAFKA_TOPIC_INSERT=a#b\nOTHER=a#b\n",
    );
    let loaded = read(file.path(), &[]).unwrap();
    assert_eq!(loaded.config.mongo.uri.expose(), "mongodb://u:pa$sw0rd@h/d");
    assert_eq!(loaded.config.kafka.client_id, "$HOME");
    assert_eq!(loaded.config.streams[0].sink.topics.insert, "a");
    let said = warnings(&loaded);
    assert!(
        said.contains("KAFKA_TOPIC_INSERT: ends at a #") && said.contains("(line 4 of .env)"),
        "{said}"
    );
    assert_eq!(loaded.warnings.len(), 1, "{said}");
}

#[test]
fn the_last_of_two_lines_counts_and_the_environment_before_both() {
    let file = file(b"MONGODB_URI=mongodb://a/a\nKAFKA_BROKERS=h:1\nMONGODB_URI=mongodb://b/b\nBATCH_SIZE=3\nBATCH_SIZE=\n");
    let loaded = read(file.path(), &[]).unwrap();
    assert_eq!(loaded.config.mongo.uri.expose(), "mongodb://b/b");
    assert_eq!(loaded.config.streams[0].pipeline.batching.events, 50);
    let loaded = read(file.path(), &[("MONGODB_URI", "mongodb://c/c")]).unwrap();
    assert_eq!(loaded.config.mongo.uri.expose(), "mongodb://c/c");
    // Of a secret, the environment's other form wins as well.
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "mongodb://d/d\n").unwrap();
    let path = secret.path().to_str().unwrap();
    let loaded = read(file.path(), &[("MONGODB_URI_FILE", path)]).unwrap();
    assert_eq!(loaded.config.mongo.uri.expose(), "mongodb://d/d");
}

#[test]
fn bytes_that_are_no_utf_8_matter_only_in_values_of_ours() {
    let latin =
        file(b"NAME=M\xfcller\nKAFKA_CLIENT_ID=a\nMONGODB_URI=mongodb://h/d\nKAFKA_BROKERS=h:1\n");
    assert!(read(latin.path(), &[]).is_ok());
    let latin = file(b"KAFKA_CLIENT_ID=M\xfcller\nMONGODB_URI=mongodb://h/d\nKAFKA_BROKERS=h:1\n");
    let errors = read(latin.path(), &[]).unwrap_err().to_string();
    assert!(
        errors.contains("KAFKA_CLIENT_ID: is not valid UTF-8 in .env"),
        "{errors}"
    );
    let wide = file(b"\xff\xfeA\x00=\x001\x00");
    let errors = read(wide.path(), &REQUIRED).unwrap_err().to_string();
    assert!(errors.contains("is UTF-16 text"), "{errors}");
}

#[test]
fn what_is_no_file_is_not_read_and_nothing_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (folder.path(), "is a folder"),
        (&pipe, "is a pipe"),
        (&link, "is a device"),
        (&socket, "is a socket"),
    ] {
        let loaded = read(path, &REQUIRED).unwrap();
        let said = warnings(&loaded);
        assert!(
            said.contains(&format!("{what} and no file: it is not read")),
            "{said}"
        );
    }
    let large = file(&b"A=1\n".repeat(300_000));
    let errors = read(large.path(), &REQUIRED).unwrap_err().to_string();
    assert!(errors.contains("is larger than 1024 KiB"), "{errors}");
}
