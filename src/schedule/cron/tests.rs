use super::*;

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn line(text: &str, zone: &str) -> Line {
    Line::parse(text, TimeZone::get(zone).unwrap()).unwrap()
}

fn due(text: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let line = line(text, zone);
    let (mut at, until) = (second(from), second(until));
    let mut all = Vec::new();
    while let Some(next) = line.next_after(at).filter(|next| *next <= until) {
        all.push(Timestamp::from_second(next).unwrap().to_string());
        at = next;
    }
    all
}

/// `tests/corpus/cron.py` says how the list was made, by another library: a year in zones over both changes of daylight
/// saving, of whole and half hours, at night and at midnight.
#[test]
fn a_year_of_lines_is_due_when_another_library_says() {
    let list = include_str!("../../../tests/corpus/cron.txt");
    let (begin, end) = (
        second("2026-01-01T00:00:00Z"),
        second("2027-01-01T00:00:00Z"),
    );
    let mut wrong = Vec::new();
    for row in list.lines() {
        let [zone, text, times] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let wanted = unpacked(times);
        let line = line(text, zone);
        let mut at = begin;
        let mut found = Vec::new();
        while let Some(next) = line.next_after(at).filter(|next| *next < end) {
            found.push(next);
            at = next;
        }
        if found != wanted {
            let first = found
                .iter()
                .zip(&wanted)
                .find(|(found, wanted)| found != wanted);
            let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
            let first = first.map(|(found, wanted)| (time(*found), time(*wanted)));
            wrong.push(format!(
                "{zone} {text}: {} times, not {}; first {first:?}",
                found.len(),
                wanted.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn unpacked(times: &str) -> Vec<i64> {
    let mut words = times.split(' ');
    let Ok(first) = words.next().unwrap().parse::<i64>() else {
        return Vec::new();
    };
    let mut all = vec![first];
    for run in words {
        let (step, count) = run.split_once('x').unwrap();
        let step: i64 = step.parse().unwrap();
        for _ in 0..count.parse::<usize>().unwrap() {
            all.push(all[all.len() - 1] + step);
        }
    }
    all
}

#[test]
fn what_the_clock_jumps_over_is_due_once_it_has_and_what_comes_twice_is_due_once() {
    let spring = ["2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"];
    let of = |text, [from, until]: [&str; 2]| due(text, "Europe/Berlin", from, until);
    assert_eq!(of("15,45 2 * * *", spring), ["2026-03-29T01:00:00Z"]);
    let autumn = ["2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"];
    assert_eq!(of("30 2 * * *", autumn), ["2026-10-25T00:30:00Z"]);
    // An interval goes on: twice in the hour that comes twice.
    let night = ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"];
    assert_eq!(of("*/30 2 * * *", night).len(), 3);
    assert_eq!(of("0 * * * *", night).len(), 2);
    // With seconds the same.
    assert_eq!(of("10 30 2 * * *", autumn), ["2026-10-25T00:30:10Z"]);
}

#[test]
fn seconds_may_stand_first_and_far_days_are_found() {
    let all = due(
        "*/20 0 9 * * *",
        "UTC",
        "2026-06-01T00:00:00Z",
        "2026-06-01T23:00:00Z",
    );
    assert_eq!(all.len(), 3);
    let leap = due(
        "0 12 29 2 *",
        "America/New_York",
        "2026-01-01T00:00:00Z",
        "2033-01-01T00:00:00Z",
    );
    assert_eq!(leap, ["2028-02-29T17:00:00Z", "2032-02-29T17:00:00Z"]);
    // At 2:30 on a day on which the clock jumps over it, or the day has none: far, but found.
    assert!(
        line("30 2 29 2 *", "Europe/Berlin")
            .next_after(second("2096-03-01T00:00:00Z"))
            .is_some()
    );
    assert_eq!(line("0 0 30 2 *", "UTC").next_after(0), None);
    assert_eq!(line("0  9 * *  1-5", "UTC").text(), "0 9 * * 1-5");
}

#[test]
fn what_is_no_line_is_told() {
    for wrong in [
        "",
        "x",
        "* * * *",
        "61 * * * *",
        "* * * * * * *",
        "0 9 * * 1-5 2027 1",
    ] {
        let sentence = Line::parse(wrong, TimeZone::UTC).unwrap_err();
        assert!(sentence.contains("0 9 * * 1-5"), "{wrong}: {sentence}");
    }
}
