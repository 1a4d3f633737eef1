//! What the outlet keeps when there is too much.

use holm_core::{ShardId, SystemClock};

use super::*;

/// Two subjects of different parts.
fn two() -> [Subject; 2] {
    let subjects: Vec<_> = (0..32).map(|number| Subject::Shard(ShardId(number))).collect();
    let [first, ..] = &subjects[..] else { unreachable!("there are 32") };
    let other = subjects.iter().find(|it| part_number(it) != part_number(first)).unwrap();
    [first.clone(), other.clone()]
}

fn waiting(outlet: &Outlet) -> usize {
    outlet.lock().waiting()
}

fn lost(outlet: &Outlet) -> u64 {
    outlet.take_losses().unwrap().map_or(0, |fact| fact.count)
}

/// Promise G9: the room is bounded for all parts together, and what does not fit is counted. A part that takes it all gives way to the others.
#[test]
fn the_longest_lane_makes_room_for_the_others() {
    let outlet = Outlet::new(4, NodeId(1), Arc::new(SystemClock), 7);
    let [stuck, other] = two();
    let offer = |subject: &Subject, times| {
        for _ in 0..times {
            outlet.offer(outlet.fact(FailureKind::ShardMoved, subject.clone(), "moved"));
        }
    };
    offer(&stuck, 6);
    assert_eq!((waiting(&outlet), lost(&outlet)), (4, 2));
    offer(&other, 3);
    assert_eq!((waiting(&outlet), lost(&outlet)), (4, 3), "half of it, and no more");
    assert_eq!(outlet.take(part_number(&other)).unwrap().len(), 2);
    assert_eq!(outlet.take(part_number(&stuck)).unwrap().len(), 2);
    assert!(lost(&outlet) == 0 && outlet.waiting() > 0, "what is under way is not stored");
    outlet.close();
    assert!(outlet.waiting() == 0 && outlet.take(0).is_none() && outlet.take_losses().is_none());
}

/// Promise G7: only what surely will never be stored is dropped.
#[test]
fn what_may_pass_is_waited_for() {
    let (shard, reason): (_, Box<str>) = (ShardId(0), "x".into());
    let address = EntityAddress::new(FailureLog::TYPE, "0").unwrap();
    let outcome = holm_core::Outcome::NotApplied;
    assert!(!is_hopeless(&AskError::Unavailable { shard, reason: reason.clone(), outcome }));
    assert!(!is_hopeless(&AskError::RecoveryFailed {
        address: address.clone(),
        reason: reason.clone()
    }));
    let failure = holm_core::FailureId::default();
    assert!(is_hopeless(&AskError::Quarantined { address, failure, reason }));
}
