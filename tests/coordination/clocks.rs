//! What the clocks of the machines show does not matter.

use super::fleet::{BOTH, Fleet, Kind, owners, spread, subscriptions};
use crate::support::Clock;
use serde_json::Value;
use std::time::Duration;

/// Longer than every time-out: what was lost by the step would be seen to be lost.
const LONG: Duration = Duration::from_secs(6);

fn hand_overs(said: &Value) -> Vec<u64> {
    let rows = said["subscriptions"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["handOvers"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_one_machine_s_clock_moves_nothing() {
    for (kind, delivery) in [Kind::Leases, Kind::Group].into_iter().zip(BOTH) {
        let clock = Clock::new();
        let mut fleet = Fleet::new(2, delivery).await.by(kind);
        let one = clock.of(&fleet.setup).start().await;
        spread(&[&one], &[2]).await;
        let two = fleet.setup.start().await;
        spread(&[&one, &two], &[1, 1]).await;
        fleet.write();
        fleet.flows().await;
        let before = (owners(&two).await, hand_overs(&subscriptions(&two).await));
        for ahead in [600, -600, 0] {
            clock.step_to(ahead);
            tokio::time::sleep(LONG).await;
            fleet.flows().await;
            let now = (owners(&two).await, hand_overs(&subscriptions(&two).await));
            assert_eq!(now, before, "{kind:?}: {ahead} s ahead\n{}", one.log());
        }
        assert!(!one.log().contains("fenced") && !two.log().contains("fenced"));
        fleet.assert_whole().await;
        one.stop().await;
        two.stop().await;
    }
}
