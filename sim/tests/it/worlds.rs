//! A few worlds with their faults, each on a thread of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::NodeId;
use holm_persistence::{Crash, Damage};
use holm_sim::history::Measure;
use holm_sim::sometimes::{Situation, Sometimes};
use holm_sim::world::{FaultWeights, Outcome, Settings, World, is_repeatable, run};

fn world(seed: u64, seconds: u64, faults: bool) -> Outcome {
    let lives = move || {
        let mut settings = Settings::draw(seed);
        settings.duration = Duration::from_secs(seconds);
        if !faults {
            settings.faults = FaultWeights::none();
        }
        run(&settings).expect("a world can be made")
    };
    std::thread::scope(|scope| scope.spawn(lives).join().expect("a world ends"))
}

/// A world in which nothing goes wrong but this.
fn of_one_fault(seed: u64, seconds: u64, fault: fn(&mut FaultWeights)) -> Outcome {
    let lives = move || {
        let mut settings = Settings::draw(seed);
        (settings.duration, settings.faults) = (Duration::from_secs(seconds), FaultWeights::none());
        fault(&mut settings.faults);
        run(&settings).expect("a world can be made")
    };
    std::thread::scope(|scope| scope.spawn(lives).join().expect("a world ends"))
}

fn hold(outcome: &Outcome) {
    let lines = outcome.trace.lines();
    let last = lines[lines.len().saturating_sub(30)..].join("\n");
    assert!(
        outcome.holds(),
        "seed {}: {:?}\n{}\n{last}",
        outcome.seed,
        outcome.problems,
        outcome.report
    );
}

#[test]
fn a_cluster_without_faults_answers_everything() {
    let outcome = world(1, 5, false);
    hold(&outcome);
    assert!(outcome.report.answered > 100, "{}", outcome.report);
    assert!(outcome.recovered_in.unwrap() < Duration::from_secs(2));
}

/// Promises G1 to G6: what clients were told holds in worlds with crashes, partitions and bad disks.
#[test]
fn a_few_worlds_with_faults_hold() {
    let mut met = Sometimes::new();
    let mut fullest: BTreeMap<Measure, u64> = BTreeMap::new();
    for seed in 1..=4 {
        let outcome = world(seed, 10, true);
        hold(&outcome);
        met.merge(&outcome.met);
        for (measure, amount) in &outcome.report.fullest {
            let most = fullest.entry(*measure).or_default();
            *most = (*most).max(*amount);
        }
    }
    // Neither are the samples of what the nodes hold.
    for measure in [Measure::LiveEntities, Measure::HeldCommands, Measure::BatchesInFlight] {
        assert!(fullest.get(&measure).is_some_and(|most| *most > 0), "{measure:?}: {fullest:?}");
    }
    // The workload is not blind: what every few worlds meet, these have met.
    for situation in [
        Situation::RetryMetFirstTry,
        Situation::TwinsBothAnswered,
        Situation::RejectionRepeated,
        Situation::KeyReuseRefused,
        Situation::SeveralEvents,
        Situation::SnapshotOvertaken,
        Situation::WokenFromRest,
    ] {
        assert!(met.count(situation) > 0, "{}\n{met}", situation.name());
    }
}

/// Promises G1 to G6: whatever arrives twice takes effect once.
#[test]
fn a_world_in_which_messages_arrive_twice_holds() {
    let outcome = of_one_fault(5, 10, |faults| faults.twice = 1);
    hold(&outcome);
    let twice = outcome.met.count(Situation::MessageTwice);
    assert!(twice > 100, "{twice} messages were handled a second time");
    assert_eq!(of_one_fault(5, 2, |_| ()).met.count(Situation::MessageTwice), 0);
}

/// Simulated time within which nodes that are started must serve.
const START_LIMIT: Duration = Duration::from_secs(20);

fn all_serve(world: &World, nodes: u8) -> bool {
    (0..nodes.into()).all(|machine| world.node(machine).is_some())
}

/// A cluster without faults, all of whose nodes serve.
fn serving(seed: u64, nodes: u8) -> World {
    let mut settings = Settings::draw(seed);
    (settings.nodes, settings.faults) = (nodes, FaultWeights::none());
    let mut world = World::new(&settings).expect("a world can be made");
    (0..nodes.into()).for_each(|machine| world.start(machine));
    assert!(world.run_until(START_LIMIT, |world| all_serve(world, nodes)));
    world
}

/// The first of three nodes lost its disk and joins under another id the cluster that the others are in.
fn assert_comes_back_as_another(world: &mut World) {
    assert!(world.run_until(START_LIMIT, |world| all_serve(world, 3)));
    let back = world.node(0).expect("it serves").node();
    assert_ne!(back, NodeId(1), "its old id went with its disk");
    assert!(world.node(1).expect("it serves").view().member(back).is_some(), "the others know it");
}

/// Promise G3: a first seed that comes back with an empty disk, while the others still take it for their leader, founds no second cluster beside them.
#[test]
fn a_first_seed_without_its_disk_joins_the_cluster_that_it_founded() {
    let mut world = serving(1, 3);
    world.run_for(Duration::from_secs(5));
    world.crash(0, Crash::PowerLost);
    world.damage(0, Damage::Wiped);
    world.start(0);
    assert_comes_back_as_another(&mut world);
}

/// Promise G3: members that are only starting know that there is a cluster, so a first seed without its disk that asks them then founds no second one.
#[test]
fn a_first_seed_without_its_disk_waits_for_members_that_are_starting() {
    let mut world = serving(4014, 3);
    world.run_for(Duration::from_secs(5));
    (0..3).for_each(|machine| world.crash(machine, Crash::PowerLost));
    world.damage(0, Damage::Wiped);
    (0..3).for_each(|machine| world.start(machine));
    assert_comes_back_as_another(&mut world);
}

/// The founder is the only voter of the cluster log at first. Told to leave then, it makes others voters before it goes, and nodes join afterwards.
#[test]
fn a_founder_that_leaves_at_once_leaves_a_cluster_behind() {
    let mut world = serving(5020, 4);
    world.leave(0);
    assert!(world.run_until(Duration::from_secs(60), |world| !world.is_running(0)));
    let next = world.join();
    assert!(world.run_until(START_LIMIT, |world| world.node(next).is_some()));
    // Who has just joined reads what happened before, and serves meanwhile.
    let view = |world: &World| world.node(next).unwrap().view();
    let has_left = |world: &World| view(world).member(NodeId(1)).is_none();
    assert!(world.run_until(Duration::from_secs(5), has_left), "{:?}", view(&world));
}

/// Promise G10: the same seed is the same run, where chance is the seed's alone.
#[test]
fn the_same_seed_is_the_same_run() {
    let [one, other] = [1, 2].map(|_| world(7, 5, true));
    let (one, other) = (one.trace.lines(), other.trace.lines());
    assert_eq!(one[..3], other[..3]);
    if is_repeatable() {
        assert_eq!(one, other);
    }
}
