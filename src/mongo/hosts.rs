//! What was last heard from each host: the driver knows it, and says of an operation that found no server
//! only that there was none.

use super::describe::describe;
use mongodb::ServerType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, ServerDescription};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The oldest wire version that the driver speaks: MongoDB 4.4.
pub const OLDEST_WIRE_VERSION: i32 = 9;

/// By address, and only of hosts that cannot be used. One deployment has few hosts; the bound is for a
/// process that meets many deployments, as the tests do.
static HEARD: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
const MOST: usize = 1000;

/// Keeps what a client hears of its hosts.
pub fn listener() -> EventHandler<SdamEvent> {
    EventHandler::callback(|event| {
        if let SdamEvent::ServerDescriptionChanged(changed) = event {
            let address = changed.address.to_string();
            let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
            match why_not(&changed.new_description) {
                Some(reason) if heard.len() < MOST || heard.contains_key(&address) => {
                    heard.insert(address, reason);
                }
                _ => {
                    heard.remove(&address);
                }
            }
        }
    })
}

/// Why a host cannot be used; none where it can.
fn why_not(host: &ServerDescription) -> Option<String> {
    if let Some(error) = host.error() {
        return Some(describe(error));
    }
    let wire = host.max_wire_version();
    match host.server_type() {
        _ if wire.is_some_and(|version| version < OLDEST_WIRE_VERSION) => {
            Some("a server that is older than MongoDB 4.4".into())
        }
        ServerType::RsArbiter => Some("an arbiter, which holds no data".into()),
        ServerType::RsGhost => Some("a member that is not in its replica set yet".into()),
        ServerType::RsOther => Some("a member that is starting or recovering".into()),
        ServerType::RsSecondary => Some("a secondary".into()),
        _ => None,
    }
}

/// Why no server was found, host by host. `topology` is the driver's message, which names the hosts.
pub(super) fn none_of(topology: &str) -> String {
    let known: Vec<_> = known(topology)
        .into_iter()
        .map(|(address, reason)| format!("{address}: {reason}"))
        .collect();
    match known.is_empty() {
        true => "no server can be used".into(),
        false => format!("no server can be used ({})", known.join("; ")),
    }
}

/// What was heard last of the only host of a topology; none where nothing was.
pub fn heard_of(topology: &str) -> Option<String> {
    known(topology).into_iter().next().map(|(_, reason)| reason)
}

fn known(topology: &str) -> Vec<(String, String)> {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let known = heard
        .iter()
        .filter(|(address, _)| topology.contains(&format!("Address: {address},")));
    known
        .map(|(address, reason)| (address.clone(), reason.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_this_deployment_are_told_of() {
        let mut heard = HEARD.lock().unwrap();
        heard.insert("a.example:27017".into(), "refused".into());
        heard.insert("b.example:27017".into(), "an arbiter".into());
        drop(heard);
        let told = none_of("Servers: [ { Address: a.example:27017, Type: Unknown } ]");
        assert_eq!(told, "no server can be used (a.example:27017: refused)");
        assert_eq!(none_of("Servers: [ ]"), "no server can be used");
    }
}
