//! The router's decisions, one by one, and the law that an outcome is never made smaller.

use holm_core::EntityAddress;
use proptest::prelude::*;

use super::*;

/// Whoever is better at going on after an unknown outcome gets it at once, and no other try is made behind it.
#[test]
fn a_journey_may_end_with_the_first_unknown_outcome() {
    let interrupted = || Tried::Answered(Err(AskError::Interrupted { reason: "gone".into() }));
    for unknown in [interrupted(), Tried::Succeeded] {
        let mut journey = Journey::new(SHARD, Tries::UntilUnknown);
        assert!(matches!(journey.after(Tried::Nobody), Next::Pause(_)), "surely not applied");
        let Next::Done(Err(error)) = journey.after(unknown) else { panic!("another try") };
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    }
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    assert!(matches!(journey.after(interrupted()), Next::Pause(_)));
}

const SHARD: ShardId = ShardId(3);

fn lost() -> Tried {
    Tried::Failed(PeerError::Lost { address: "127.0.0.1:1".parse().unwrap() })
}

fn refused() -> Tried {
    let address = "127.0.0.1:1".parse().unwrap();
    Tried::Failed(PeerError::NotConnected { address, reason: "refused".into(), sure_dead: true })
}

fn moved(leader: Option<u64>) -> Tried {
    Tried::Answered(Err(AskError::Moved { shard: SHARD, leader: leader.map(NodeId) }))
}

fn interrupted() -> Tried {
    Tried::Answered(Err(AskError::Interrupted { reason: "fenced".into() }))
}

fn outcome_of(next: Next) -> Outcome {
    match next {
        Next::Done(Err(error)) => error.outcome(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_named_leader_is_followed_at_once_but_not_in_a_loop() {
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    assert_eq!(journey.after(moved(Some(1))), Next::Follow(Some(NodeId(1))));
    assert_eq!(journey.after(moved(Some(2))), Next::Follow(Some(NodeId(2))));
    assert!(matches!(journey.after(moved(Some(1))), Next::Pause(_)));
    assert!(matches!(journey.after(moved(None)), Next::Pause(_)));
}

#[test]
fn pauses_grow_to_a_limit() {
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    let pauses: Vec<_> = (0..8)
        .map(|_| match journey.after(refused()) {
            Next::Pause(pause) => pause.as_millis(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 100, 100, 100]);
}

#[test]
fn what_was_never_sent_is_not_applied_at_the_deadline() {
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    journey.after(refused());
    journey.after(moved(None));
    journey.after(Tried::Nobody);
    assert!(matches!(
        journey.at_deadline(),
        AskError::Unavailable { outcome: Outcome::NotApplied, shard: SHARD, .. }
    ));
}

#[test]
fn what_may_have_been_taken_stays_unknown() {
    for first in [lost(), interrupted()] {
        let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
        assert!(matches!(journey.after(first), Next::Pause(_)));
        journey.after(refused());
        assert_eq!(journey.at_deadline().outcome(), Outcome::Unknown);
        assert_eq!(journey.without_majority().outcome(), Outcome::Unknown);
        let unknown_command = AskError::UnknownCommand {
            entity_type: "a".into(),
            command: "b".into(),
            nearest: None,
        };
        let next = journey.after(Tried::Answered(Err(unknown_command)));
        assert_eq!(outcome_of(next), Outcome::Unknown);
    }
}

#[test]
fn an_overloaded_shard_is_told_to_the_caller_unless_an_earlier_try_hangs_over_it() {
    let overloaded = || {
        let limit = Limit::MailboxCapacity;
        Tried::Answered(Err(AskError::Overloaded { limit, allowed: 1 }))
    };
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    assert!(matches!(journey.after(overloaded()), Next::Done(Err(AskError::Overloaded { .. }))));
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    journey.after(lost());
    assert!(matches!(journey.after(overloaded()), Next::Pause(_)));
}

#[test]
fn the_shards_own_verdict_about_the_key_is_the_truth_about_every_try() {
    let address: EntityAddress = "account/alice".parse().unwrap();
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    journey.after(lost());
    let reused = AskError::KeyReused { address };
    assert_eq!(journey.after(Tried::Answered(Err(reused.clone()))), Next::Done(Err(reused)));
}

fn any_try() -> impl Strategy<Value = (u8, bool)> {
    (0u8..9, any::<bool>())
}

fn make((which, unknown): (u8, bool)) -> (Tried, bool) {
    let outcome = if unknown { Outcome::Unknown } else { Outcome::NotApplied };
    let address = "127.0.0.1:1".parse().unwrap();
    let answered = |error| Tried::Answered(Err(error));
    match which {
        0 => (lost(), true),
        1 => (refused(), false),
        2 => (moved(Some(2)), false),
        3 => (moved(None), false),
        4 => (interrupted(), true),
        5 => {
            let error = AskError::Unavailable { shard: SHARD, reason: "x".into(), outcome };
            (answered(error), unknown)
        }
        6 => (Tried::Failed(PeerError::Deadline { address, outcome }), unknown),
        7 => (Tried::Nobody, false),
        _ => (answered(AskError::DeadlinePassed { outcome }), unknown),
    }
}

proptest! {
    /// Whatever happens, an error says "not applied" only if no try may have been taken, and "unknown" only if one may.
    #[test]
    fn an_outcome_is_never_a_lie(tries in proptest::collection::vec(any_try(), 0..12)) {
        let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
        let mut taken = false;
        for (tried, may_be_taken) in tries.into_iter().map(make) {
            taken |= may_be_taken;
            if let Next::Done(Err(error)) = journey.after(tried) {
                prop_assert_eq!(error.outcome() == Outcome::Unknown, taken);
                return Ok(());
            }
        }
        prop_assert_eq!(journey.at_deadline().outcome() == Outcome::Unknown, taken);
        prop_assert_eq!(journey.without_majority().outcome() == Outcome::Unknown, taken);
    }
}

#[test]
fn a_command_may_be_tried_as_often_as_its_deadline_lets_it() {
    let mut journey = Journey::new(SHARD, Tries::UntilAnswered);
    let times: Vec<Duration> = (0..500).map(|_| journey.try_time()).collect();
    assert!(times.is_sorted());
}
