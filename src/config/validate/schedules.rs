//! Schedules: where they are, and what does not go together with them.

use super::listeners::{allowed_topics, collection, text_file};
use super::topics;
use crate::config::check::Check;
use crate::config::{Schedules, StreamSpec, table};

/// Whether there are to be any.
pub(super) fn are_given(check: &Check<'_>) -> bool {
    let both = [&table::SCHEDULES_COLLECTION, &table::SCHEDULES_FILE];
    both.iter().any(|variable| check.given(variable).is_some())
}

/// Reads `SCHEDULES_COLLECTION` and `SCHEDULES_FILE`; none where neither is set, or wrong.
pub(super) fn schedules(
    check: &mut Check<'_>,
    client_id: &str,
    streams: &[StreamSpec],
) -> Option<Schedules> {
    let (of_collection, of_file) = (&table::SCHEDULES_COLLECTION, &table::SCHEDULES_FILE);
    let (at, file) = match (check.given(of_collection), check.given(of_file)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            check.wrong(
                of_file,
                "is given beside SCHEDULES_COLLECTION; give only one of the two",
            );
            return None;
        }
        (Some(_), None) => (Some(collection(check, of_collection, "schedules")?), None),
        (None, Some(_)) => (None, Some(text_file(check, of_file)?)),
    };
    let unit = format!("{client_id}/schedules");
    if streams.iter().any(|stream| stream.id == unit) {
        check.wrong(
            &table::STREAM_ID,
            format!("is {unit}, which is the id of the schedules; give the stream another"),
        );
    }
    let resume = check
        .text(&table::RESUME_TOPIC)
        .unwrap_or_default()
        .to_owned();
    let progress = format!("{resume}.schedules");
    if let Some(problem) = topics::problem(&progress) {
        check.wrong(
            &table::RESUME_TOPIC,
            format!(
                "gives {progress} for how far schedules are: {problem}; {}",
                table::RESUME_TOPIC.right()
            ),
        );
    }
    let own = [
        check.text(&table::COORDINATION_TOPIC).map(str::to_owned),
        Some(resume),
    ];
    let of_streams = streams.iter().flat_map(|stream| {
        let dead = stream.sink.topics.dead_letter.iter();
        stream.sink.topics.of_records().chain(dead)
    });
    let mut reserved: Vec<String> = own.into_iter().flatten().collect();
    reserved.extend(of_streams.filter(|topic| !topic.contains('{')).cloned());
    reserved.sort();
    reserved.dedup();
    Some(Schedules {
        unit,
        at,
        file,
        topics: allowed_topics(check),
        reserved,
        progress,
    })
}
