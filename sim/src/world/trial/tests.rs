//! That the logs are judged, and which world a seed means.

use holm_core::NodeId;

use super::*;
use crate::history::{Measure, Moment, Sample};

/// Whatever the clients think of it. What is planted is a sample of what a node held, because nothing else that is judged can be had from outside.
#[test]
fn what_is_left_is_judged_in_the_end() {
    for (planted, edition) in [(false, 1), (true, 1), (true, 4)] {
        let trial = Trial::new(Registry::new(), 9).edition(edition).shards(1).seconds(0);
        let (settings, program) = trial.settle();
        let mut world = World::new(&settings).unwrap();
        let (at, node, measure) = (Moment::default(), NodeId(1), Measure::BatchesInFlight);
        let too_much = Sample { at, node, measure, amount: 1_000 };
        world.samples.extend(planted.then_some(too_much));
        match program.run_in(&mut world, settings) {
            Ok(()) => assert!(!planted),
            Err(TrialFailed::Logs { seed: 9, findings, trace }) => {
                assert!(planted && findings.contains("held 1000 BatchesInFlight"), "{findings}");
                assert!(trace.contains(&format!("of edition {edition},")), "{trace}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Whenever it is said, and without a change of what was said otherwise.
#[test]
fn a_seed_means_the_world_of_its_edition() {
    let seed = (0..).find(|seed| Settings::of_edition(*seed, 4).faults.twice > 0).unwrap();
    let first = Settings::of_edition(seed, 1);
    let early = Trial::new(Registry::new(), seed).edition(1).seconds(12).nodes(7);
    let late = Trial::new(Registry::new(), seed).seconds(12).nodes(7).edition(1);
    for trial in [early, late] {
        let (settings, _) = trial.settle();
        assert_eq!((settings.faults, &settings.limits), (first.faults, &first.limits));
        assert_eq!((settings.clocks, settings.shards), (first.clocks, first.shards));
        assert_eq!((settings.duration, settings.nodes), (Duration::from_secs(12), 7));
    }
    let (newest, _) = Trial::new(Registry::new(), seed).settle();
    assert_eq!((newest.faults, newest.edition), (Settings::draw(seed).faults, EDITION));
    assert_ne!(newest.faults, first.faults);
}
