//! The second copy of a message: what a simulated network does to what it carries. Nothing outside a simulation sends one.
//!
//! It is a message of its own behind the first, on the connection that stands then, and its answer finds nobody. A command that was surely not applied is
//! not sent again: that word is the receiver's, and on a real connection it is the last one about this try.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{NodeId, Outcome};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::transport::frame::Kind;
use crate::transport::link::{Done, Link};
use crate::transport::{Lane, PeerError};
use crate::wire::{CommandAnswer, is_command};

/// Slots of the table of those who wait are numbered below this, so that nobody waits under a correlation that ends in it.
const NOBODY: u64 = u32::MAX as u64;

/// The correlation of a second copy, which tells them apart.
pub(crate) fn correlation_of(number: u64) -> u64 {
    (number << 32) | NOBODY
}

/// Whether a message is a second copy. Nothing follows from it but that a simulation counts it.
pub(crate) fn is_second(correlation: u64) -> bool {
    correlation & NOBODY == NOBODY
}

/// A copy that will be sent.
pub(crate) struct Second {
    pub(crate) link: Arc<Link>,
    pub(crate) wanted: Option<NodeId>,
    pub(crate) lane: Lane,
    pub(crate) body: Bytes,
    /// How long after the first.
    pub(crate) after: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
}

impl Second {
    /// Sends the copy of a message that has no answer.
    pub(crate) fn of_notice(self) {
        self.send(Kind::Notice);
    }

    /// Sends the copy of a request: of a command once its first copy is answered or lost, of any other whatever becomes of the first.
    pub(crate) fn of_request(self, done: Done) -> Done {
        if !is_command(&self.body) {
            self.send(Kind::Request);
            return done;
        }
        Box::new(move |answer| {
            if !was_refused(&answer) {
                self.send(Kind::Request);
            }
            done(answer);
        })
    }

    fn send(self, kind: Kind) {
        let Self { link, wanted, lane, body, after, tasks, runtime } = self;
        let later = async move {
            tokio::select! {
                biased;
                () = link.stop.cancelled() => {}
                () = tokio::time::sleep(after) => link.send_second(wanted, (kind, lane), &body),
            }
        };
        tasks.spawn_on(later, &runtime);
    }
}

fn was_refused(answer: &Result<Bytes, PeerError>) -> bool {
    let outcome = match answer {
        Ok(body) => match holm_persistence::decode::<CommandAnswer>(body) {
            Ok(Err(error)) => error.outcome(),
            Ok(Ok(_)) | Err(_) => return false,
        },
        Err(error) => error.outcome(),
    };
    outcome == Outcome::NotApplied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Waiting;

    /// However often a slot was used, and however many wait.
    #[test]
    fn nobody_waits_for_the_answer_to_a_second_copy() {
        let waiting = Waiting::new(usize::MAX);
        for number in 0..1_000 {
            let soon = tokio::time::Instant::now() + Duration::from_secs(1);
            let id = waiting.add(soon, number).unwrap();
            assert!(!is_second(id), "{id:x}");
            assert!(is_second(correlation_of(number)));
            assert_eq!(waiting.take(correlation_of(number)), None);
            if number % 3 == 0 {
                waiting.take(id).unwrap();
            }
        }
    }

    #[test]
    fn a_command_that_was_surely_not_applied_is_refused() {
        use holm_core::{AskError, ShardId};
        let address: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
        let told = |error: AskError| {
            let answer: CommandAnswer = Err(error);
            was_refused(&Ok(holm_persistence::encode(&answer).unwrap()))
        };
        assert!(told(AskError::Moved { shard: ShardId(1), leader: None }));
        assert!(!told(AskError::Interrupted { reason: "it stopped".into() }));
        assert!(!was_refused(&Err(PeerError::Lost { address })));
        assert!(was_refused(&Err(PeerError::Closed)));
        // A reply, or what cannot be read.
        assert!(!was_refused(&Ok(Bytes::new())));
    }
}
