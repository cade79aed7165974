//! The options of a connection string. Strings are handed from driver to driver, so that one holds options
//! of another: those are left out with a warning, since they would do nothing here. A wrong value of one
//! that is known is an error.

use crate::config::typo;
use mongodb::options::ConnectionString;

/// What becomes of the options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `name=value` as the driver takes it.
    pub kept: Vec<String>,
    /// What was left out and why. No values, and no names but those that are written here: what follows an
    /// unescaped `&` in a secret looks like an option, too.
    pub left_out: Vec<String>,
    pub problems: Vec<String>,
}

/// Sorts the part behind the `?`.
pub(super) fn sort(text: &str) -> Options {
    let mut options = Options::default();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, option) in text.split('&').enumerate() {
        if option.is_empty() {
            continue;
        }
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if let Some((name, why)) = IMPOSSIBLE.iter().find(|(known, _)| is(known)) {
            options.problems.push(format!("its option {name} {why}"));
        } else if let Some((name, why)) = WITHOUT_EFFECT.iter().find(|(known, _)| is(known)) {
            options
                .left_out
                .push(format!("its option {name} has no effect here: {why}"));
        } else if let Some(known) = KNOWN.iter().find(|known| is(known.name)) {
            match known.read(value) {
                Some(value) if seen.contains(&(known.name, value)) => {}
                Some(_) if !known.repeats() && seen.iter().any(|(name, _)| *name == known.name) => {
                    options.problems.push(format!(
                        "its option {} is there twice with two values; give one",
                        known.name
                    ));
                }
                Some(value) => {
                    seen.push((known.name, value));
                    options.kept.push(format!("{}={value}", known.name));
                }
                None => options.problems.push(format!(
                    "the value of its option {} is wrong; give {}",
                    known.name, known.right
                )),
            }
        } else {
            options.left_out.push(unknown(index + 1, name));
        }
    }
    options
}

fn unknown(number: usize, name: &str) -> String {
    let names = KNOWN.iter().map(|known| known.name);
    match typo::nearest_of(name, names) {
        Some(near) => format!(
            "its option number {number} is not known and has no effect; did you mean {near}?"
        ),
        None => format!(
            "its option number {number} is not known and has no effect (a & inside a value is \
             written %26)"
        ),
    }
}

/// An option that the driver knows.
struct Known {
    name: &'static str,
    /// What its value has to be.
    right: &'static str,
}

impl Known {
    fn is_flag(&self) -> bool {
        self.right == FLAG
    }

    fn repeats(&self) -> bool {
        self.name == "readPreferenceTags"
    }

    /// The value as the driver takes it; none where it takes none such.
    fn read<'a>(&self, value: Option<&'a str>) -> Option<&'a str> {
        let value = value?;
        let value = if self.is_flag() { flag(value)? } else { value };
        self.is_taken(value).then_some(value)
    }

    /// Asks the driver about this option alone, so that its answer is about no other.
    fn is_taken(&self, value: &str) -> bool {
        let option = format!("{}={value}", self.name);
        let beside: &[&str] = match self.name {
            "srvMaxHosts" | "srvServiceName" => &["mongodb+srv://a.example.com/?"],
            "readPreferenceTags" | "maxStalenessSeconds" => {
                &["mongodb://h/?readPreference=secondary&"]
            }
            // Each mechanism has its own idea of what goes with it.
            "authMechanism" => &[
                "mongodb://user:word@h/?",
                "mongodb://user@h/?",
                "mongodb://h/?",
            ],
            _ => &["mongodb://h/?"],
        };
        beside
            .iter()
            .any(|beside| ConnectionString::parse(format!("{beside}{option}")).is_ok())
    }
}

/// A flag, as the drivers of other languages take it.
fn flag(value: &str) -> Option<&'static str> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    if is_one_of(&["true", "t", "yes", "y", "1"]) {
        Some("true")
    } else if is_one_of(&["false", "f", "no", "n", "0"]) {
        Some("false")
    } else {
        None
    }
}

const FLAG: &str = "true or false";
const MILLIS: &str = "a whole number of milliseconds";
const COUNT: &str = "a whole number";

const fn known(name: &'static str, right: &'static str) -> Known {
    Known { name, right }
}

