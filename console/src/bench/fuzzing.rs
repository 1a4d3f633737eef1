//! The door of the fuzz target to a saved run, which is a file of somebody. See [`crate::fuzzing`].

use super::document::{BenchDocument, StepFigures};
use super::report::{self, Run};
use super::{compare, gate::Gate};

/// Reads a saved run, draws it, and compares it with itself.
pub(crate) fn saved(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<BenchDocument>(bytes) else { return };
    _ = compare::lines(&document, &document);
    for gate in ["p99>10ms", "rate<100k", "ratio<10"] {
        let gate: Gate = gate.parse().expect("a good gate");
        _ = gate.closes(&document);
    }
    let names = ["<x-run>", "b"].map(str::to_owned);
    let runs = names.map(|name| Run { name, document: document.clone() });
    assert!(!report::page(&runs).contains("<x-run>"), "nothing of a file is markup");
}

/// Seeds of [`saved`].
pub(crate) fn saved_seeds() -> Vec<Vec<u8>> {
    let steps = vec![StepFigures::default(); 3];
    let documents = [BenchDocument::default(), BenchDocument { steps, ..BenchDocument::default() }];
    documents.map(|it| serde_json::to_vec(&it).expect("a document")).to_vec()
}
