//! What to do after a failed try: again at once, again after a pause, or tell the caller. Pure.
//!
//! A journey remembers one thing above all: whether any try may have been taken. Once that is so, no error that claims "not applied" on the
//! strength of a later try goes out, because it would be a lie about the earlier one.

use std::time::Duration;

use holm_core::{Answer, AskError, Limit, NodeId, Outcome, ShardId};

use crate::transport::PeerError;

/// First pause between tries; it doubles.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause. A failover takes some hundred milliseconds; a change of the leader ends a pause anyway.
const MOST_PAUSE: Duration = Duration::from_millis(100);

/// How often "moved" is followed without a pause: two nodes that each take the other for the leader must not be asked in a loop.
const HOPS_AT_ONCE: u32 = 2;

/// Time that a shard may be without majority before its callers are told, when nobody tries in vain: long enough for a glimpse during
/// a start or a failover, far below any deadline.
pub(crate) const UNASSIGNED_PATIENCE: Duration = Duration::from_millis(500);

/// Time that one try waits for its answer, at first; it doubles. A leader that is stopped neither answers nor closes its connections.
const FIRST_TRY: Duration = Duration::from_secs(1);

/// How often a command is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tries {
    /// Until there is an answer.
    UntilAnswered,
    /// Until there is an answer, or a try whose outcome nobody knows.
    UntilUnknown,
}

/// The way of one command so far.
#[derive(Debug)]
pub(crate) struct Journey {
    shard: ShardId,
    tries: Tries,
    /// Some try may have been taken.
    taken: bool,
    hops: u32,
    pause: Duration,
    try_time: Duration,
    /// Why the last try failed, for the caller.
    last: Option<Box<str>>,
}

/// What one try came to.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The shard answered.
    Answered(Result<Answer, AskError>),
    /// The node could not be asked, or did not answer.
    Failed(PeerError),
    /// Another node leads the shard, and the one that was asked did not answer yet: it may be cut off and keep what it was sent for long.
    Succeeded,
    /// Nobody is known who could be asked.
    Nobody,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Tell the caller.
    Done(Result<Answer, AskError>),
    /// Try again at the node that "moved" named as the leader.
    Follow(Option<NodeId>),
    /// Try again after about this time, or when the leader changes.
    Pause(Duration),
}

impl Journey {
    /// A command that was not tried yet.
    pub(crate) fn new(shard: ShardId, tries: Tries) -> Self {
        let (pause, try_time) = (LEAST_PAUSE, FIRST_TRY);
        Self { shard, tries, taken: false, hops: 0, pause, try_time, last: None }
    }

    /// How long the next try may wait for its answer.
    pub(crate) fn try_time(&mut self) -> Duration {
        let time = self.try_time;
        // It may be tried a hundred times; the deadline bounds each try anyway.
        self.try_time = time.saturating_mul(2);
        time
    }

    /// Decides after a try.
    pub(crate) fn after(&mut self, tried: Tried) -> Next {
        match self.next(tried) {
            next @ Next::Done(_) => next,
            _ if self.taken && self.tries == Tries::UntilUnknown => {
                Next::Done(Err(self.at_deadline()))
            }
            next => next,
        }
    }

    fn next(&mut self, tried: Tried) -> Next {
        match tried {
            Tried::Answered(Ok(answer)) => Next::Done(Ok(answer)),
            Tried::Answered(Err(error)) => self.after_error(error),
            Tried::Failed(error) => self.after_failure(error),
            Tried::Succeeded => {
                self.taken = true;
                self.last = Some("its leader was replaced".into());
                Next::Follow(None)
            }
            Tried::Nobody => {
                self.last.get_or_insert_with(|| "no leader is known".into());
                self.rest()
            }
        }
    }

    /// What the caller is told when the deadline comes between tries.
    pub(crate) fn at_deadline(&self) -> AskError {
        match &self.last {
            Some(reason) => self.unavailable(reason.clone()),
            None => AskError::DeadlinePassed { outcome: self.outcome() },
        }
    }

    /// What the caller is told when the shard is known to have no majority.
    pub(crate) fn without_majority(&self) -> AskError {
        self.unavailable("the majority of its replicas is gone".into())
    }

    fn after_error(&mut self, error: AskError) -> Next {
        match error {
            AskError::Moved { leader, .. } => {
                self.hops += 1;
                self.last = Some("its leader is moving".into());
                if self.hops <= HOPS_AT_ONCE && leader.is_some() {
                    return Next::Follow(leader);
                }
                self.rest()
            }
            AskError::Interrupted { reason } => {
                self.taken = true;
                self.last = Some(reason);
                self.rest()
            }
            AskError::Unavailable { reason, outcome, .. } => {
                self.taken |= outcome == Outcome::Unknown;
                self.last = Some(reason);
                self.rest()
            }
            AskError::DeadlinePassed { outcome } => {
                self.taken |= outcome == Outcome::Unknown;
                Next::Done(Err(AskError::DeadlinePassed { outcome: self.outcome() }))
            }
            // The shard looked the key up before it said these: they are the truth about every try.
            error @ (AskError::KeyReused { .. } | AskError::EntityFailed { .. }) => {
                Next::Done(Err(error))
            }
            // It did not look: an earlier try may have had its effect.
            error @ (AskError::Overloaded { .. } | AskError::Restarting { .. }) if self.taken => {
                self.last = Some(error.to_string().into());
                self.rest()
            }
            error if self.taken => Next::Done(Err(self.unavailable(error.to_string().into()))),
            error => Next::Done(Err(error)),
        }
    }

    fn after_failure(&mut self, error: PeerError) -> Next {
        let sent = error.outcome() == Outcome::Unknown;
        self.taken |= sent;
        match error {
            PeerError::Overloaded { limit, allowed, .. } if !self.taken => {
                return Next::Done(Err(AskError::Overloaded { limit, allowed }));
            }
            PeerError::TooLarge { allowed, actual } if !self.taken => {
                let (allowed, actual) = (allowed as u64, actual as u64);
                let limit = Limit::CommandBytes;
                return Next::Done(Err(AskError::TooLarge { limit, allowed, actual }));
            }
            PeerError::TooLarge { .. } | PeerError::Closed => {
                return Next::Done(Err(self.unavailable(error.to_string().into())));
            }
            error => self.last = Some(error.to_string().into()),
        }
        self.rest()
    }

    fn rest(&mut self) -> Next {
        self.hops = 0;
        let pause = self.pause;
        self.pause = (pause * 2).min(MOST_PAUSE);
        Next::Pause(pause)
    }

    fn unavailable(&self, reason: Box<str>) -> AskError {
        AskError::Unavailable { shard: self.shard, reason, outcome: self.outcome() }
    }

    fn outcome(&self) -> Outcome {
        if self.taken { Outcome::Unknown } else { Outcome::NotApplied }
    }
}

#[cfg(test)]
#[path = "journey/tests.rs"]
mod tests;
