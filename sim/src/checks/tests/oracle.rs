//! Our search against another one: stateright's tester, which shares no line with it.

use holm_core::{Entropy, SeededEntropy};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::checks::register::{Asked, Heard, ValueModel};
use crate::checks::{Linearized, Model, Seen, linearize};
use crate::history::Moment;

/// The register as stateright wants it: an object that is changed.
#[derive(Debug, Clone, PartialEq)]
struct Reference(u64);

impl SequentialSpec for Reference {
    type Op = Asked;
    type Ret = Heard;

    fn invoke(&mut self, asked: &Asked) -> Heard {
        let found = self.0;
        match *asked {
            Asked::Look => Heard::Value(found),
            Asked::Write { value } => {
                self.0 = value;
                Heard::Value(found)
            }
            Asked::Shout { value } => {
                self.0 = value;
                Heard::Done
            }
            Asked::Swap { expected, value } if found == expected => {
                self.0 = value;
                Heard::Value(found)
            }
            Asked::Swap { .. } => Heard::Mismatch(found),
        }
    }
}

/// A small history of few values, right or wrong by chance: begun and answered in a random order, answered from a register or out of thin air.
fn random_history(seed: u64) -> Vec<Seen<Asked, Heard>> {
    let mut entropy = SeededEntropy::new(seed);
    let mut history: Vec<Seen<Asked, Heard>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut state = ValueModel.fresh();
    let lies = entropy.below(4) == 0;
    for now in 0..4 + entropy.below(14) {
        if open.is_empty() || (open.len() < 4 && entropy.below(2) == 0) {
            let (value, expected) = (1 + entropy.below(3), entropy.below(3));
            let input = match entropy.below(5) {
                0 | 1 => Asked::Look,
                2 => Asked::Write { value },
                3 => Asked::Shout { value },
                _ => Asked::Swap { expected, value },
            };
            open.push(history.len());
            history.push(Seen { input, begun: Moment(now), answer: None });
        } else {
            let place = usize::try_from(entropy.below(open.len() as u64)).unwrap();
            let operation = &mut history[open.remove(place)];
            let mut reference = Reference(state);
            let heard = reference.invoke(&operation.input);
            let heard =
                if lies && entropy.below(3) == 0 { Heard::Value(entropy.below(4)) } else { heard };
            state = reference.0;
            // Some answers never arrive.
            if entropy.below(5) > 0 {
                operation.answer = Some((Moment(now), heard));
            }
        }
    }
    history
}

fn stateright_says(history: &[Seen<Asked, Heard>]) -> bool {
    // Each operation is a caller of its own, so that one without an answer blocks nobody.
    let mut tester = LinearizabilityTester::new(Reference(ValueModel.fresh()));
    let mut moments: Vec<(Moment, usize, Option<Heard>)> = Vec::new();
    for (place, seen) in history.iter().enumerate() {
        moments.push((seen.begun, place, None));
        moments.extend(seen.answer.map(|(at, heard)| (at, place, Some(heard))));
    }
    moments.sort_by_key(|(at, place, _)| (*at, *place));
    for (_, place, heard) in moments {
        match heard {
            None => tester.on_invoke(place, history[place].input).unwrap(),
            Some(heard) => tester.on_return(place, heard).unwrap(),
        };
    }
    tester.is_consistent()
}

/// Promise G5: on 4,000 small histories, right and wrong ones, both say the same.
#[test]
fn our_search_agrees_with_stateright() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..4_000 {
        let history = random_history(seed);
        let theirs = stateright_says(&history);
        let ours = linearize(&ValueModel, &history, 1_000_000);
        assert_ne!(ours, Linearized::Undecided, "seed {seed}");
        assert_eq!(ours == Linearized::Yes, theirs, "seed {seed}: {history:#?}");
        *if theirs { &mut right } else { &mut wrong } += 1;
    }
    assert!(right > 1_000 && wrong > 500, "{right} right and {wrong} wrong histories");
}

/// A long history of five callers takes a few steps for each operation, and a wrong one is found in about the same time.
#[test]
fn a_long_history_is_searched_in_a_few_steps_each() {
    let mut entropy = SeededEntropy::new(1);
    let mut state = 0;
    let mut history: Vec<_> = (1..20_000u64)
        .map(|n| {
            let mut reference = Reference(state);
            let input = if entropy.below(2) == 0 { Asked::Look } else { Asked::Write { value: n } };
            let heard = reference.invoke(&input);
            state = reference.0;
            // Each begins up to five before the one that took effect, and is answered up to five later.
            let (before, later) = (entropy.below(50), entropy.below(50));
            let begun = Moment((n * 10).saturating_sub(before));
            Seen { input, begun, answer: Some((Moment(n * 10 + later), heard)) }
        })
        .collect();
    assert_eq!(linearize(&ValueModel, &history, 1_000_000), Linearized::Yes);
    let reads = |seen: &Seen<Asked, Heard>| seen.input == Asked::Look;
    let spoiled = history.iter().rposition(reads).unwrap();
    history[spoiled].answer = history[spoiled].answer.map(|(at, _)| (at, Heard::Value(1)));
    assert_eq!(linearize(&ValueModel, &history, 1_000_000), Linearized::No { stuck: spoiled });
}

/// What cannot be decided is not called right.
#[test]
fn a_budget_that_is_used_up_decides_nothing() {
    let history = random_history(3);
    assert_eq!(linearize(&ValueModel, &history, 1), Linearized::Undecided);
}
