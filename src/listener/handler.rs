//! The handler in a listener's document: what may be shown of it, and what somebody who changes the rest leaves as it
//! is. Its secrets can be written and never read. What its fields mean is for the worker to say; a stream never looks
//! at it, nor holds it.

use super::definition::Problem;
use bson::{Bson, Document};

/// Its name.
pub const FIELD: &str = "handler";
/// What is wrong with one that is text, a list or the like.
pub const NO_OBJECT: &str = "is no object; give one such as {url: ...}";
/// Stands for what is not shown.
pub const MASK: &str = "***";

/// The document as it may be shown.
#[must_use]
pub fn masked(document: &Document) -> Document {
    let mut shown = document.clone();
    if let Some(handler) = shown.get_mut(FIELD) {
        match handler {
            Bson::Document(handler) => mask(handler),
            Bson::Null => {}
            // It may be anything.
            other => *other = MASK.into(),
        }
    }
    shown
}

fn mask(handler: &mut Document) {
    if let Some(Bson::String(url)) = handler.get_mut("url") {
        *url = shown_url(url);
    }
    if let Some(secret) = handler.get_mut("secret") {
        match secret {
            Bson::Array(all) => all.iter_mut().for_each(|one| *one = MASK.into()),
            one => *one = MASK.into(),
        }
    }
    if let Some(headers) = handler.get_mut("headers") {
        match headers {
            Bson::Document(all) => all.iter_mut().for_each(|(_, value)| *value = MASK.into()),
            other => *other = MASK.into(),
        }
    }
}

/// What a URL asks for may be a secret, and so is what stands before its host.
fn shown_url(url: &str) -> String {
    let (plain, has_more) = match url.find(['?', '#']) {
        Some(end) => (&url[..end], true),
        None => (url, false),
    };
    match (plain.contains('@'), has_more) {
        (true, _) => MASK.to_owned(),
        (false, true) => format!("{plain}?{MASK}"),
        (false, false) => plain.to_owned(),
    }
}

/// Takes what is masked in `wanted` from what is there.
pub fn restore(wanted: &mut Document, there: &Document) {
    let Ok(there) = there.get_document(FIELD) else {
        return;
    };
    let Some(Bson::Document(wanted)) = wanted.get_mut(FIELD) else {
        return;
    };
    if let (Some(Bson::String(url)), Ok(before)) = (wanted.get_mut("url"), there.get_str("url"))
        && *url == shown_url(before)
    {
        before.clone_into(url);
    }
    if let (Some(secret), Some(before)) = (wanted.get_mut("secret"), there.get("secret")) {
        restore_secret(secret, before);
    }
    if let (Some(Bson::Document(headers)), Ok(before)) =
        (wanted.get_mut("headers"), there.get_document("headers"))
    {
        for (name, value) in headers.iter_mut() {
            if is_mask(value)
                && let Some(before) = before.get(name)
            {
                *value = before.clone();
            }
        }
    }
}

/// One secret, or two of them: each by its place.
fn restore_secret(secret: &mut Bson, before: &Bson) {
    let nth = |index: usize| match before {
        Bson::Array(all) => all.get(index),
        one => Some(one).filter(|_| index == 0),
    };
    match secret {
        Bson::Array(all) => {
            for (index, one) in all.iter_mut().enumerate() {
                if is_mask(one)
                    && let Some(before) = nth(index)
                {
                    *one = before.clone();
                }
            }
        }
        one if is_mask(one) => *one = before.clone(),
        _ => {}
    }
}

fn is_mask(value: &Bson) -> bool {
    value.as_str() == Some(MASK)
}

/// What no document may say of its handler.
pub(super) fn problems(document: &Document) -> Vec<Problem> {
    let wrong = |sentence: &str| Problem {
        field: FIELD,
        sentence: sentence.to_owned(),
    };
    let handler = match document.get(FIELD) {
        None | Some(Bson::Null) => return Vec::new(),
        Some(Bson::Document(handler)) => handler,
        Some(_) => return vec![wrong(NO_OBJECT)],
    };
    let mut problems = Vec::new();
    if handler.contains_key("exec") {
        problems.push(wrong(
            "exec is taken from the file of WORKER_HANDLERS alone, and never from a document; give a url",
        ));
    }
    problems
}

/// What is masked still, once what is there has been [restored](restore): it stands for nothing.
pub fn leftover(document: &Document) -> Option<Problem> {
    let handler = document.get_document(FIELD).ok()?;
    is_masked(handler).then(|| Problem {
        field: FIELD,
        sentence:
            "holds *** where it was not shown, and there is nothing that this could stand for; give the value itself"
                .to_owned(),
    })
}

fn is_masked(handler: &Document) -> bool {
    let secrets = match handler.get("secret") {
        Some(Bson::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let headers = handler.get_document("headers").into_iter().flatten();
    let url = handler.get_str("url").unwrap_or_default();
    secrets.iter().any(is_mask)
        || headers.into_iter().any(|(_, value)| is_mask(value))
        || url.ends_with(MASK)
}

/// The document without secrets that are masked: for whoever looks whether the rest is right.
#[must_use]
pub fn without_masks(document: &Document) -> Document {
    let mut rest = document.clone();
    if let Some(Bson::Document(handler)) = rest.get_mut(FIELD)
        && is_masked(handler)
    {
        handler.remove("secret");
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn listener() -> Document {
        doc! {"jobName": "mail", "handler": {
            "url": "https://example.com/hooks?token=hunter2",
            "secret": ["whsec_hunter2", "whsec_hunter3"],
            "headers": {"authorization": "Bearer hunter2"},
            "retries": 5,
        }}
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = masked(&listener());
        assert!(!shown.to_string().contains("hunter"), "{shown}");
        assert!(shown.to_string().contains("https://example.com/hooks?***"));
        for odd in [
            doc! {"handler": "hunter2"},
            doc! {"handler": {"url": "https://me:hunter2@example.com/"}},
            doc! {"handler": {"secret": {"a": "hunter2"}, "headers": ["hunter2"]}},
        ] {
            assert!(!masked(&odd).to_string().contains("hunter"), "{odd}");
        }
    }

    #[test]
    fn what_was_not_shown_stays_as_it_is() {
        let mut wanted = masked(&listener());
        assert!(leftover(&wanted).is_some());
        restore(&mut wanted, &listener());
        assert_eq!(wanted, listener());
        assert!(leftover(&wanted).is_none() && problems(&wanted).is_empty());
        let mut rotated = masked(&listener());
        let handler = rotated.get_document_mut("handler").unwrap();
        handler.insert("secret", vec!["whsec_new"]);
        handler.insert("url", "https://example.com/other");
        restore(&mut rotated, &listener());
        let handler = rotated.get_document("handler").unwrap();
        assert_eq!(handler.get_array("secret").unwrap().len(), 1);
        assert_eq!(handler.get_str("url").unwrap(), "https://example.com/other");
    }

    #[test]
    fn no_program_comes_from_a_document() {
        let exec = doc! {"handler": {"exec": ["rm"]}};
        assert!(problems(&exec)[0].sentence.contains("WORKER_HANDLERS"));
        assert!(problems(&doc! {"handler": null}).is_empty());
        assert_eq!(problems(&doc! {"handler": 3}).len(), 1);
    }
}
