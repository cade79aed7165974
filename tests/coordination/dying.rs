//! An instance dies, each way that there is: another one carries on, and nothing is lost.

use super::fleet::{BOTH, Fleet, active, name, owners, spread, subscriptions};
use crate::support::Tailwater;

/// Two instances of one stream: the owner, and the one that stands by.
async fn pair(fleet: &Fleet) -> (Tailwater, Tailwater) {
    let one = fleet.setup.start().await;
    spread(&[&one], &[1]).await;
    let two = fleet.setup.start().await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_goes_on_when_the_owner_is_killed() {
    for delivery in BOTH {
        let mut fleet = Fleet::new(1, delivery).await;
        let (mut one, two) = pair(&fleet).await;
        fleet.write();
        fleet.flows().await;
        assert_eq!(active(&two).await, 0, "it is ready, and runs nothing");
        let first = name(&one).await;
        assert_eq!(owners(&two).await[&fleet.id(0)], Some(first.clone()));

        one.kill9();
        spread(&[&two], &[1]).await;
        let said = subscriptions(&two).await;
        let row = &said["subscriptions"][0];
        assert_eq!(row["mine"], true, "{said:#}");
        assert_eq!(row["previousOwner"], first, "{said:#}");
        assert_eq!(row["handOvers"], 1, "{said:#}");
        fleet.flows().await;
        let pause = fleet.assert_whole().await;
        println!("{delivery}: {pause:?} without a record after kill -9");
        two.stop().await;
    }
}
