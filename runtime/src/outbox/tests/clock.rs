//! A leader whose clock ran ahead, and was set right. Found by the simulator: a transfer stood for an hour with its money in it.

use super::*;

const AHEAD: Duration = Duration::from_secs(3_600);

/// Whether something that is to be done is of a kind.
type Kind = fn(&ToDo) -> bool;

/// A world by whose clock it is an hour later than it is, with one reaction in its log.
fn ahead_of(right: Timestamp, wish: Wish) -> World {
    let mut world = World::new();
    world.now = right.plus(AHEAD);
    world.begin();
    world.commit(vec![wish]);
    world
}

fn at_once() -> Wish {
    Wish { to: 0, after: None, answered: false }
}

/// Promise G6: what failed while the clock was ahead, whatever it was, is tried again within the longest pause by the clock that was set right.
#[test]
fn a_clock_that_is_set_right_holds_no_reaction_up() {
    let kinds: [(&str, Kind); 3] = [
        ("reading", |todo| matches!(todo, ToDo::Read(_))),
        ("storing", |todo| matches!(todo, ToDo::Store(_))),
        ("asking", |todo| matches!(todo, ToDo::Ask(..))),
    ];
    let right = Timestamp::from_millis(1_000_000);
    for (what, is) in kinds {
        let mut world = ahead_of(right, at_once());
        world.outbox.reaches(world.last());
        world.settle();
        let fails = |world: &World| world.todo.iter().position(is);
        while fails(&world).is_none() {
            world.act(0, Fate::Fine);
            world.settle();
        }
        let failing = fails(&world).unwrap();
        world.act(failing, Fate::Lost);
        world.settle();
        assert_eq!(fails(&world), None, "{what} has a pause first");

        world.now = right;
        world.settle();
        while fails(&world).is_none() {
            let next = world.outbox.next_alarm().expect("something is to be done");
            world.now = world.now.max(next);
            assert!(world.now <= right.plus(LONGEST_PAUSE), "{what} waits until {next:?}");
            world.settle();
        }
        world.finish();
        assert_eq!(world.orders.values().flatten().count(), 1, "{what}");
    }
}

/// A timer is meant for a time of day: that the clock says less than before changes nothing about it.
#[test]
fn a_clock_that_is_set_right_leaves_timers_alone() {
    let right = Timestamp::from_millis(1_000_000);
    let mut world = ahead_of(right, Wish { after: Some(5_000), ..at_once() });
    let due = world.now.plus(Duration::from_millis(5_000));
    world.hear();
    world.settle();
    world.now = right;
    world.settle();
    let timer = (due, Alarm::Timer(Place { offset: Offset(1), index: 0 }));
    assert!(world.outbox.alarms.contains(&timer), "{:?}", world.outbox.alarms);
    world.finish();
    assert!(world.now >= due);
}
