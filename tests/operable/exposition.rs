//! Reads Prometheus's text format (version 0.0.4) and refuses what a server would refuse, or read as
//! something else: samples without a type, a family in two pieces, a series twice, buckets that shrink.

use std::collections::{BTreeMap, BTreeSet};

/// A scrape that keeps the rules.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Type of each family.
    pub types: BTreeMap<String, String>,
    /// Value by sample name and labels.
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    /// Reads a page.
    ///
    /// # Errors
    /// The line that breaks a rule, and which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let mut helped = BTreeSet::new();
        let mut finished = BTreeSet::new();
        let mut family = String::new();
        if !text.ends_with('\n') {
            return Err("the last line is not ended".into());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            let at = |problem: &str| format!("{problem}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or_else(|| at("no help"))?;
                if help.is_empty() || !helped.insert(name.to_owned()) {
                    return Err(at("help missing or given twice"));
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| at("no type"))?;
                if !["counter", "gauge", "histogram"].contains(&kind) {
                    return Err(at("unknown type"));
                }
                finished.insert(std::mem::replace(&mut family, name.to_owned()));
                if finished.contains(name) {
                    return Err(at("a family in two pieces"));
                }
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else if line.starts_with('#') {
                return Err(at("unknown comment"));
            } else {
                let (name, labels, value) = sample(line).map_err(|problem| at(&problem))?;
                let kind = scrape.types.get(&family).map(String::as_str);
                let suffix = name.strip_prefix(&family);
                let belongs = matches!(
                    (kind, suffix),
                    (Some("histogram"), Some("_bucket" | "_sum" | "_count"))
                        | (Some("counter" | "gauge"), Some(""))
                );
                if !belongs {
                    return Err(at("a sample outside its family"));
                }
                if kind != Some("gauge") && value < 0.0 {
                    return Err(at("a count below zero"));
                }
                if scrape.samples.insert((name, labels), value).is_some() {
                    return Err(at("a series twice"));
                }
            }
        }
        if let Some(name) = scrape.types.keys().find(|name| !helped.contains(*name)) {
            return Err(format!("{name} has no help"));
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    /// The sum of a metric's samples that have these labels, if there is one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self
            .samples
            .iter()
            .filter(|((sample, has), _)| {
                sample == name
                    && labels
                        .iter()
                        .all(|(label, value)| has.get(*label).is_some_and(|v| v == value))
            })
            .map(|(_, value)| *value)
            .peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The label names that samples of a family have, `le` aside.
    pub fn labels(&self, family: &str) -> BTreeSet<&str> {
        self.samples
            .keys()
            .filter(|(name, _)| name.starts_with(family))
            .flat_map(|(_, labels)| labels.keys().map(String::as_str))
            .filter(|label| *label != "le")
            .collect()
    }

    fn check_histograms(&self) -> Result<(), String> {
        for name in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let name = name.0;
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for ((sample, labels), count) in &self.samples {
                if *sample == format!("{name}_bucket") {
                    let le = labels.get("le").ok_or("a bucket without le")?;
                    let le = match le.as_str() {
                        "+Inf" => f64::INFINITY,
                        le => le.parse().map_err(|_| format!("{name}: le={le}"))?,
                    };
                    buckets.push((le, *count));
                }
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let grows = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            let count = self.value(&format!("{name}_count"), &[]);
            let last = buckets.last().copied();
            if !grows || last.map(|(_, count)| count) != count {
                return Err(format!("{name}: buckets do not add up: {buckets:?}"));
            }
            if last.is_some_and(|(le, _)| le.is_finite()) {
                return Err(format!("{name} has no bucket +Inf"));
            }
        }
        Ok(())
    }
}

type Sample = (String, BTreeMap<String, String>, f64);

/// `name{label="value",…} number`
fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    is_name(name)?;
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            is_name(label)?;
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next().ok_or("a label that does not end")? {
                    (at, '"') => break at,
                    (_, '\\') => match letters.next() {
                        Some((_, 'n')) => value.push('\n'),
                        Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                        _ => return Err("an unknown escape".into()),
                    },
                    (_, letter) => value.push(letter),
                }
            };
            if labels.insert(label.to_owned(), value).is_some() {
                return Err("a label twice".into());
            }
            rest = after[end + 1..].trim_start_matches(',');
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.parse().map_err(|_| "not a number".to_owned())?;
    Ok((name.to_owned(), labels, value))
}

fn is_name(name: &str) -> Result<(), String> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (starts && goes_on)
        .then_some(())
        .ok_or_else(|| format!("{name:?} is no name"))
}

#[test]
fn a_page_that_breaks_a_rule_is_refused() {
    let head = "# HELP a_total x\n# TYPE a_total counter\n";
    assert!(Scrape::parse(&format!("{head}a_total{{b=\"c\\\"d\"}} 1\n")).is_ok());
    for broken in [
        "a_total 1\n",
        "a_total{b=\"c\"} x\n",
        "b_total 1\n",
        "a_total 1\na_total 1\n",
        "a_total -1\n",
        "a_total{b=\"c} 1\n",
        "a_total 1",
    ] {
        let head = if broken == "a_total 1\n" { "" } else { head };
        assert!(
            Scrape::parse(&format!("{head}{broken}")).is_err(),
            "{broken}"
        );
    }
    let histogram = "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n";
    assert!(Scrape::parse(histogram).is_err());
}
