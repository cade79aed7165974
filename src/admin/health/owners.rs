//! Which instance has which stream: the same on every instance.

use crate::api::time::of_system;
use crate::coordination::{Coordination, InstanceView};
use crate::status::owner::Ownership;
use serde_json::{Value, json};

/// Puts into what is said of a stream who has it, where instances share the streams.
pub(super) fn put(row: &mut Value, ownership: Option<&Ownership>) {
    let Some(ownership) = ownership else { return };
    let Ownership {
        owner,
        mine,
        since,
        epoch,
        last_heartbeat,
        hand_overs,
        previous,
        moving_to,
    } = ownership;
    row["owner"] = json!(owner);
    row["mine"] = json!(mine);
    row["ownedSince"] = json!(since.and_then(of_system));
    row["epoch"] = json!(epoch);
    row["lastHeartbeat"] = json!(last_heartbeat.and_then(of_system));
    row["handOvers"] = json!(hand_overs);
    row["previousOwner"] = json!(previous);
    if let Some(to) = moving_to {
        row["movingTo"] = json!(to);
    }
}

/// Puts into the answer about all streams who the instances are, and the streams that others have and this one is
/// not configured for.
pub(super) fn put_others(body: &mut Value, coordination: &Coordination, is_one: bool) {
    let view = coordination.view().borrow().clone();
    let mut rows = body["subscriptions"].take();
    let Some(list) = rows.as_array_mut() else {
        return;
    };
    for (stream, ownership) in &view.streams {
        if is_one || list.iter().any(|row| row["stream"] == *stream) {
            continue;
        }
        let state = ownership.elsewhere().name();
        let mut row = json!({ "stream": stream, "state": state, "configured": false });
        put(&mut row, Some(ownership));
        list.push(row);
    }
    let is_unowned = |row: &&Value| row["owner"].is_null();
    body["unowned"] = list.iter().filter(is_unowned).count().into();
    body["subscriptions"] = rows;
    body["instance"] = coordination.instance().into();
    let instance = |(id, instance): (&String, &InstanceView)| {
        json!({
            "instance": id,
            "mine": id == coordination.instance(),
            "version": instance.version,
            "since": instance.since.and_then(of_system),
            "lastHeartbeat": instance.last_heartbeat.and_then(of_system),
            "leaving": instance.leaving,
            "streams": instance.streams,
        })
    };
    body["instances"] = view.instances.iter().map(instance).collect();
    if let Some(why) = &view.unreachable {
        body["unreachable"] = why.as_str().into();
    }
}
