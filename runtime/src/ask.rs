//! How a command gets an answer: the seam that a host, a router and a client share, and the address of a reply.

pub(crate) mod slip;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use holm_core::{Answer, AskError, CommandEnvelope, Timestamp};
use holm_persistence::Pending;
use tokio::sync::oneshot;

use self::slip::{Awaited, Promised, Slips};

/// Answers commands. On one node this is the shard host, in a cluster the router, in a client a connection.
pub trait Asker: Send + Sync {
    /// Sends a command. The work begins with the call, not with the first poll; dropping the future does not undo it.
    fn ask(&self, envelope: CommandEnvelope) -> Asking;

    /// The same for a caller who knows better how to go on after a try whose outcome is unknown: no other try follows that one, and the error says unknown.
    /// Tries that surely came to nothing may still be followed by others. An asker that makes one try only need not care.
    fn ask_once(&self, envelope: CommandEnvelope) -> Asking {
        self.ask(envelope)
    }
}

/// The answer to one command, on its way. From a shard of this process it takes no allocation of its own.
#[must_use = "the command was sent; its answer comes by awaiting this"]
pub struct Asking(Way);

enum Way {
    Shard(Awaited),
    Channel(oneshot::Receiver<Result<Answer, AskError>>),
    Elsewhere(Pending<Result<Answer, AskError>>),
}

impl From<Pending<Result<Answer, AskError>>> for Asking {
    fn from(answer: Pending<Result<Answer, AskError>>) -> Self {
        Self(Way::Elsewhere(answer))
    }
}

impl From<oneshot::Receiver<Result<Answer, AskError>>> for Asking {
    fn from(answer: oneshot::Receiver<Result<Answer, AskError>>) -> Self {
        Self(Way::Channel(answer))
    }
}

impl Asking {
    /// Whether it surely ends soon after the command's deadline, so that nobody needs a timer for it.
    #[inline]
    pub(crate) fn ends_by_itself(&self) -> bool {
        matches!(self.0, Way::Shard(_))
    }
}

impl Future for Asking {
    type Output = Result<Answer, AskError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Shard(answer) => Pin::new(answer).poll(task),
            // A reply that is dropped answers all the same; without a sender the thread itself is gone.
            Way::Channel(answer) => Pin::new(answer).poll(task).map(|answer| {
                let gone = |_| AskError::Interrupted { reason: "the node stopped".into() };
                answer.map_err(gone).flatten()
            }),
            Way::Elsewhere(answer) => answer.as_mut().poll(task),
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

/// Where the answer to one command goes. It answers exactly once: dropped unanswered, it says [`AskError::Interrupted`].
pub struct ReplyTo(Option<Target>);

enum Target {
    Caller(Promised),
    Channel(oneshot::Sender<Result<Answer, AskError>>),
    Function(Box<dyn FnOnce(Result<Answer, AskError>) + Send>),
}

impl ReplyTo {
    /// Hands the answer to a function, which runs on the shard's thread and must not block.
    pub fn new(answer: impl FnOnce(Result<Answer, AskError>) + Send + 'static) -> Self {
        Self(Some(Target::Function(Box::new(answer))))
    }

    /// Hands the answer to the receiver.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<Result<Answer, AskError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Target::Channel(sender))), receiver)
    }

    /// Hands the answer to a caller in this process, who hears of a deadline that passed in silence from whoever looks at the slips.
    pub(crate) fn slip(slips: &Slips, deadline: Timestamp) -> (Self, Asking) {
        match slips.slip(deadline) {
            Some((promised, awaited)) => {
                (Self(Some(Target::Caller(promised))), Asking(Way::Shard(awaited)))
            }
            None => {
                let (reply, answer) = Self::channel();
                (reply, answer.into())
            }
        }
    }

    /// Nobody listens: for `tell`.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Answers.
    #[inline]
    pub fn answer(mut self, answer: Result<Answer, AskError>) {
        deliver(self.0.take(), answer);
    }
}

impl Drop for ReplyTo {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            let reason = "the node stopped before it answered".into();
            deliver(self.0.take(), Err(AskError::Interrupted { reason }));
        }
    }
}

#[inline]
fn deliver(target: Option<Target>, answer: Result<Answer, AskError>) {
    match target {
        // A caller that went away no longer wants the answer; that is no failure.
        Some(Target::Caller(promised)) => promised.say(answer),
        Some(Target::Channel(sender)) => _ = sender.send(answer),
        Some(Target::Function(function)) => function(answer),
        None => {}
    }
}

impl fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyTo")
    }
}
