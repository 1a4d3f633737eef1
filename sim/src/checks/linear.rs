//! The search for a linearization: Wing and Gong's algorithm in Lowe's form, with a memory of what was tried. Pure.
//!
//! It needs no witness, only a model of the entity and what callers saw. An operation whose outcome is unknown has no end: it may have taken effect at any
//! time after it began, or never. The search goes depth first over "what happened next", and never twice over the same set of done operations
//! with the same state. It is exponential at worst, so it has a budget, and what it could not decide it does not call right.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Moment;

/// What an entity does, as far as callers can see.
pub trait Model {
    /// The entity's state.
    type State: Clone + Eq + Hash;
    /// What is asked.
    type Input;
    /// What is answered.
    type Output;

    /// The state before anything happened.
    fn fresh(&self) -> Self::State;

    /// The state after `input`, or none when the entity would not have answered `output` in this state. Without an output any answer is possible.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// One operation, as its caller saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<I, O> {
    /// What was asked.
    pub input: I,
    /// When.
    pub begun: Moment,
    /// When the answer came, and what it was; none when the outcome is unknown.
    pub answer: Option<(Moment, O)>,
}

/// What the search says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linearized {
    /// There is an order that explains everything.
    Yes,
    /// There is none. `stuck` is the answered operation, by its place in the input, that no attempt ever got beyond.
    No {
        /// Its place.
        stuck: usize,
    },
    /// The budget was used up.
    Undecided,
}

/// What was done so far: everything answered below the watermark, some beyond it, and some of unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Done {
    watermark: usize,
    beyond: Vec<usize>,
    unknown: Vec<usize>,
}

/// A place in the search: a state, what was done to get there, and which step is to be tried next.
struct Node<S> {
    done: Done,
    state: S,
    steps: Vec<Step>,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Answered(usize),
    Unknown(usize),
}

/// Looks for an order of the operations that agrees with the model and with real time, in at most `budget` steps of the model.
pub fn linearize<M: Model>(
    model: &M,
    operations: &[Seen<M::Input, M::Output>],
    budget: u64,
) -> Linearized {
    let mut answered: Vec<usize> = Vec::new();
    let mut unknown: Vec<usize> = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        if operation.answer.is_some() { &mut answered } else { &mut unknown }.push(place);
    }
    answered.sort_by_key(|&place| operations[place].begun);
    Search { model, operations, answered, unknown, budget, furthest: 0 }.run()
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Seen<M::Input, M::Output>],
    /// Places of the answered operations, by their beginnings.
    answered: Vec<usize>,
    unknown: Vec<usize>,
    budget: u64,
    furthest: usize,
}

impl<M: Model> Search<'_, M> {
    fn run(mut self) -> Linearized {
        let done = Done { watermark: 0, beyond: Vec::new(), unknown: Vec::new() };
        let mut tried = HashSet::new();
        let mut path = vec![self.node(done, self.model.fresh())];
        while let Some(node) = path.last_mut() {
            if node.done.watermark == self.answered.len() {
                return Linearized::Yes;
            }
            let Some(&step) = node.steps.get(node.next) else {
                path.pop();
                continue;
            };
            node.next += 1;
            let Some(budget) = self.budget.checked_sub(1) else { return Linearized::Undecided };
            self.budget = budget;
            let (input, output) = self.asked(step);
            let Some(state) = self.model.step(&node.state, input, output) else { continue };
            let done = self.after(&node.done, step);
            self.furthest = self.furthest.max(done.watermark);
            if tried.insert((done.clone(), state.clone())) {
                let node = self.node(done, state);
                path.push(node);
            }
        }
        Linearized::No { stuck: self.answered[self.furthest] }
    }

    fn asked(&self, step: Step) -> (&M::Input, Option<&M::Output>) {
        let place = match step {
            Step::Answered(index) => self.answered[index],
            Step::Unknown(index) => self.unknown[index],
        };
        let operation = &self.operations[place];
        (&operation.input, operation.answer.as_ref().map(|(_, output)| output))
    }

    fn node(&self, done: Done, state: M::State) -> Node<M::State> {
        let steps = self.steps(&done);
        Node { done, state, steps, next: 0 }
    }

    /// What may have happened next: everything that began before the first end among what is not done yet.
    fn steps(&self, done: &Done) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut first_end = Moment(u64::MAX);
        for index in done.watermark..self.answered.len() {
            let operation = &self.operations[self.answered[index]];
            if operation.begun > first_end {
                break;
            }
            if done.beyond.binary_search(&index).is_ok() {
                continue;
            }
            let end = operation.answer.as_ref().map_or(Moment(u64::MAX), |(end, _)| *end);
            first_end = first_end.min(end);
            steps.push(Step::Answered(index));
        }
        let begun = |step: &Step| match step {
            Step::Answered(index) => self.operations[self.answered[*index]].begun,
            Step::Unknown(index) => self.operations[self.unknown[*index]].begun,
        };
        steps.retain(|step| begun(step) <= first_end);
        // Tried last: mostly nothing needs them.
        let unknown = (0..self.unknown.len()).map(Step::Unknown);
        steps.extend(unknown.filter(|step| {
            let Step::Unknown(index) = step else { return false };
            begun(step) <= first_end && done.unknown.binary_search(index).is_err()
        }));
        steps
    }

    fn after(&self, done: &Done, step: Step) -> Done {
        let mut done = done.clone();
        match step {
            Step::Unknown(index) => insert(&mut done.unknown, index),
            Step::Answered(index) => {
                insert(&mut done.beyond, index);
                let passed =
                    done.beyond.iter().zip(done.watermark..).take_while(|(a, b)| *a == b).count();
                done.beyond.drain(..passed);
                done.watermark += passed;
            }
        }
        done
    }
}

fn insert(sorted: &mut Vec<usize>, index: usize) {
    let place = sorted.binary_search(&index).unwrap_or_else(|place| place);
    sorted.insert(place, index);
}
