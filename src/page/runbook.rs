//! Sections of the runbook, `docs/operations.md`, as an anchor of a link names them.

const PAGE: &str = include_str!("../../docs/operations.md");

/// The section with this anchor, with its heading, up to the next one of its level or above.
pub(super) fn section(anchor: &str) -> Option<String> {
    let mut text = String::new();
    let mut inside = None;
    let mut is_code = false;
    for line in PAGE.lines() {
        is_code ^= line.trim_start().starts_with("```");
        // A comment in a shell's code looks like a heading.
        let heading = heading(line).filter(|_| !is_code);
        match (inside, heading) {
            (None, Some((level, title))) if of_title(title) == anchor => {
                inside = Some(level);
                text = format!("{title}\n");
            }
            (None, _) => {}
            (Some(level), Some((next, _))) if next <= level => break,
            (Some(_), _) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    inside.map(|_| text)
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (level > 0)
        .then(|| title.strip_prefix(' '))
        .flatten()
        .map(|title| (level, title))
}

/// As Markdown's renderers make anchors: lower case, without punctuation, dashes for spaces.
fn of_title(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_with_the_next_of_its_level() {
        let text = section("tailwaterwaiting").unwrap();
        assert!(text.starts_with("TailwaterWaiting\n"), "{text}");
        assert!(!text.contains("TailwaterLagging\n"), "{text}");
        assert!(section("alerts").unwrap().contains("TailwaterLagging"));
        assert!(section("healthy-degraded-unhealthy").is_some());
        assert!(section("no-such-thing").is_none());
    }
}
