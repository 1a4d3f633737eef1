//! From the steps of a conversation to the tree of their causes. Pure.
//!
//! Nothing is lost and nothing hangs, whatever the steps claim: a cause that is not among them makes a root, and a circle of causes is cut
//! at its earliest step. The tree is a list, a step's children behind it, so that a chain of any length needs no recursion.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use holm_core::{CausationId, CommandId, Timestamp};

use super::sent::{Awaited, Sent, Way};
use super::step::{FlowStep, StepOutcome};

/// A conversation as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Every step once: a step before what it caused, children of one step in order of time, roots too.
    pub branches: Vec<Branch>,
    /// What was sent and not handled, as far as the steps tell, in the order of its causes.
    pub awaited: Vec<Awaited>,
}

/// A step at its place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The step.
    pub step: FlowStep,
    /// The place of its cause in the list.
    pub parent: Option<usize>,
    /// How many causes stand above it.
    pub depth: usize,
    /// Why it stands where it stands.
    pub origin: Origin,
    /// On which way the command came.
    pub way: Way,
    /// Which try at this command it is, from 1; a command that failed may be sent again.
    pub attempt: u32,
}

/// Where a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Its cause is the step above it.
    Caused,
    /// It came from outside and opened the conversation, or a part of it.
    Outside,
    /// What caused it was not found: it stands in no log that was read, or was left out.
    Missing,
    /// Its causes lead back to itself; it is the earliest of that circle.
    Circle,
}

impl Flow {
    /// The tree of these steps, given in any order.
    #[must_use]
    pub fn of(mut steps: Vec<FlowStep>) -> Self {
        steps.sort_by_key(FlowStep::order);
        let parents = parents(&steps);
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        let mut roots = Vec::new();
        for (index, parent) in parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(index),
                None => roots.push(index),
            }
        }
        let reached = Reached::from(&roots, &children);
        // What no root leads to hangs on a circle. The earliest of what is left may only hang on one, so its causes are followed to the circle.
        let (mut roots, mut reached) = (roots, reached);
        let mut circles = vec![false; steps.len()];
        for index in 0..steps.len() {
            if !reached.0[index] {
                let cut = earliest_of_circle(index, &parents);
                circles[cut] = true;
                roots.push(cut);
                reached.follow(cut, &children);
            }
        }
        roots.sort_unstable();
        list(steps, &children, &roots, &circles)
    }

    fn look_at_what_was_sent(&mut self) {
        let sent = Sent::by(self.branches.iter().map(|branch| &branch.step));
        let mut tries: HashMap<(CommandId, Box<str>), u32> = HashMap::new();
        // In order of time, which within one id is the order of the tries; a quarantine has the id of the command that led to it and another name.
        let mut order: Vec<usize> = (0..self.branches.len()).collect();
        order.sort_by_key(|index| self.branches[*index].step.order());
        for index in order {
            let branch = &mut self.branches[index];
            let tried = tries.entry((branch.step.id, branch.step.command.clone())).or_default();
            *tried += 1;
            (branch.attempt, branch.way) = (*tried, sent.way(branch.step.id));
        }
        self.awaited = sent.awaited(&self.branches.iter().map(|it| it.step.id).collect());
    }

    /// When the first step was handled.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.branches.iter().map(|branch| branch.step.at).min()
    }

    /// From the first step to the last.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        let ended = self.branches.iter().map(|branch| branch.step.at).max();
        self.began().zip(ended).map_or(Duration::ZERO, |(began, ended)| ended.since(began))
    }

    /// The time from the cause of a step to the step; none for a root. Zero when the clocks of two nodes disagree about which was first.
    #[must_use]
    pub fn gap(&self, branch: &Branch) -> Option<Duration> {
        let parent = self.branches.get(branch.parent?)?;
        Some(branch.step.at.since(parent.step.at))
    }
}

/// The step that caused each step. Of steps with one id (a command that failed and was asked again) the one that was answered counts, and of
/// those the earliest.
fn parents(steps: &[FlowStep]) -> Vec<Option<usize>> {
    let mut by_id: HashMap<CausationId, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        by_id
            .entry(step.id.causes())
            .and_modify(|known| {
                if has_failed(&steps[*known]) && !has_failed(step) {
                    *known = index;
                }
            })
            .or_insert(index);
    }
    let parent = |step: &FlowStep| by_id.get(&step.causation).copied();
    steps.iter().map(|step| if is_from_outside(step) { None } else { parent(step) }).collect()
}

fn has_failed(step: &FlowStep) -> bool {
    matches!(step.outcome, StepOutcome::Failed { .. })
}

fn is_from_outside(step: &FlowStep) -> bool {
    step.causation == step.id.causes()
}

/// Which steps a root leads to.
struct Reached(Vec<bool>);

impl Reached {
    fn from(roots: &[usize], children: &[Vec<usize>]) -> Self {
        let mut reached = Self(vec![false; children.len()]);
        for root in roots {
            reached.follow(*root, children);
        }
        reached
    }

    fn follow(&mut self, root: usize, children: &[Vec<usize>]) {
        let mut open = vec![root];
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut self.0[index], true) {
                open.extend(&children[index]);
            }
        }
    }
}

/// Steps are in order of time, so the smallest index of the circle is its earliest step.
fn earliest_of_circle(start: usize, parents: &[Option<usize>]) -> usize {
    // After as many causes as there are steps one is on the circle, wherever one began. The walk costs that much once for each circle at most.
    let mut seen = std::collections::HashSet::new();
    let mut at = start;
    while seen.insert(at) {
        let Some(parent) = parents[at] else { return at };
        at = parent;
    }
    let (entry, mut earliest) = (at, at);
    while let Some(parent) = parents[at].filter(|parent| *parent != entry) {
        at = parent;
        earliest = earliest.min(at);
    }
    earliest
}

fn list(steps: Vec<FlowStep>, children: &[Vec<usize>], roots: &[usize], circles: &[bool]) -> Flow {
    let mut steps: Vec<_> = steps.into_iter().map(Some).collect();
    let mut branches: Vec<Branch> = Vec::with_capacity(steps.len());
    let mut open: Vec<_> = roots.iter().rev().map(|root| (*root, None)).collect();
    while let Some((index, parent)) = open.pop() {
        // Taken already: the link that closes a circle.
        let Some(step) = steps[index].take() else { continue };
        let origin = match parent {
            Some(_) => Origin::Caused,
            None if circles[index] => Origin::Circle,
            None if is_from_outside(&step) => Origin::Outside,
            None => Origin::Missing,
        };
        let depth = parent.map_or(0, |parent: usize| branches[parent].depth + 1);
        open.extend(children[index].iter().rev().map(|child| (*child, Some(branches.len()))));
        let (way, attempt) = (Way::Asked, 1);
        branches.push(Branch { step, parent, depth, origin, way, attempt });
    }
    let mut flow = Flow { branches, awaited: Vec::new() };
    flow.look_at_what_was_sent();
    flow
}
