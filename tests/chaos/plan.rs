//! Which faults a run injects: all of it follows from the seed.

use crate::support::Isolation;
use std::time::Duration;

/// SplitMix64: small, and the same on every machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: &'static str,
    pub lasts: Duration,
}

pub struct Plan {
    pub seed: u64,
    pub kills: usize,
    /// How often every other fault occurs.
    pub others: usize,
    /// Whether some faults last longer than every time-out.
    pub patient: bool,
    /// `DELIVERY`.
    pub delivery: &'static str,
}

pub const KILL: &str = "kill -9 of tailwater";

/// All but the kill, with the longest they last, in milliseconds: ordinarily, and in a patient run once.
const OTHERS: [(&str, u64, u64); 20] = [
    ("SIGSTOP of tailwater", 1_500, 45_000),
    ("kafka killed", 1_000, 10_000),
    ("kafka frozen", 2_000, 45_000),
    ("kafka connections closed", 1, 1),
    ("kafka cut off", 1_500, 20_000),
    ("kafka stalled", 2_000, 60_000),
    ("kafka half open", 1_500, 5_000),
    ("mongodb killed", 1_000, 10_000),
    ("mongodb connections closed", 1, 1),
    ("mongodb cut off", 1_500, 20_000),
    ("mongodb stalled", 1_500, 45_000),
    ("mongodb half open", 1_500, 5_000),
    (DENIED_TOPIC, 4_000, 20_000),
    (DENIED_ID, 4_000, 20_000),
    (DENIED_CHECKPOINTS, 4_000, 20_000),
    (DENIED_ALL, 4_000, 20_000),
    (NO_CHECKPOINTS, 1, 1),
    ("a rest, in which ids expire", 4_000, 15_000),
    ("limit of the topic lowered", 3_000, 10_000),
    ("timestamps of the topic changed", 3_000, 10_000),
];

/// Rights that are taken away and given back.
pub const DENIED_TOPIC: &str = "write on the topic denied";
pub const DENIED_ID: &str = "write on the transactional id denied";
pub const DENIED_CHECKPOINTS: &str = "the checkpoint topic denied";
pub const DENIED_ALL: &str = "all rights on topics denied";
pub const NO_CHECKPOINTS: &str = "checkpoint topic deleted";

impl Plan {
    /// Seconds, for the test command.
    pub fn short(delivery: &'static str) -> Self {
        Self {
            seed: 1,
            kills: 5,
            others: 0,
            patient: false,
            delivery,
        }
    }

    /// `CHAOS_SEED`, `CHAOS_KILLS`, `CHAOS_OTHERS`, `CHAOS_DELIVERY`.
    pub fn from_env() -> Self {
        let number = |name: &str, default: u64| {
            std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
        };
        Self {
            seed: number("CHAOS_SEED", 1),
            kills: number("CHAOS_KILLS", 100) as usize,
            others: number("CHAOS_OTHERS", 3) as usize,
            patient: number("CHAOS_PATIENT", 1) != 0,
            delivery: match std::env::var("CHAOS_DELIVERY").as_deref() {
                Ok("exactly_once") => "exactly_once",
                _ => "at_least_once",
            },
        }
    }

    pub fn isolation(&self) -> Isolation {
        match self.delivery {
            "exactly_once" => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        }
    }

    /// The faults in the order they come.
    pub fn faults(&self, dice: &mut Dice) -> Vec<Fault> {
        let mut faults = Vec::new();
        for _ in 0..self.kills {
            let lasts = Duration::from_millis(dice.roll(300));
            faults.push(Fault { kind: KILL, lasts });
        }
        if self.others == 0 {
            // A short run has some of each kind of place, and not the slow ones.
            for index in [0, 1, 3, 4, 7, 8, 12, 16] {
                let (kind, most, _) = OTHERS[index];
                let lasts = Duration::from_millis(dice.roll(most) / 2);
                faults.push(Fault { kind, lasts });
            }
        }
        for round in 0..self.others {
            for (kind, ordinarily, once) in OTHERS {
                let lasts = match self.patient && round == 0 {
                    true => Duration::from_millis(once),
                    false => Duration::from_millis(dice.roll(ordinarily)),
                };
                faults.push(Fault { kind, lasts });
            }
        }
        for index in (1..faults.len()).rev() {
            faults.swap(index, dice.roll(index as u64 + 1) as usize);
        }
        faults
    }
}
