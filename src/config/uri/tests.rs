use super::*;

fn left_out(uri: &str) -> String {
    read(uri).unwrap().left_out.join("\n")
}

fn problems(uri: &str) -> String {
    read(uri).unwrap_err().join("\n")
}

#[test]
fn options_of_other_drivers_are_left_out_and_named() {
    let uri = "mongodb://u:p@a,b:1/d?useNewUrlParser=true&useUnifiedTopology=true&replicaset=rs0&socketTimeoutMS=x\
               &wtimeout=5&keepAlive&poolSize=5&autoReconnect=true&retryWrites=TRUE&&W=majority&";
    let read = read(uri).unwrap();
    assert_eq!(
        read.text,
        "mongodb://u:p@a,b:1/d?replicaSet=rs0&retryWrites=true&w=majority"
    );
    assert_eq!(read.database.as_deref(), Some("d"));
    let left_out = read.left_out.join("\n");
    for name in [
        "useNewUrlParser",
        "useUnifiedTopology",
        "socketTimeoutMS",
        "wtimeout",
        "keepAlive",
        "poolSize",
        "autoReconnect",
    ] {
        assert!(
            left_out.contains(&format!("option {name} has no effect here: ")),
            "{left_out}"
        );
    }
    assert_eq!(read.left_out.len(), 7);
}

#[test]
fn an_option_that_nobody_knows_is_told_by_its_number_and_what_is_near() {
    let said = left_out("mongodb://h/d?w=1&replicSet=rs0");
    assert!(
        said.contains("option number 2") && said.contains("did you mean replicaSet?"),
        "{said}"
    );
    // What follows an unescaped & may be the rest of a secret.
    let said = left_out("mongodb://u@h/d?appName=hun&ter2hunter=3");
    assert!(!said.contains("ter2") && said.contains("%26"), "{said}");
    assert_eq!(read("mongodb://h?x=1").unwrap().text, "mongodb://h");
}

#[test]
fn wrong_values_of_known_options_are_errors_that_say_what_is_right() {
    for (option, right) in [
        ("maxPoolSize=x", "maxPoolSize is wrong; give a whole number"),
        ("retryWrites=maybe", "give true or false"),
        ("tls", "give true or false"),
        ("readPreference=hunter2", "give primary, primaryPreferred"),
        ("authMechanism=hunter2", "SCRAM-SHA-256"),
        ("compressors=hunter2", "zstd, zlib and snappy"),
        ("w=-1", "give a whole number, majority"),
        ("w=1&W=2", "is there twice with two values"),
        (
            "directConnection=true&directConnection=no",
            "is there twice",
        ),
        (
            "tlsCertificateKeyFilePassword=hunter2",
            "an encrypted key is not read here",
        ),
        ("proxyHost=hunter2", "SOCKS proxy"),
        (
            "tlsCAFile=/hunter2",
            "tlsCAFile cannot be read: no such file",
        ),
        ("tlsCAFile=/dev/zero", "tlsCAFile is a device and no file"),
        (
            "tlsCertificateKeyFile=%2Fdev",
            "tlsCertificateKeyFile is a folder",
        ),
        ("tls=false&tlsInsecure=true", "TLS is disabled"),
    ] {
        let said = problems(&format!("mongodb://u:word@h/d?{option}"));
        assert!(
            said.contains(right) && !said.contains("hunter2"),
            "{option}: {said}"
        );
    }
    assert_eq!(
        read("mongodb://h/d?a=b&w=no&w=x&tls=5&ssl=7")
            .unwrap_err()
            .len(),
        3,
        "all at once"
    );
}

#[test]
fn what_hosted_clusters_give_out_is_taken_as_it_is() {
    for uri in [
        "mongodb+srv://u:p%40ss@cluster0.ab1cd.mongodb.net/shop?retryWrites=true&w=majority&appName=Cluster0",
        "mongodb+srv://u:p@cluster0.ab1cd.mongodb.net/?srvMaxHosts=3&srvServiceName=mongodb",
        "mongodb://a.example.com:1,b_c:2,[::1]:3/d?ssl=true&replicaSet=atlas-1-shard-0&authSource=admin",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock/d",
        "mongodb://u@h/d?authMechanism=MONGODB-X509&authSource=$external&tls=true",
        "mongodb://h/d?readPreference=nearest&readPreferenceTags=dc:a&readPreferenceTags=&maxStalenessSeconds=120",
        "mongodb://h/d?compressors=zlib,zstd&zlibCompressionLevel=3&retryWrites=true&retryWrites=true",
    ] {
        let read = read(uri).unwrap_or_else(|problems| panic!("{uri}: {problems:?}"));
        assert!(read.left_out.is_empty(), "{uri}: {:?}", read.left_out);
    }
}

#[test]
fn hosts_and_database_are_all_that_is_shown() {
    for (uri, shown) in [
        ("mongodb://h/d", "mongodb://h/d"),
        ("mongodb://a:1,[::1]:2/d", "mongodb://a:1,[::1]:2/d"),
        (
            "mongodb+srv://hunter2:hunter2@h.example.com/d",
            "mongodb+srv://***@h.example.com/d",
        ),
        ("mongodb://hunter2@h", "mongodb://***@h"),
        (
            "mongodb://h/hunter2.x?hunter2=hunter2",
            "mongodb://h/***?***",
        ),
        (
            "mongodb://h/admin?authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
            "mongodb://h/admin?***",
        ),
        ("mongodb://u:hunter2/x@h/d", "mongodb://***"),
        ("mongodb://u:hunter2@x@h/d", "mongodb://***"),
        ("mongodb://u:hunter2?x@h/d", "mongodb://***"),
        ("mongodb://u:hunter2/d", "mongodb://***"),
        ("mongodb://u:100%hunter2@h/d", "mongodb://***"),
        ("mongodb://h /d", "mongodb://***"),
        ("postgres://u:hunter2@h/d", "***"),
        ("hunter2", "***"),
    ] {
        assert_eq!(redact(uri), shown, "{uri}");
    }
}

#[test]
fn odd_percent_signs_are_refused_before_the_driver_sees_them() {
    // It cuts two bytes behind a percent sign, which may be half of a character.
    for word in ["100%a\u{e9}", "%", "%4", "%zz", "%\u{e9}", "a%2"] {
        for uri in [
            format!("mongodb://u:{word}@h/d"),
            format!("mongodb://{word}@h/d"),
        ] {
            let said = problems(&uri);
            assert!(said.contains("% as %25") && !said.contains("100"), "{said}");
        }
    }
}

#[test]
fn what_looks_like_credentials_is_hidden_wherever_it_stands() {
    for (text, shown) in [
        ("plain", "plain"),
        ("a@b", "a@b"),
        ("user:hunter2@h:1", "***@h:1"),
        ("https://h/path", "https://h/path"),
        ("https://u:hunter2@h/path", "https://***"),
        ("mongodb://hunter2", "mongodb://***"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", "***"),
        ("[{\"a\":\"b@c\"}]", "[{\"a\":\"b@c\"}]"),
    ] {
        assert_eq!(scrub(text), shown, "{text}");
    }
}
