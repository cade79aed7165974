//! Secrets: given in files too, and never shown.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs;

/// All that could ever be printed of a configuration.
fn everything(result: &Result<Loaded, ConfigErrors>) -> String {
    let mut out = format!("{result:?}\n");
    match result {
        Ok(loaded) => {
            out.push_str(&text(&loaded.settings));
            out.push_str(&serde_json::to_string(&loaded.settings).unwrap());
            for warning in &loaded.warnings {
                writeln!(out, "{warning}").unwrap();
            }
        }
        Err(errors) => {
            let error = crate::error::Error::from(errors.clone());
            writeln!(out, "{errors}\n{error}\n{error:?}").unwrap();
        }
    }
    out
}

/// Words of letters that are rare elsewhere, joined by what has a meaning in a URI.
fn password() -> impl Strategy<Value = (String, Vec<String>)> {
    let word = "[QXZJ]{6}";
    let join = prop::sample::select(vec![
        "", ":", "/", "?", "#", "@", "%", "%41", "&", "=", "[", "]", " ", ",", "$", "'", "{", "é",
    ]);
    (word, prop::collection::vec((join, word), 0..3)).prop_map(|(first, rest)| {
        let mut password = first.clone();
        let mut words = vec![first];
        for (join, word) in rest {
            password.push_str(join);
            password.push_str(&word);
            words.push(word);
        }
        (password, words)
    })
}

proptest! {
    #[test]
    fn a_password_in_a_uri_is_never_shown_however_it_is_written((password, words) in password()) {
        for uri in [
            format!("mongodb://user:{password}@host:27017/db"),
            format!("mongodb://user:{password}@host"),
            format!("mongodb://user:{password}@host:port/db?socketTimeoutMS=1"),
            format!("mongodb+srv://:{password}@a.example.com:1/db"),
            format!("mongodb://user:{password}@h/db?authMechanism=PLAIN&nonsense=1&maxPoolSize=x"),
            format!("postgres://user:{password}@host/db"),
            format!("user:{password}@host/db"),
            // With the host forgotten, what follows an @ cannot be told from a host.
            format!("mongodb://user:{}/db", password.replace('@', "")),
            format!("mongodb://user:{}", password.replace('@', "")),
            format!("mongodb://h/d?tlsCertificateKeyFilePassword={password}"),
            format!("mongodb://h/d?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{password}"),
        ] {
            let out = everything(&load(&[("MONGODB_URI", &uri)]));
            for word in &words {
                prop_assert!(!out.contains(word.as_str()), "{uri}\n{out}");
            }
        }
    }

    #[test]
    fn a_connection_string_in_the_wrong_variable_is_not_shown_either((password, words) in password()) {
        let uri = format!("mongodb://user:{password}@host:27017/db");
        for variable in table::ALL {
            let out = everything(&load(&[(variable.name, &uri)]));
            for word in &words {
                prop_assert!(!out.contains(word.as_str()), "{}={uri}\n{out}", variable.name);
            }
        }
        let out = everything(&load(&[("KAFKA_BROKERS", &format!("user:{password}@host:9092"))]));
        // A comma splits a list of brokers before anything is known of it.
        if !password.contains(',') {
            for word in &words {
                prop_assert!(!out.contains(word.as_str()), "{out}");
            }
        }
    }
}

#[test]
fn no_secret_variable_shows_its_value_right_or_wrong() {
    let secret = "hunter2-hunter2-hunter2";
    let log_in = [
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_USERNAME", "user"),
    ];
    for name in [
        "KAFKA_SASL_PASSWORD",
        "ADMIN_TOKEN",
        "KAFKA_PROP_SSL_KEY_PASSWORD",
        "KAFKA_PROP_SSL_KEYSTORE_PASSWORD",
        "KAFKA_PROP_SASL_OAUTHBEARER_CLIENT_SECRET",
        "KAFKA_PROP_SASL_PASSWORD",
        "KAFKA_PROP_SASL_JAAS_CONFIG",
        "KAFKA_PROP_NO_SUCH_PASSWORD",
    ] {
        for value in [
            secret.to_owned(),
            format!("{secret} \n"),
            format!(" {secret}\0"),
        ] {
            for beside in [&[][..], &log_in[..], &[("BATCH_SIZE", "x")][..]] {
                let out = everything(&load(&[beside, &[(name, value.as_str())]].concat()));
                assert!(!out.contains("hunter2"), "{name}: {out}");
            }
        }
    }
}

#[test]
fn a_secret_is_read_from_the_file_that_its_file_variable_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (content, read) in [
        ("hunter2\n", "hunter2"),
        ("hunter2\r\n", "hunter2"),
        ("hunter2\n\n", "hunter2\n"),
        (" hunter2 ", " hunter2 "),
    ] {
        fs::write(&path, content).unwrap();
        let loaded = load(&[
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_USERNAME", "user"),
            ("KAFKA_SASL_PASSWORD_FILE", path.to_str().unwrap()),
        ]);
        assert!(!everything(&loaded).contains("hunter2"));
        let loaded = loaded.unwrap();
        assert_eq!(loaded.config.kafka.sasl.unwrap().password.expose(), read);
        let setting = loaded
            .settings
            .iter()
            .find(|s| s.variable == "KAFKA_SASL_PASSWORD");
        assert_eq!(setting.unwrap().origin, Origin::File(path.clone()));
    }
}

#[test]
fn a_uri_and_a_property_can_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let uri = file("uri", "mongodb://user:hunter2@h/d\n");
    let key = file("key", "hunter2\n");
    let loaded = Config::from_vars([
        ("MONGODB_URI_FILE", uri.as_str()),
        ("KAFKA_BROKERS", "h:1"),
        ("KAFKA_PROP_SSL_KEY_PASSWORD_FILE", &key),
    ]);
    assert!(!everything(&loaded).contains("hunter2"));
    let config = loaded.unwrap().config;
    assert_eq!(config.mongo.uri.expose(), "mongodb://user:hunter2@h/d");
    assert_eq!(
        config.kafka.properties,
        [("ssl.key.password".into(), "hunter2".into())]
    );
}

#[test]
fn a_secret_given_twice_or_in_a_file_that_cannot_be_read_gets_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let latin = folder.path().join("latin");
    fs::write(&latin, [b'a', 0xff]).unwrap();
    for (path, why) in [
        (folder.path().to_str().unwrap(), "is a folder and no file"),
        (empty.to_str().unwrap(), "the file is empty"),
        (latin.to_str().unwrap(), "the file is not UTF-8"),
    ] {
        let errors = errors(&[("ADMIN_TOKEN_FILE", path)]);
        assert!(
            errors.contains(&format!("ADMIN_TOKEN_FILE={path}: {why}")),
            "{errors}"
        );
    }
    let errors = errors(&[
        ("ADMIN_TOKEN", "hunter2hunter2hunter2"),
        ("ADMIN_TOKEN_FILE", "/x"),
    ]);
    assert!(
        errors.contains("ADMIN_TOKEN_FILE: is given beside ADMIN_TOKEN"),
        "{errors}"
    );
    assert!(!errors.contains("hunter2"));
}
