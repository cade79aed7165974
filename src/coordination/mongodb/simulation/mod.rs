//! Many instances over one simulated database: lost requests and answers, clocks that disagree, frozen
//! and killed instances, cut networks, outages. The code that decides is the real one; a run is told by
//! its seed.

mod database;
mod node;
mod world;

use node::{Event, Millis, Payload};
use world::{World, duration};

/// How many runs each test makes; a few hundred were made, and found nothing more.
const SEEDS: u64 = 6;

const MINUTE: Millis = 60_000;

#[test]
fn twelve_streams_spread_evenly_and_each_moves_once() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 12);
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE);
        assert_eq!(world.spread(), [4, 4, 4], "seed {seed}");
        assert_eq!(world.moves(), 12, "seed {seed}: all started at once");

        world.kill(1);
        let before = world.moves();
        world.run(32_000);
        assert_eq!(world.spread(), [6, 6], "seed {seed}");
        assert_eq!(world.moves() - before, 4, "seed {seed}");

        world.start();
        let before = world.moves();
        world.run(MINUTE);
        assert_eq!(world.spread(), [4, 4, 4], "seed {seed}");
        assert_eq!(world.moves() - before, 4, "seed {seed}");

        // Nothing moves any more.
        let before = world.moves();
        world.run(10 * MINUTE);
        assert_eq!(world.moves(), before, "seed {seed}");
    }
}

#[test]
fn nothing_is_given_to_an_instance_whose_leases_expired_before_its_registration() {
    for seed in 0..5 * SEEDS {
        let mut world = World::new(seed, 12);
        for _ in 0..3 {
            world.start();
        }
        let pause = world.dice.roll(20_000);
        world.run(MINUTE + pause);
        let before = world.moves();
        world.kill(1);
        world.run(2 * MINUTE);
        assert_eq!(world.spread(), [6, 6], "seed {seed}");
        assert_eq!(world.moves() - before, 4, "seed {seed}: each once");
    }
}

#[test]
fn who_leaves_gives_everything_away_before_it_goes() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 7);
        let leaving = world.start();
        world.run(MINUTE);
        world.start();
        world.start();
        world.run(MINUTE);
        let (before, had) = (world.moves(), world.nodes[leaving].wanted.len());
        world.nodes[leaving].member.leave();
        world.at(0, leaving, Event::Wake);
        world.run(15_000);
        assert!(world.nodes[leaving].member.has_left(), "seed {seed}");
        world.kill(leaving);
        world.run(1_000);
        let mut spread = world.spread();
        spread.sort_unstable();
        assert_eq!(spread, [3, 4], "seed {seed}");
        assert_eq!(world.moves() - before, had, "seed {seed}: each once");
    }
}

#[test]
fn an_outage_of_the_database_takes_no_lease_from_anybody() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 6);
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE + seed * 171);
        let before = world.moves();
        world.outage_until = world.now + 300_000;
        world.run(320_000);
        world.run(MINUTE);
        assert_eq!(world.moves(), before, "seed {seed}");
        assert_eq!(world.spread(), [2, 2, 2], "seed {seed}");
    }
}

#[test]
fn a_frozen_owner_wakes_up_without_its_streams_and_gets_a_share_again() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 6);
        world.is_orderly = false;
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE);
        world.nodes[0].frozen_until = world.now + 40_000 + world.dice.roll(100_000);
        world.run(39_000);
        assert_eq!(world.spread()[1..], [3, 3], "seed {seed}");
        world.run(4 * MINUTE);
        assert_eq!(world.spread(), [2, 2, 2], "seed {seed}");
    }
}

#[test]
fn under_all_faults_at_once_a_stream_never_has_two_owners_and_gets_one_afterwards() {
    for seed in 0..5 * SEEDS {
        let mut world = World::new(seed, 9);
        world.is_orderly = false;
        for _ in 0..3 {
            world.start();
        }
        for _ in 0..30 {
            let pause = 2_000 + world.dice.roll(20_000);
            world.run(pause);
            let node = world.dice.roll(world.nodes.len() as u64) as usize;
            let lasts = world.now + 1_000 + world.dice.roll(90_000);
            match world.dice.roll(9) {
                0 => world.nodes[node].frozen_until = lasts,
                1 | 2 => world.nodes[node].cut_until = lasts,
                3 => world.outage_until = lasts,
                4 => {
                    world.kill(node);
                    world.start();
                }
                5 => world.loss = world.dice.roll(40),
                6 => world.nudge_loss = world.dice.roll(101),
                7 => {
                    // Somebody removes a document, or a registration.
                    let stream = format!("s{:02}", world.dice.roll(9));
                    let is_removable = world.nodes.iter().all(|node| node.cut_until < world.now)
                        && world.outage_until < world.now
                        && world.loss == 0;
                    if is_removable {
                        world.leases.remove(&stream);
                        world.nudge();
                    }
                    let name = world.nodes[node].name.clone();
                    world.peers.remove(&name);
                }
                _ => {
                    let live = world.nodes.iter().filter(|node| !node.is_dead).count();
                    if live > 2 {
                        world.nodes[node].member.leave();
                    } else {
                        world.start();
                    }
                }
            }
        }
        (world.loss, world.nudge_loss, world.outage_until) = (0, 0, 0);
        for index in 0..world.nodes.len() {
            if world.nodes[index].member.is_leaving() {
                world.kill(index);
            }
            world.nodes[index].frozen_until = 0;
            world.nodes[index].cut_until = 0;
        }
        world.start();
        world.run(5 * MINUTE);
        let spread = world.spread();
        assert_eq!(spread.iter().sum::<usize>(), 9, "seed {seed}: {spread:?}");
        let (most, least) = (spread.iter().max(), spread.iter().min());
        assert!(
            most.unwrap() - least.unwrap() < 2,
            "seed {seed}: {spread:?}"
        );
    }
}

#[test]
fn what_a_person_moves_goes_there_and_stays() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 4);
        for _ in 0..2 {
            world.start();
        }
        world.run(MINUTE);
        let stream = world.nodes[0].wanted.first().cloned().unwrap();
        let now = duration(world.now + world.nodes[1].ahead);
        let asked = world.nodes[1].member.ask(&stream, Some("node1"), now);
        world.send(1, Payload::Write(asked.unwrap()));
        world.run(10_000);
        assert!(world.nodes[1].wanted.contains(&stream), "seed {seed}");
        world.run(10 * MINUTE);
        assert!(world.nodes[1].wanted.contains(&stream), "seed {seed}");
        assert_eq!(world.spread(), [2, 2], "seed {seed}");
    }
}

#[test]
fn a_stream_that_somebody_else_claims_is_left_to_others_first() {
    let mut world = World::new(1, 1);
    world.start();
    world.run(MINUTE);
    assert_eq!(world.spread(), [1]);
    let now = duration(world.now + world.nodes[0].ahead);
    world.nodes[0].member.fenced("s00", now);
    world.at(0, 0, Event::Wake);
    world.run(20_000);
    assert_eq!(world.spread(), [0]);
    world.run(20_000);
    assert_eq!(world.spread(), [1], "nobody else came for it");

    world.start();
    world.run(MINUTE);
    let now = duration(world.now + world.nodes[0].ahead);
    world.nodes[0].member.fenced("s00", now);
    world.at(0, 0, Event::Wake);
    world.run(5_000);
    assert_eq!(world.spread(), [0, 1], "it went to the other");
    world.run(10 * MINUTE);
    assert_eq!(world.spread(), [0, 1]);
}
