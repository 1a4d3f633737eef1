//! Right histories pass, and each planted violation is caught by the checker of the promise that it breaks.

mod carried;
mod oracle;
mod planted;
pub(crate) mod right;

use holm_core::SeededEntropy;
use holm_runtime::Registry;
use proptest::prelude::*;

use self::planted::VIOLATIONS;
use self::planted::cursed::haunt;
use self::right::right;
use super::*;
use crate::register::Register;
use crate::relic::Relic;

fn rules() -> Rules {
    let registry = Some(Registry::new().entity::<Register>().entity::<Relic>());
    Rules { registry, healed: true, caught_up: vec![GROUP, SHARED], ..Rules::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Promises G1, G2, G3, G4, G5, G6, G8, G9 and G10: nobody innocent is accused.
    #[test]
    fn a_right_history_passes(seed: u64, steps in 0usize..400) {
        let report = judge(&right(seed, steps).history(), &rules());
        prop_assert!(report.holds(), "{report}");
        prop_assert_eq!(report.undecided, 0);
        prop_assert!(steps < 100 || (report.answered > 3 && report.records > 3), "{report}");
    }
}

/// Promise G7: an entity that cannot be replayed, says so and is put into quarantine breaks nothing.
#[test]
fn a_cursed_history_passes() {
    for seed in 0..30 {
        let mut parts = right(seed, 250);
        haunt(&mut parts);
        let report = judge(&parts.history(), &rules());
        assert!(report.holds(), "seed {seed}: {report}");
    }
}

/// Promises G1, G2, G3, G4, G5, G6, G7, G8, G9 and G10: each violation is caught in every history in which it can be planted.
#[test]
fn every_planted_violation_is_caught() {
    for violation in &VIOLATIONS {
        let mut planted = 0;
        for seed in 0..30 {
            let mut parts = right(seed, 250);
            if !(violation.plant)(&mut parts, &mut SeededEntropy::new(seed ^ 0xFA_017)) {
                continue;
            }
            planted += 1;
            let report = judge(&parts.history(), &rules());
            let caught = report.findings.iter().any(|it| it.promise == violation.breaks);
            assert!(caught, "{} (seed {seed}) was not caught:\n{report}", violation.name);
        }
        assert!(planted >= 10, "{} was planted {planted} times only", violation.name);
    }
}

/// A finding names the promise, the entity, the place and the operations.
#[test]
fn a_finding_reads_like_a_sentence() {
    let mut parts = right(1, 250);
    let lost = VIOLATIONS.iter().find(|it| it.name == "an acknowledged record is lost").unwrap();
    assert!((lost.plant)(&mut parts, &mut SeededEntropy::new(1)));
    let report = judge(&parts.history(), &rules());
    let text = report.findings[0].to_string();
    assert!(text.starts_with("G1 durable: register/r"), "{text}");
    assert!(text.contains("was acknowledged and stands nowhere [shard "), "{text}");
    assert!(text.contains("[operations "), "{text}");
}

/// The same through a file: what real processes leave behind is judged like a simulated run.
#[test]
fn a_history_from_a_file_is_judged_the_same() {
    let history = right(5, 300).history();
    let mut file = Vec::new();
    history.write_ndjson(&mut file).unwrap();
    let read = History::read_ndjson(&file[..], crate::history::HistoryLimits::default()).unwrap();
    assert_eq!(judge(&read, &rules()), judge(&history, &rules()));
}

/// An empty history holds, and the report says that nothing was looked at.
#[test]
fn a_report_says_how_much_was_looked_at() {
    let report = judge(&History::default(), &rules());
    assert!(report.holds() && report.operations == 0 && report.records == 0, "{report}");
}
