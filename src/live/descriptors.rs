//! A client takes a descriptor: whether this process may have as many as `LIVE_MAX_CLIENTS` needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the rest of the process needs, with some streams.
const OTHERS: u64 = 1_000;

/// Raises this process's limit as far as clients need it and the system allows, and says so where that is not enough.
pub fn provide(max_clients: usize) {
    let needed = u64::try_from(max_clients)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let Some((raised, is_enough)) = raised(limit.current, limit.maximum, needed) else {
        return;
    };
    let wanted = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    let is_raised = setrlimit(Resource::Nofile, wanted).is_ok();
    if !(is_enough && is_raised) {
        let allowed = getrlimit(Resource::Nofile).current;
        tracing::warn!(
            allowed,
            needed,
            "the system allows fewer descriptors than LIVE_MAX_CLIENTS={max_clients} needs: further clients will not be \
             connected; raise the hard limit of open files (ulimit -Hn, LimitNOFILE=), or set LIVE_MAX_CLIENTS lower"
        );
    }
}

/// What to raise the limit to, and whether that is as much as is needed; none where it is high enough.
fn raised(current: Option<u64>, maximum: Option<u64>, needed: u64) -> Option<(u64, bool)> {
    // A limit that is not there is none.
    current.filter(|current| *current < needed)?;
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    Some((raised, raised == needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed() {
        assert_eq!(
            raised(Some(1024), Some(20_000), 11_000),
            Some((11_000, true))
        );
        assert_eq!(raised(Some(1024), Some(4096), 11_000), Some((4096, false)));
        assert_eq!(raised(Some(1024), None, 11_000), Some((11_000, true)));
        assert_eq!(raised(Some(20_000), Some(20_000), 11_000), None);
        assert_eq!(raised(None, None, 11_000), None);
    }
}
