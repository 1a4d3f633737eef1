//! The tree against a model that asks each step for its chain of causes.

use std::collections::BTreeSet;

use holm_core::{CommandId, EntityAddress, Offset, SequenceNumber, ShardId};
use proptest::prelude::*;

use super::*;
use crate::FailureKind;
use crate::flow::Gathering;

fn step(number: u64, id: u128, cause: u128, at: u64) -> FlowStep {
    FlowStep {
        shard: ShardId(u32::try_from(number % 4).unwrap()),
        offset: Offset(number + 1),
        node: None,
        at: Timestamp::from_millis(at),
        entity: EntityAddress::new("account", format!("a{id}")).unwrap(),
        command: "deposit".into(),
        id: CommandId(id),
        causation: CausationId(cause),
        base: SequenceNumber::ZERO,
        events: vec!["Deposited".into()],
        outcome: StepOutcome::Accepted,
        stored: None,
    }
}

fn drawn(flow: &Flow) -> Vec<(usize, u128, Origin)> {
    flow.branches.iter().map(|it| (it.depth, it.step.id.0, it.origin)).collect()
}

#[test]
fn children_stand_below_their_cause_in_order_of_time() {
    let flow = Flow::of(vec![
        step(0, 4, 2, 30),
        step(1, 3, 1, 20),
        step(2, 2, 1, 10),
        step(3, 1, 1, 0),
        step(4, 9, 8, 15),
    ]);
    let expected = [
        (0, 1, Origin::Outside),
        (1, 2, Origin::Caused),
        (2, 4, Origin::Caused),
        (1, 3, Origin::Caused),
        (0, 9, Origin::Missing),
    ];
    assert_eq!(drawn(&flow), expected);
    assert_eq!(flow.lasted(), Duration::from_millis(30));
    assert_eq!(flow.gap(&flow.branches[2]), Some(Duration::from_millis(20)));
    assert_eq!(flow.gap(&flow.branches[0]), None);
}

#[test]
fn a_circle_is_cut_at_its_earliest_step() {
    // 7 hangs on a circle of 1, 2 and 3, and is earlier than all of it.
    let flow =
        Flow::of(vec![step(0, 7, 2, 1), step(1, 1, 3, 5), step(2, 2, 1, 3), step(3, 3, 2, 9)]);
    let expected = [
        (0, 2, Origin::Circle),
        (1, 7, Origin::Caused),
        (1, 3, Origin::Caused),
        (2, 1, Origin::Caused),
    ];
    assert_eq!(drawn(&flow), expected);
}

#[test]
fn what_was_asked_again_after_a_failure_carries_its_consequences() {
    let mut failed = step(0, 1, 1, 0);
    let causes = vec!["no".into()];
    failed.outcome = StepOutcome::Failed { kind: FailureKind::Panicked, causes };
    let flow = Flow::of(vec![step(2, 2, 1, 20), step(1, 1, 1, 10), failed]);
    assert_eq!(
        drawn(&flow),
        [(0, 1, Origin::Outside), (0, 1, Origin::Outside), (1, 2, Origin::Caused)]
    );
    assert_eq!(flow.branches[2].parent, Some(1));
}

#[test]
fn a_chain_of_any_length_is_no_matter_of_the_stack() {
    let chain = (0..100_000).map(|it| step(it, u128::from(it) + 1, u128::from(it).max(1), it));
    let flow = Flow::of(chain.collect());
    assert_eq!(flow.branches.last().map(|branch| branch.depth), Some(99_999));
    assert!(Flow::of(Vec::new()).branches.is_empty());
}

/// Promise G9: what is beyond the limit is left out, from the end, and counted.
#[test]
fn the_earliest_steps_are_kept() {
    let mut gathering = Gathering::within(3, usize::MAX);
    for at in [5, 1, 4, 2, 3] {
        gathering.take(step(at, u128::from(at), 1, at));
    }
    let gathered = gathering.finish();
    let kept: Vec<_> = gathered.steps.iter().map(|step| step.at.as_millis()).collect();
    assert_eq!((kept, gathered.left_out), (vec![1, 2, 3], 2));
    let mut small = Gathering::within(10, 2 * step(0, 1, 1, 0).weight());
    (0..5).for_each(|at| small.take(step(at, 1, 1, at)));
    assert_eq!(small.finish().left_out, 3);
}

/// The chain of causes of a step by the plainest rule: the first step with the wanted id, again and again, until it ends or repeats.
fn chain(steps: &[FlowStep], start: usize) -> (Vec<usize>, bool) {
    let mut chain = vec![start];
    loop {
        let last = &steps[chain[chain.len() - 1]];
        let cause = (last.causation.0 != last.id.0)
            .then(|| steps.iter().position(|step| step.id.0 == last.causation.0))
            .flatten();
        let Some(cause) = cause else { return (chain, false) };
        if chain.contains(&cause) {
            return (chain, true);
        }
        chain.push(cause);
    }
}

proptest! {
    /// Whatever the steps claim of each other, each is in the tree once, below the cause that it names, or is a root that says why.
    #[test]
    fn the_tree_holds_every_step_once_below_its_cause(
        claims in prop::collection::vec((0u128..12, 0u128..14, 0u64..6), 0..24),
    ) {
        let steps: Vec<_> = (0u64..).zip(&claims).map(|(n, (id, cause, at))| step(n, *id, *cause, *at)).collect();
        let flow = Flow::of(steps.clone());
        let mut sorted = steps;
        sorted.sort_by_key(FlowStep::order);
        let mut listed: Vec<_> = flow.branches.iter().map(|it| it.step.clone()).collect();
        listed.sort_by_key(FlowStep::order);
        prop_assert_eq!(&listed, &sorted);

        let mut circles = BTreeSet::new();
        for (place, branch) in flow.branches.iter().enumerate() {
            let index = sorted.iter().position(|step| *step == branch.step).unwrap();
            let (causes, is_circle) = chain(&sorted, index);
            match branch.parent {
                Some(parent) => {
                    prop_assert!(parent < place);
                    prop_assert_eq!(branch.depth, flow.branches[parent].depth + 1);
                    prop_assert_eq!(&flow.branches[parent].step, &sorted[causes[1]]);
                    prop_assert_eq!(branch.origin, Origin::Caused);
                }
                None if is_circle => {
                    prop_assert_eq!(branch.origin, Origin::Circle);
                    // The whole chain is the circle, and this is its earliest step.
                    prop_assert!(causes.iter().all(|other| *other >= index));
                    prop_assert!(circles.insert(causes.into_iter().collect::<BTreeSet<_>>()));
                }
                None => prop_assert_eq!(causes.len(), 1),
            }
        }
        // Siblings, and roots, are in order of time.
        for (place, branch) in flow.branches.iter().enumerate() {
            let elder = flow.branches[..place].iter().filter(|it| it.parent == branch.parent);
            prop_assert!(elder.map(|it| it.step.order()).all(|it| it <= branch.step.order()));
        }
    }
}
