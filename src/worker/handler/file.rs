//! Handlers in a file: YAML or JSON.

use super::{Call, Handler, Handlers, fields, read::Reading};
use crate::config::nearest_of;
use crate::listener::file::{self, Wrong, wrong};
use crate::listener::{self, LONGEST_JOB, Problem};
use bson::{Bson, Document};
use std::path::Path;
use std::sync::Arc;

/// Reads a file's text; its name says whether that is JSON. `allows_private` is none where it is not known
/// whether private addresses may be called.
///
/// # Errors
/// Everything that is wrong, at once. No sentence holds a value of the file.
pub fn read(path: &Path, text: &str, allows_private: Option<bool>) -> Result<Handlers, Vec<Wrong>> {
    let whole = file::value(path, text).map_err(|told| vec![wrong("", told)])?;
    let mut problems = Vec::new();
    let listed = listed(whole, &mut problems);
    let mut handlers = Handlers::new();
    for (job, value) in listed {
        let place = format!("handlers.{job}");
        let Bson::Document(document) = value else {
            problems.push(wrong(&place, "is no object; give a handler's fields"));
            continue;
        };
        if job.is_empty() || job.len() > LONGEST_JOB {
            let sentence = format!("the name of a job has 1 to {LONGEST_JOB} bytes");
            problems.push(wrong(&place, sentence));
        }
        match handler(&job, &document, allows_private) {
            Ok(handler) => {
                handlers.insert(Arc::clone(&handler.job), Arc::new(handler));
            }
            Err(more) => {
                let more = more.into_iter().map(|(field, sentence)| {
                    let place = match field.is_empty() {
                        true => place.clone(),
                        false => format!("{place}.{field}"),
                    };
                    wrong(&place, sentence)
                });
                problems.extend(more);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(handlers),
        false => Err(problems),
    }
}

fn listed(whole: Bson, problems: &mut Vec<Wrong>) -> Document {
    let Bson::Document(mut object) = whole else {
        problems.push(wrong(
            "",
            "holds no handlers; give {handlers: {<job>: {url: ...}}}",
        ));
        return Document::new();
    };
    let listed = object.remove("handlers");
    for other in object.keys() {
        problems.push(wrong(
            other,
            "is not known here; the file has handlers alone",
        ));
    }
    match listed {
        Some(Bson::Document(listed)) if !listed.is_empty() => listed,
        _ => {
            let sentence = "holds no job; give {<job>: {url: ...}}";
            problems.push(wrong("handlers", sentence));
            Document::new()
        }
    }
}

/// The handler in a listener's document.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn of_document(
    job: &str,
    document: &Document,
    allows_private: Option<bool>,
) -> Result<Handler, String> {
    let wrong = match handler(job, document, allows_private) {
        // Whoever may write documents may not thereby run programs here.
        Ok(handler) if matches!(handler.call, Call::Exec(_)) => {
            return Err("exec is never taken from a document; give a url".to_owned());
        }
        Ok(handler) => return Ok(handler),
        Err(wrong) => wrong,
    };
    let told = wrong
        .iter()
        .map(|(field, sentence)| match field.is_empty() {
            true => sentence.clone(),
            false => format!("{field} {sentence}"),
        });
    Err(told.collect::<Vec<_>>().join("; "))
}

/// What is wrong with the handler of a listener, where it has one.
pub fn problems(listener: &Document) -> Vec<Problem> {
    let listener = listener::handler::without_masks(listener);
    let Ok(document) = listener.get_document(listener::handler::FIELD) else {
        return Vec::new();
    };
    match of_document("", document, None) {
        Ok(_) => Vec::new(),
        Err(sentence) => vec![Problem {
            field: listener::handler::FIELD,
            sentence,
        }],
    }
}

fn handler(
    job: &str,
    document: &Document,
    allows_private: Option<bool>,
) -> Result<Handler, Vec<(String, String)>> {
    let mut reading = Reading::new(document, allows_private);
    for name in document.keys() {
        if !fields::ALL.iter().any(|field| field.name == name) {
            let known = fields::ALL.iter().map(|field| field.name);
            let near = nearest_of(name, known)
                .map_or_else(String::new, |near| format!("; did you mean {near}?"));
            reading.wrong(name, format!("is not a field of a handler{near}"));
        }
    }
    let call = reading.call();
    let handler = Handler {
        job: job.into(),
        timeout: reading.timeout(),
        retries: reading.retries(),
        backoff: reading.backoff(),
        concurrency: reading.concurrency(),
        order: reading.order(),
        priority: reading.priority(),
        call: match call {
            Some(call) => call,
            None => return Err(reading.problems),
        },
    };
    match reading.problems.is_empty() {
        true => Ok(handler),
        false => Err(reading.problems),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Order};
    use super::*;
    use std::time::Duration;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = format!(
            "handlers:\n  mail:\n    url: https://example.com/hooks\n    secret: {SECRET}\n    timeout: 2s\n    \
             retries: 5\n    backoff: 500ms\n    order: none\n    concurrency: 2\n    priority: 3\n    \
             headers: {{authorization: Bearer x}}\n  tidy:\n    exec: [/usr/bin/tidy, --quick]\n"
        );
        let json = format!(
            r#"{{"handlers": {{"mail": {{"url": "https://example.com/hooks", "secret": ["{SECRET}"], "timeout": "2s",
            "retries": 5, "backoff": "500ms", "order": "none", "concurrency": 2, "priority": 3,
            "headers": {{"authorization": "Bearer x"}}}}, "tidy": {{"exec": ["/usr/bin/tidy", "--quick"]}}}}}}"#
        );
        for (name, text) in [("h.yaml", yaml), ("h.json", json)] {
            let handlers = read(Path::new(name), &text, None).unwrap();
            let mail = &handlers["mail"];
            let Call::Http(service) = &mail.call else {
                panic!()
            };
            assert_eq!(service.keys.len(), 1);
            assert_eq!(service.headers["authorization"], "Bearer x");
            assert_eq!(mail.timeout, Duration::from_secs(2));
            assert_eq!(mail.backoff, Duration::from_millis(500));
            assert_eq!((mail.retries, mail.concurrency), (5, Some(2)));
            assert_eq!((mail.order, mail.priority), (Order::None, 3));
            let shown = format!("{handlers:?}");
            assert!(
                !shown.contains("Bearer") && !shown.contains(SECRET),
                "{shown}"
            );
            let tidy = &handlers["tidy"];
            assert!(matches!(&tidy.call, Call::Exec(command) if command.len() == 2));
            assert_eq!((tidy.retries, tidy.order), (3, Order::Key));
            assert_eq!(tidy.timeout, Duration::from_secs(10));
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place_and_without_its_value() {
        let text = r#"{"handlers": {
            "a": {"url": "ftp://hunter2", "retrys": 1, "timeout": "soon", "retries": -1, "order": "fifo"},
            "b": {"url": "https://user:hunter2@example.com/", "secret": "hunter2", "priority": 11},
            "c": {"exec": [], "headers": {"x": "hunter2"}},
            "d": {}, "e": 3,
            "f": {"url": "http://127.0.0.1:1/", "exec": ["x"], "backoff": "0s", "concurrency": 0},
            "g": {"url": "http://[::ffff:10.1.2.3]/hunter2", "method": "GET"},
            "h": {"url": "https://example.com", "secret": ["whsec_aHVudGVyMg==", "whsec_a", "whsec_b"],
                "headers": {"x": 1, "bad name": "x", "host": "hunter2"}}
        }, "more": 1}"#;
        let wrong = read(Path::new("h.json"), text, Some(false)).unwrap_err();
        let told: Vec<_> = wrong.iter().map(Wrong::to_string).collect();
        let told = told.join("\n");
        for part in [
            "more: is not known here",
            "handlers.a.url: is no URL with http or https",
            "handlers.a.retrys: is not a field of a handler",
            "handlers.a.timeout: is no time",
            "handlers.a.retries: is no whole number from 0 to 100",
            "handlers.a.order: is neither key nor none",
            "handlers.b.url: holds a user or a password",
            "handlers.b.secret: does not begin with whsec_",
            "handlers.b.priority: is no whole number from 1 to 10",
            "handlers.c.exec: names no program",
            "handlers.c.headers: is about a url",
            "handlers.h.headers: host is set by",
            "handlers.d: has neither url nor exec",
            "handlers.e: is no object",
            "handlers.f: has both url and exec",
            "handlers.f.backoff: is no time from 1ms to 5m",
            "handlers.f.concurrency: is no whole number",
            "handlers.g.url: names an address that is not public",
            "handlers.g.method: is none of POST, PUT, PATCH",
            "handlers.h.secret: has more than two",
            "handlers.h.headers: x has no text",
            "handlers.h.headers: holds a name that is none of a header",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
        let unparsed = read(
            Path::new("h.yaml"),
            "handlers:\n  a: {secret: hunter2",
            None,
        );
        let told = unparsed.unwrap_err()[0].to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn the_example_is_right() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/handlers.example.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        let handlers = read(Path::new(path), &text, Some(false)).unwrap();
        assert_eq!(handlers.len(), 2);
    }
}