const KNOWN: &[Known] = &[
    known("appName", "a name"),
    known(
        "authMechanism",
        "SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509 or PLAIN, in capital letters",
    ),
    known(
        "authMechanismProperties",
        "NAME:value pairs separated by commas",
    ),
    known("authSource", "the name of a database"),
    known("compressors", "zstd, zlib and snappy, separated by commas"),
    known("connectTimeoutMS", MILLIS),
    known("directConnection", FLAG),
    known("enableOverloadRetargeting", FLAG),
    known("heartbeatFrequencyMS", MILLIS),
    known("journal", FLAG),
    known("loadBalanced", FLAG),
    known("localThresholdMS", MILLIS),
    known("maxAdaptiveRetries", COUNT),
    known("maxConnecting", COUNT),
    known("maxIdleTimeMS", MILLIS),
    known("maxPoolSize", COUNT),
    known("maxStalenessSeconds", "a whole number of seconds, or -1"),
    known("minPoolSize", COUNT),
    known("readConcernLevel", "the name of a read concern"),
    known(
        "readPreference",
        "primary, primaryPreferred, secondary, secondaryPreferred or nearest",
    ),
    known("readPreferenceTags", "name:value pairs separated by commas"),
    known("replicaSet", "the name of the replica set"),
    known("retryReads", FLAG),
    known("retryWrites", FLAG),
    known("serverMonitoringMode", "stream, poll or auto"),
    known("serverSelectionTimeoutMS", MILLIS),
    known("srvMaxHosts", COUNT),
    known("srvServiceName", "the name of a service"),
    known("ssl", FLAG),
    known("tls", FLAG),
    known("tlsAllowInvalidCertificates", FLAG),
    known("tlsCAFile", "the path of a PEM file"),
    known("tlsCertificateKeyFile", "the path of a PEM file"),
    known("tlsInsecure", FLAG),
    known(
        "w",
        "a whole number, majority, or the name of a write concern",
    ),
    known("zlibCompressionLevel", "a whole number from -1 to 9"),
];

/// Options that change where or whether a connection is made, which is not for a warning.
const IMPOSSIBLE: &[(&str, &str)] = &[
    ("proxyHost", PROXY),
    ("proxyPort", PROXY),
    ("proxyUsername", PROXY),
    ("proxyPassword", PROXY),
    (
        "tlsCertificateKeyFilePassword",
        "cannot be used: an encrypted key is not read here; name a file with a plain key in \
         tlsCertificateKeyFile",
    ),
];

const PROXY: &str = "cannot be used: there are no connections through a SOCKS proxy; take it out";

