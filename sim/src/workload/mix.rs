//! The mix of one seed: how much of which kind, how many entities, how hot, how patient. Pure.

use std::time::Duration;

use holm_core::Entropy;

use super::Kind;

/// What a seed brings. Swarm testing: each seed leaves some kinds out, so that the others meet more often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    /// Nodes that can be asked.
    pub nodes: usize,
    /// Entities of each type that get most of the commands.
    pub hot: usize,
    /// Entities of each type that get the rest.
    pub cold: usize,
    /// Of a hundred commands, how many go to hot entities.
    pub hot_percent: u64,
    /// How long a client waits, mostly.
    pub patience: Duration,
    weights: [u64; Kind::ALL.len()],
}

impl Mix {
    pub(super) fn draw(entropy: &mut dyn Entropy, nodes: usize) -> Self {
        let mut weights = [0; Kind::ALL.len()];
        for (weight, kind) in weights.iter_mut().zip(Kind::ALL) {
            *weight = draw_weight(kind, entropy);
        }
        let mut between = |from: u64, to: u64| from + entropy.below(to - from + 1);
        let small = |number: u64| usize::try_from(number).expect("a small number");
        Self {
            nodes,
            hot: small(between(1, 4)),
            cold: small(between(4, 60)),
            hot_percent: between(30, 95),
            patience: Duration::from_millis(between(500, 10_000)),
            weights,
        }
    }

    /// What came later, from a stream of its own: a seed without it has the same commands as before there was any.
    pub(super) fn draw_later(&mut self, entropy: &mut dyn Entropy) {
        self.weights[Kind::Relic as usize] =
            if entropy.below(3) == 0 { 0 } else { 1 + entropy.below(12) };
    }

    pub(super) const fn leave_out(&mut self, kind: Kind) {
        self.weights[kind as usize] = 0;
    }

    pub(super) fn draw_kind(&self, entropy: &mut dyn Entropy) -> Kind {
        let mut left = entropy.below(self.weights.iter().sum());
        for (weight, kind) in self.weights.iter().zip(Kind::ALL) {
            match left.checked_sub(*weight) {
                None => return kind,
                Some(rest) => left = rest,
            }
        }
        unreachable!("the weights add up to what was drawn below")
    }

    /// How often a kind is drawn, relative to the others; zero when this seed leaves it out.
    #[must_use]
    pub const fn weight(&self, kind: Kind) -> u64 {
        self.weights[kind as usize]
    }
}

fn draw_weight(kind: Kind, entropy: &mut dyn Entropy) -> u64 {
    // Out of so many seeds, and up to which weight.
    let (out_of, most) = match kind {
        // Without these two nothing would happen at all.
        Kind::Look | Kind::Write => return 10 + entropy.below(30),
        Kind::Relic => return 0,
        // A quarter of a megabyte each: seldom, or nothing else gets through.
        Kind::NearLimit | Kind::TooLong | Kind::LongReply => (3, 2),
        Kind::Poison | Kind::Stranger => (2, 4),
        _ => (3, 20),
    };
    let left_out = match kind {
        Kind::NearLimit | Kind::TooLong | Kind::LongReply => entropy.below(out_of) != 0,
        _ => entropy.below(out_of) == 0,
    };
    if left_out { 0 } else { 1 + entropy.below(most) }
}
