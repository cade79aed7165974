//! What is shown: on one line, without secrets, whichever variable it is.

use super::*;
use std::fs;

/// Everything that is printed of a configuration.
fn printed(result: &Result<Loaded, ConfigErrors>) -> Vec<String> {
    match result {
        Ok(loaded) => {
            let warnings = loaded.warnings.iter().map(ToString::to_string);
            let lines = text(&loaded.settings);
            warnings.chain(lines.lines().map(str::to_owned)).collect()
        }
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn no_value_can_pass_for_a_line_of_ours() {
    const FORGED: &str = "KAFKA_BROKERS  forged:9092  [env]";
    let properties = [
        "KAFKA_PROP_CLIENT_RACK",
        "KAFKA_PROP_NO_SUCH",
        "KAFKA_PROP_SSL_KEY_LOCATION",
    ];
    let names = table::ALL
        .iter()
        .map(|variable| variable.name)
        .chain(properties);
    for name in names {
        for end in ["\n", "\r\n", "\u{85}", "\u{2028}", "\u{1b}[2K\r"] {
            for start in [
                "",
                "x",
                "token:",
                "a,",
                "mongodb://h/d",
                "mongodb://h/d%0A",
                "http://",
            ] {
                for value in [
                    format!("{start}{end}{FORGED}"),
                    format!("{start}{end}{FORGED}{end}y"),
                ] {
                    let lines = printed(&load(&[(name, &value)]));
                    assert!(
                        !lines
                            .iter()
                            .any(|line| line.trim_start().starts_with(FORGED)),
                        "{name}={value:?}: {lines:#?}"
                    );
                    let is_clean =
                        |line: &String| !line.contains(['\u{85}', '\u{2028}', '\u{1b}', '\r']);
                    assert!(lines.iter().all(is_clean), "{name}={value:?}: {lines:#?}");
                }
            }
        }
    }
}

#[test]
fn no_name_and_no_path_can_pass_for_a_line_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x\nKAFKA_BROKERS  forged:9092  [env]");
    fs::write(&path, "mongodb://h/d").unwrap();
    let vars = [
        ("KAFKA_X\nforged: yes", "1"),
        ("MONGODB_URI_FILE", path.to_str().unwrap()),
        ("KAFKA_BROKERS", "h:1"),
    ];
    let lines = printed(&Config::from_vars(vars));
    assert!(
        !lines.iter().any(|line| line.starts_with("forged")),
        "{lines:#?}"
    );
    let brokers = lines
        .iter()
        .filter(|line| line.starts_with("KAFKA_BROKERS "));
    assert_eq!(brokers.count(), 1, "{lines:#?}");
}

#[test]
fn a_secret_in_the_place_of_a_path_is_not_shown() {
    for (name, beside) in [
        ("KAFKA_SASL_PASSWORD_FILE", &[][..]),
        ("ADMIN_TOKEN_FILE", &[]),
        ("MONGODB_URI_FILE", &[]),
        ("KAFKA_PROP_SSL_KEY_PASSWORD_FILE", &[]),
        ("KAFKA_PROP_SSL_KEY_LOCATION", &[]),
        ("KAFKA_PROP_SSL_CERTIFICATE_LOCATION", &[]),
        ("KAFKA_PROP_SSL_KEYSTORE_LOCATION", &[]),
        ("KAFKA_PROP_SASL_KERBEROS_KEYTAB", &[]),
        (
            "KAFKA_SSL_CA_LOCATION",
            &[("KAFKA_SECURITY_PROTOCOL", "ssl")],
        ),
        ("RESUME_FILE", &[("RESUME_STORE", "file")]),
    ] {
        for value in [
            "hunter2/+word==".to_owned(),
            "/hunter2/word".to_owned(),
            "mongodb://hunter2:hunter2@h/d".to_owned(),
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----".to_owned(),
            format!("/{}", "hunter2".repeat(1000)),
        ] {
            let all = [beside, &[(name, value.as_str())]].concat();
            let result = if name.starts_with("MONGODB") {
                Config::from_vars([("KAFKA_BROKERS", "h:1"), (name, &value)])
            } else {
                load(&all)
            };
            let out = format!("{:?}\n{result:?}", printed(&result));
            assert!(!out.contains("hunter2"), "{name}={value}: {out}");
            let errors = result.unwrap_err().to_string();
            assert!(errors.contains(&format!("\n  {name}: ")), "{errors}");
        }
    }
}

#[test]
fn a_secret_is_read_from_files_alone_and_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe"))
        .status();
    assert!(made.unwrap().success());
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(at("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
    for (path, why) in [
        (at("pipe"), "is a pipe and no file"),
        (at("socket"), "is a socket and no file"),
        (at("large"), "is larger than 1024 KiB"),
        (folder.path().to_owned(), "is a folder and no file"),
        ("/dev/zero".into(), "is a device and no file"),
        ("/dev/stdin".into(), "and no file"),
        (at("none"), "cannot be read: no such file"),
    ] {
        let errors = errors(&[("ADMIN_TOKEN_FILE", path.to_str().unwrap())]);
        let is_there = errors.contains("ADMIN_TOKEN_FILE=/");
        assert!(errors.contains(why), "{}: {errors}", path.display());
        assert_eq!(is_there, !path.ends_with("none"), "{errors}");
    }
    // As Kubernetes mounts them: token -> ..data/token, ..data -> ..2026.
    fs::create_dir(at("..2026")).unwrap();
    fs::write(at("..2026/token"), "kQ7dVb2mXr9tLw4z\n").unwrap();
    std::os::unix::fs::symlink("..2026", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/token", at("token")).unwrap();
    let config = config(&[("ADMIN_TOKEN_FILE", at("token").to_str().unwrap())]);
    assert_eq!(config.admin_token, Some(Secret::new("kQ7dVb2mXr9tLw4z")));
}
