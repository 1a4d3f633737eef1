//! Worlds in which every node carries out a policy and is a member of a shared projection, and nodes die all the time.

use std::time::Duration;

use holm_sim::sometimes::{Situation, Sometimes};
use holm_sim::world::{FaultWeights, Outcome, Settings, run};

fn world(seed: u64) -> Outcome {
    let lives = move || {
        let mut settings = Settings::draw(seed);
        (settings.policy, settings.shared) = (true, true);
        let mut faults = FaultWeights::none();
        (faults.kill, faults.power_of_all, faults.pause, faults.isolate) = (6, 1, 2, 3);
        settings.faults = faults;
        settings.between_faults = (Duration::from_millis(200), Duration::from_millis(1_200));
        settings.duration = Duration::from_secs(12);
        run(&settings).expect("a world can be made")
    };
    std::thread::scope(|scope| scope.spawn(lives).join().expect("a world ends"))
}

/// Promises G2, G6 and G8: each event that the policy reacts to has its effect once, and each record is handled at least once and in order, whoever dies.
#[test]
fn policies_and_shared_projections_hold_while_nodes_die() {
    let mut met = Sometimes::new();
    for seed in 1..=4 {
        let outcome = world(seed);
        assert!(outcome.holds(), "seed {seed}: {:?}\n{}", outcome.problems, outcome.report);
        met.merge(&outcome.met);
    }
    for situation in [
        Situation::PolicyCaughtUp,
        Situation::PolicyTakenOver,
        Situation::DecidedAgain,
        Situation::DecisionRepeated,
        Situation::SharedCaughtUp,
        Situation::SharedTakenOver,
        Situation::HandledAgain,
    ] {
        assert!(met.count(situation) > 0, "{}\n{met}", situation.name());
    }
}