/// Options of other drivers, older ones, and what stands in their place.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("socketTimeoutMS", "each read has a deadline of its own"),
    ("timeoutMS", "each command has a deadline of its own"),
    ("wtimeout", STORED),
    ("wtimeoutMS", STORED),
    (
        "j",
        "journal is its name, and checkpoints are written with the majority's anyway",
    ),
    ("fsync", STORED),
    ("safe", STORED),
    ("waitQueueTimeoutMS", "no command waits for a connection"),
    ("waitQueueMultiple", "no command waits for a connection"),
    (
        "poolSize",
        "maxPoolSize is its name, and a few connections are enough",
    ),
    ("minSize", "minPoolSize is its name"),
    ("maxPoolSizePerHost", "maxPoolSize is its name"),
    ("useNewUrlParser", ALWAYS),
    ("useUnifiedTopology", ALWAYS),
    ("useCreateIndex", NODE),
    ("useFindAndModify", NODE),
    ("autoIndex", NODE),
    ("autoCreate", NODE),
    ("bufferCommands", NODE),
    ("bufferMaxEntries", NODE),
    ("promoteValues", NODE),
    ("promoteLongs", NODE),
    ("promoteBuffers", NODE),
    ("ignoreUndefined", NODE),
    ("forceServerObjectId", NODE),
    ("monitorCommands", NODE),
    ("loggerLevel", "set LOG_LEVEL"),
    ("validateOptions", NODE),
    ("domainsEnabled", NODE),
    ("pkFactory", NODE),
    ("keepAlive", ALIVE),
    ("keepAliveInitialDelay", ALIVE),
    ("noDelay", "it is always on"),
    ("family", "IPv4 and IPv6 are both tried"),
    ("autoSelectFamily", "IPv4 and IPv6 are both tried"),
    ("autoReconnect", RECONNECT),
    ("auto_reconnect", RECONNECT),
    ("reconnectTries", RECONNECT),
    ("reconnectInterval", RECONNECT),
    ("ha", "the members are always watched"),
    ("haInterval", "heartbeatFrequencyMS is its name"),
    ("acceptableLatencyMS", "localThresholdMS is its name"),
    (
        "secondaryAcceptableLatencyMS",
        "localThresholdMS is its name",
    ),
    (
        "connectWithNoPrimary",
        "the stream is opened wherever readPreference allows",
    ),
    ("slaveOk", "readPreference is its name"),
    (
        "adaptiveRetries",
        "set RECONNECT_DELAY_MS and RECONNECT_MAX_RETRIES",
    ),
    ("uuidRepresentation", "a UUID is carried as it is stored"),
    ("gssapiServiceName", "there is no log-in by Kerberos"),
    ("sslCA", "tlsCAFile is its name"),
    ("sslCAFile", "tlsCAFile is its name"),
    ("ssl_ca_certs", "tlsCAFile is its name"),
    ("sslCert", "tlsCertificateKeyFile is its name"),
    ("sslKey", "tlsCertificateKeyFile is its name"),
    ("sslValidate", CHECKED),
    ("sslAllowInvalidCertificates", CHECKED),
    ("sslAllowInvalidHostnames", CHECKED),
    ("tlsAllowInvalidHostnames", CHECKED),
    ("ssl_cert_reqs", CHECKED),
    ("checkServerIdentity", CHECKED),
    ("tlsCRLFile", REVOKED),
    ("tlsDisableOCSPEndpointCheck", REVOKED),
    ("tlsDisableCertificateRevocationCheck", REVOKED),
];

const STORED: &str =
    "checkpoints are written with majority write concern, and again when that takes too long";
const ALWAYS: &str = "it is always so";
const NODE: &str = "it is about objects of Node programs";
const ALIVE: &str = "the servers are asked at each heartbeatFrequencyMS whether they live";
const RECONNECT: &str = "set RECONNECT_DELAY_MS and RECONNECT_MAX_RETRIES";
const CHECKED: &str = "the server's certificate and its host name are always checked";
const REVOKED: &str = "revocation of certificates is not looked at";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_one_list_only_and_written_as_drivers_have_it() {
        let names = KNOWN
            .iter()
            .map(|known| known.name)
            .chain(IMPOSSIBLE.iter().map(|(name, _)| *name))
            .chain(WITHOUT_EFFECT.iter().map(|(name, _)| *name));
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            assert!(seen.insert(name.to_ascii_lowercase()), "{name} twice");
        }
    }

    #[test]
    fn the_driver_takes_what_is_called_known_here() {
        for known in KNOWN {
            let value = match known.right {
                FLAG => "true",
                MILLIS | COUNT => "5",
                _ => match known.name {
                    "authMechanism" => "SCRAM-SHA-256",
                    "authMechanismProperties" | "readPreferenceTags" => "NAME:value",
                    "compressors" => "zstd,zlib,snappy",
                    "maxStalenessSeconds" => "120",
                    "readPreference" => "nearest",
                    "serverMonitoringMode" => "poll",
                    "zlibCompressionLevel" => "9",
                    _ => "word",
                },
            };
            assert!(known.read(Some(value)).is_some(), "{}={value}", known.name);
            assert_eq!(known.read(None), None, "{} without a value", known.name);
        }
    }

    #[test]
    fn flags_are_taken_as_other_drivers_take_them() {
        for (given, taken) in [
            ("retryWrites=True", "retryWrites=true"),
            ("RETRYWRITES=FALSE", "retryWrites=false"),
            ("retrywrites=1", "retryWrites=true"),
            ("tls=yes", "tls=true"),
            ("ssl=f", "ssl=false"),
        ] {
            assert_eq!(sort(given).kept, [taken], "{given}");
        }
        assert_eq!(sort("retryWrites=maybe").problems.len(), 1);
    }
}
