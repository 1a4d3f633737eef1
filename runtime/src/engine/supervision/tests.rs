//! The supervisor by itself: counts, waits, what is forgotten.

use super::*;

const A: (u16, &str) = (0, "a");

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

fn quarantine() -> Quarantine {
    let (offset, sequence) = (Offset(7), SequenceNumber(3));
    Quarantine { failure: FailureId(1), reason: "because".into(), offset, sequence }
}

/// Promise G7: the first failure costs nothing, each further one doubles the wait, and old failures count no more.
#[test]
fn waits_double_and_failures_grow_old() {
    let restart = Supervision::restart(Duration::from_secs(1), Duration::from_secs(3))
        .limit(10, Duration::from_secs(100));
    let mut supervisor = Supervisor::new(10);
    let mut fail = |second| supervisor.failed(A, restart, at(second));
    assert_eq!(fail(0), (Decision::Again, 1));
    let waits = [1, 2, 3].map(|n| fail(n).0);
    let expected = [1, 2, 3].map(|seconds| Decision::After(Duration::from_secs(seconds)));
    assert_eq!(waits, expected);
    assert_eq!(supervisor.admit(A, at(5)), Admission::Later(Duration::from_secs(1)));
    assert_eq!(supervisor.admit(A, at(6)), Admission::Free);
    assert_eq!(supervisor.admit((1, "a"), at(5)), Admission::Free, "another type");
    assert_eq!(
        supervisor.failed(A, restart, at(102)),
        (Decision::After(Duration::from_secs(1)), 2)
    );
    supervisor.tick(at(300));
    assert_eq!(supervisor.length, 0);
}

/// Promise G7: quarantine comes with the last failure of the window, not before.
#[test]
fn the_limit_ends_in_quarantine() {
    let strict = Supervision::quarantine(3, Duration::from_secs(10));
    let mut supervisor = Supervisor::new(10);
    let decisions = [0, 5, 11, 12].map(|second| supervisor.failed(A, strict, at(second)).0);
    let expected = [Decision::Again, Decision::Again, Decision::Again, Decision::Quarantine];
    assert_eq!(decisions, expected);
    supervisor.keep(A, quarantine(), at(12));
    supervisor.tick(at(10_000));
    assert_eq!(supervisor.admit(A, at(10_000)), Admission::Never(&quarantine()));
    supervisor.forgive(A);
    assert_eq!(supervisor.failed(A, strict, at(10_001)), (Decision::Again, 1), "counted anew");
}

/// Promise G9: no more entities are remembered than the limit says; those that the log knows are forgotten first.
#[test]
fn what_is_remembered_is_bounded() {
    let restart = Supervision::DEFAULT;
    let mut supervisor = Supervisor::new(3);
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        supervisor.failed((0, id), restart, at(n as u64));
    }
    supervisor.keep((0, "c"), quarantine(), at(2));
    assert_eq!(supervisor.quarantined(), 1);
    supervisor.failed((1, "d"), restart, at(4));
    assert_eq!((supervisor.quarantined(), supervisor.length), (0, 3));
    supervisor.failed((1, "e"), restart, at(5));
    assert_eq!(supervisor.failed((0, "a"), restart, at(6)).1, 1, "the oldest was forgiven");
    assert_eq!(supervisor.failed((1, "e"), restart, at(6)).1, 2);
    assert_eq!(supervisor.length, 3);
}
