//! Which fault comes in which round: drawn from one seed, so that the same seed gives the same rounds. Pure.

use std::str::FromStr;

use holm::{Entropy as _, SeededEntropy};

use super::fault::{FaultKind, Shape};

/// One fault of the command line: a family or a shape, and how many rounds of it where a number was given, as in `kill:10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is asked for.
    pub fault: Asked,
    /// How many rounds of it; without a number it takes its turn among the others.
    pub rounds: Option<u32>,
}

/// A family of faults, or one in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Any shape of the family.
    Kind(FaultKind),
    /// This one.
    Shape(Shape),
}

/// One round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// From 1.
    pub nth: u32,
    /// What is done.
    pub shape: Shape,
    /// Decides whom it hits, where chance decides.
    pub draw: u64,
}

/// The rounds of a campaign against so many nodes. Wishes with a number get that many rounds; the others share `rounds` in turn.
#[must_use]
pub fn schedule(seed: u64, wishes: &[Wish], rounds: u32, nodes: u32) -> Vec<Planned> {
    let mut entropy = SeededEntropy::new(seed);
    let mut faults: Vec<Asked> = Vec::new();
    for wish in wishes {
        faults.extend((0..wish.rounds.unwrap_or_default()).map(|_| wish.fault));
    }
    let shared: Vec<_> = wishes.iter().filter(|wish| wish.rounds.is_none()).collect();
    if !shared.is_empty() {
        let turns = (0..rounds as usize).map(|nth| shared[nth % shared.len()].fault);
        faults.extend(turns);
    }
    shuffle(&mut faults, &mut entropy);
    let mut turns = [0_usize; FaultKind::ALL.len()];
    (1..)
        .zip(faults)
        .filter_map(|(nth, asked)| {
            let shape = match asked {
                Asked::Shape(shape) => shape,
                Asked::Kind(kind) => {
                    let shapes: Vec<_> = kind.shapes(nodes).collect();
                    // Each shape comes in turn, so that a short campaign meets all of them.
                    let turn = &mut turns[kind as usize];
                    *turn += 1;
                    *shapes.get((*turn - 1) % shapes.len().max(1))?
                }
            };
            Some(Planned { nth, shape, draw: entropy.next_u64() })
        })
        .collect()
}

/// So that what follows what is chance, too.
fn shuffle<T>(items: &mut [T], entropy: &mut SeededEntropy) {
    for end in (1..items.len()).rev() {
        let other = entropy.below(end as u64 + 1);
        items.swap(end, usize::try_from(other).unwrap_or(end));
    }
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rounds) = match text.trim().split_once(':') {
            Some((name, number)) => {
                let rounds = number
                    .parse()
                    .map_err(|_| format!("`{text}`: `{number}` is no number of rounds"))?;
                (name, Some(rounds))
            }
            None => (text.trim(), None),
        };
        let fault = name.parse().map(Asked::Kind).or_else(|()| name.parse().map(Asked::Shape));
        let fault = fault.map_err(|()| {
            let kinds = FaultKind::ALL.map(FaultKind::name).join(", ");
            format!("`{name}` is no fault; there are {kinds}, and shapes of them as in kill-leader")
        })?;
        Ok(Self { fault, rounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(text: &str) -> Vec<Wish> {
        text.split(',').map(|wish| wish.parse().unwrap()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_rounds_and_another_seed_others() {
        let of = |seed| schedule(seed, &wishes("kill,pause,partition"), 60, 5);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert_eq!(of(7).len(), 60);
    }

    #[test]
    fn numbers_are_kept_and_the_rest_shares_in_turn() {
        let planned = schedule(1, &wishes("kill:10,pause:3,partition-deaf:2,slow,clock"), 4, 3);
        let count = |kind| planned.iter().filter(|it| it.shape.kind() == kind).count();
        assert_eq!(planned.len(), 19);
        assert_eq!((count(FaultKind::Kill), count(FaultKind::Pause)), (10, 3));
        assert_eq!((count(FaultKind::Slow), count(FaultKind::Clock)), (2, 2));
        assert_eq!(planned.iter().filter(|it| it.shape == Shape::PartitionDeaf).count(), 2);
    }

    #[test]
    fn a_short_campaign_meets_every_shape_of_a_family() {
        let planned = schedule(3, &wishes("kill"), 4, 5);
        let mut shapes: Vec<_> = planned.iter().map(|it| it.shape).collect();
        shapes.sort();
        assert_eq!(shapes, FaultKind::Kill.shapes(5).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_fault_is_named() {
        assert!("flood".parse::<Wish>().unwrap_err().contains("flood"));
        assert!("kill:many".parse::<Wish>().unwrap_err().contains("many"));
    }
}
