//! Waiting for servers: what is said meanwhile, when it is tried again, and when it is given up.

use crate::error::Error;
use crate::log::event_id;
use crate::preflight::{Finding, Report};
use crate::retry::{Delays, Retry};
use crate::status::Note;
use crate::status::waiting::Waiting;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// A server that has not answered by then is spoken of, long before it is given up.
const FIRST_WORD: Duration = Duration::from_millis(700);

/// When one end refuses, how long the other has to say that it refuses as well.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// How to wait for a server.
pub(super) struct Wait<'a> {
    pub(super) server: &'static str,
    pub(super) retry: Retry,
    /// Where the last reason is kept.
    pub(super) note: &'a Note,
    /// What health tells meanwhile.
    pub(super) waiting: Waiting<'a>,
}

impl Wait<'_> {
    /// Repeats the checks until nothing is left to wait for. While the first of them takes long, `silence`
    /// is asked what is known already.
    ///
    /// # Errors
    /// What waiting does not heal, or has not within `retry`.
    pub(super) async fn until_passed<'a>(
        &self,
        check: impl Fn() -> BoxFuture<'a, Report>,
        silence: BoxFuture<'a, Option<Finding>>,
    ) -> Result<(), Error> {
        let mut delays = self.retry.delays();
        let mut said = String::new();
        let first_word = async {
            tokio::time::sleep(FIRST_WORD).await;
            silence.await
        };
        let mut first = std::pin::pin!(check());
        let mut report = tokio::select! {
            report = &mut first => report,
            finding = first_word => {
                let found = Report { findings: finding.into_iter().collect() };
                if let Some(waiting) = found.waiting_for() {
                    self.say(&waiting, &mut said);
                }
                first.await
            }
        };
        loop {
            if let Some(error) = report.refusal() {
                return Err(error);
            }
            let Some(waiting) = report.waiting_for() else {
                report.findings.iter().for_each(Finding::log);
                return Ok(());
            };
            self.say(&waiting, &mut said);
            tokio::time::sleep(delays.after_error(&waiting)?).await;
            report = check().await;
        }
    }

    /// Says what is waited for, once.
    fn say(&self, waiting: &Error, said: &mut String) {
        if waiting.detail != *said {
            tracing::warn!(
                event_id = event_id::SERVER_AWAITED,
                server = self.server,
                "not ready yet, waiting: {}",
                waiting.detail
            );
            self.note.set(waiting.detail.as_str());
            self.waiting.because(waiting.detail.clone());
            said.clone_from(&waiting.detail);
        }
    }
}

/// Waits for both ends at the same time. The first refusal ends it; where both refuse, both are told, and
/// the source's is the one that counts.
///
/// # Errors
/// The refusal.
pub(super) async fn both<A, B>(
    source: impl Future<Output = Result<A, Error>>,
    sink: impl Future<Output = Result<B, Error>>,
) -> Result<(A, B), Error> {
    let (mut source, mut sink) = (std::pin::pin!(source), std::pin::pin!(sink));
    let (error, other) = tokio::select! {
        ready = &mut source => match ready {
            Ok(ready) => return Ok((ready, sink.await?)),
            Err(error) => (error, refusal_of(sink).await),
        },
        ready = &mut sink => match ready {
            Ok(ready) => return Ok((source.await?, ready)),
            Err(error) => match refusal_of(source).await {
                Some(first) => (first, Some(error)),
                None => (error, None),
            },
        },
    };
    if let Some(other) = other {
        tracing::error!(code = other.code.name(), "{other}");
    }
    Err(error)
}

async fn refusal_of<T>(end: impl Future<Output = Result<T, Error>>) -> Option<Error> {
    tokio::time::timeout(SAME_MOMENT, end).await.ok()?.err()
}

/// Repeats what fails with a transient error. `waiting` tells it meanwhile.
pub(crate) async fn retrying<'a, T>(
    retry: Retry,
    waiting: &[Waiting<'_>],
    attempt: impl Fn() -> BoxFuture<'a, Result<T, Error>>,
) -> Result<T, Error> {
    let mut delays = retry.delays();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => pause_before_retry(error, &mut delays, waiting).await?,
        }
    }
}

/// Waits before the next attempt.
///
/// # Errors
/// The error that ended the last, when there should be no other.
pub(super) async fn pause_before_retry(
    error: Error,
    delays: &mut Delays,
    waiting: &[Waiting<'_>],
) -> Result<(), Error> {
    let delay = delays.after_error(&error)?;
    for waiting in waiting {
        waiting.because(error.to_string());
    }
    tracing::warn!(code = error.code.name(), %error, "trying again");
    tokio::time::sleep(delay).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::status::waiting::{Awaited, Waits};
    use futures_util::FutureExt;
    use std::future::{pending, ready};

    fn refused<T>(code: Code) -> Result<T, Error> {
        Err(Error::new(code, "no"))
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait_for_the_other_end() {
        let source = both(
            ready(refused::<()>(Code::SourceRefused)),
            pending::<Result<(), _>>(),
        );
        assert_eq!(source.await.unwrap_err().code, Code::SourceRefused);
        let sink = both(
            pending::<Result<(), _>>(),
            ready(refused::<()>(Code::SinkRefused)),
        );
        assert_eq!(sink.await.unwrap_err().code, Code::SinkRefused);
        let late = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            refused::<()>(Code::SinkRefused)
        };
        let after = both(ready(Ok::<_, Error>(())), late).await;
        assert_eq!(after.unwrap_err().code, Code::SinkRefused);
    }

    #[tokio::test]
    async fn of_two_refusals_the_sources_counts_whichever_came_first() {
        let later = async {
            tokio::time::sleep(SAME_MOMENT / 2).await;
            refused::<()>(Code::SourceRefused)
        };
        let both = both(later, ready(refused::<()>(Code::SinkRefused))).await;
        assert_eq!(both.unwrap_err().code, Code::SourceRefused);
    }

    #[tokio::test]
    async fn what_is_known_is_said_while_the_first_check_goes_on_and_only_once() {
        let (note, waits) = (Note::default(), Waits::default());
        let wait = Wait {
            server: "mongodb",
            retry: Retry {
                first: Duration::from_millis(1),
                most: 1,
            },
            note: &note,
            waiting: waits.begin(Awaited::MongoDb),
        };
        let away = || Finding::not_yet("a", Code::SourceUnavailable, "nobody listens");
        let checked = wait.until_passed(
            || {
                async {
                    tokio::time::sleep(FIRST_WORD * 2).await;
                    let noted = note.get().map(|noted| noted.text);
                    assert_eq!(noted.as_deref(), Some("nobody listens"));
                    assert_eq!(waits.all()[0].why, noted);
                    Report {
                        findings: vec![away()],
                    }
                }
                .boxed()
            },
            async { Some(away()) }.boxed(),
        );
        assert_eq!(checked.await.unwrap_err().code, Code::SourceUnavailable);
    }
}
