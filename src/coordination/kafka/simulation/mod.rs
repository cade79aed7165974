//! Many instances over one simulated topic: late records, late assignments, clocks that disagree, frozen and
//! killed instances, cut networks, outages. The code that decides is the real one; a run is told by its
//! seed.

mod group;
mod world;

use crate::coordination::kafka::record::{Entry, Move};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{SESSION, World};

fn streams(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn seven() -> BTreeSet<String> {
    streams(&["a", "b", "c", "d", "e", "f", "g"])
}

/// Each stream has the owner that the group says, or whom it was moved to, and nothing moves any more.
fn assert_settled(world: &mut World, all: &BTreeSet<String>, seed: u64) {
    world.run(SESSION * 8);
    let starts = world.starts;
    world.run(SESSION * 3);
    assert_eq!(
        world.starts, starts,
        "seed {seed}: it does not come to rest"
    );
    for stream in all {
        let owner = world.owner(stream).map(str::to_owned);
        let owner = owner.unwrap_or_else(|| panic!("seed {seed}: {stream} has no owner"));
        let mut groups = world.groups.values();
        let assigned = groups.any(|group| group.owner(stream) == Some(owner.as_str()));
        let member = &world.hosts[&owner].member;
        let moved = member.moved_to(stream) == Some(owner.as_str());
        assert!(assigned || moved, "seed {seed}: {owner} has {stream}");
    }
}

#[test]
fn planned_changes_never_run_a_stream_twice_and_move_it_once() {
    for seed in 0..25 {
        let mut world = World::new(seed);
        let all = seven();
        for name in ["one", "two", "three"] {
            world.start(name, &all);
        }
        assert_settled(&mut world, &all, seed);
        let starts = world.starts;
        world.leave("two");
        assert_settled(&mut world, &all, seed);
        let moved = world.starts - starts;
        assert!((2..=3).contains(&moved), "seed {seed}: {moved} moves");
        assert_eq!(world.hosts.len(), 2);
        let starts = world.starts;
        world.start("again", &all);
        assert_settled(&mut world, &all, seed);
        let moved = world.starts - starts;
        assert!((2..=3).contains(&moved), "seed {seed}: {moved} moves back");
    }
}

#[test]
fn whatever_happens_no_stream_is_wanted_twice_and_all_have_an_owner_in_the_end() {
    for seed in 0..70 {
        let mut world = World::new(seed);
        world.is_orderly = false;
        let all = seven();
        for name in ["one", "two", "three"] {
            world.start(name, &all);
        }
        for event in 0..25 {
            let time = world.dice.roll(6000);
            world.run(Duration::from_millis(time));
            mischief(&mut world, &all, event);
        }
        assert_settled(&mut world, &all, seed);
    }
}

fn mischief(world: &mut World, all: &BTreeSet<String>, event: usize) {
    let names: Vec<String> = world.hosts.keys().cloned().collect();
    let name = names[world.dice.roll(names.len() as u64) as usize].clone();
    let stream = all.iter().nth(world.dice.roll(all.len() as u64) as usize);
    let stream = stream.expect("there are streams").clone();
    let until = world.now + Duration::from_millis(world.dice.roll(30_000));
    // Somebody has to be left.
    let stay = world.hosts.values().filter(|host| !host.is_leaving).count();
    let is_free_to_go = stay > 1 || world.hosts[&name].is_leaving;
    let host = world.hosts.get_mut(&name).expect("it is one of them");
    match world.dice.roll(9) {
        0 => host.frozen_until = until,
        1 => host.cut_until = until,
        2 => world.outage_until = until,
        3 if is_free_to_go => {
            world.hosts.remove(&name);
        }
        4 if is_free_to_go => world.leave(&name),
        5 => world.start(&format!("new{event}"), all),
        6 => world.remove_by_hand(&name),
        7 => {
            let entry = world.hosts[&name].member.moved_to(&stream).is_none();
            let to = Move { to: name };
            world.topic.push(Entry::Move(stream, entry.then_some(to)));
        }
        _ => world.fence(&name, &stream),
    }
}

#[test]
fn two_groups_share_a_stream_without_taking_it_from_each_other() {
    for seed in 0..25 {
        let mut world = World::new(seed);
        let (old, new) = (streams(&["a", "b"]), streams(&["b", "c"]));
        world.start("one", &old);
        world.start("two", &old);
        assert_settled(&mut world, &old, seed);
        let starts = world.starts;
        world.start("three", &new);
        assert_settled(&mut world, &streams(&["a", "b", "c"]), seed);
        assert_eq!(
            world.starts,
            starts + 1,
            "seed {seed}: only what is new was started"
        );
        world.leave("one");
        assert_settled(&mut world, &streams(&["a", "b", "c"]), seed);
        world.leave("two");
        assert_settled(&mut world, &new, seed);
        assert_eq!(world.hosts.len(), 1);
    }
}
