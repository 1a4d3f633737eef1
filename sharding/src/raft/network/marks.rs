//! Commit marks wait a moment for entries to travel with.
//!
//! openraft tells every replica after each commit how far the log is committed now, in a message without entries when no entries are about to leave. Under a
//! moderate load that is a message of its own behind each batch, to each replica, with its answer: half of all. The next batch says the same, so a mark is held
//! back until entries leave or its time is over.
//!
//! Nothing is said that is not true: what answers the entries answers the mark, because who takes entries behind a place has that place. Followers apply what is
//! committed that much later. What openraft makes of the time between is not relied on (`raft/heard.rs`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Failure, Types};

/// How long a mark waits for entries: half of the time between two heartbeats, which say the same. Longer when nothing can leave, because too many messages
/// wait for their answers.
pub(super) const HELD: Duration = Duration::from_millis(40);

/// Marks that wait together. Each takes a place among the messages that may be under way, and the time of the newest is only looked at while a place is free.
const MOST: usize = super::APPENDS_IN_FLIGHT / 2;

type Request = AppendEntriesRequest<Types>;
type Answer = Result<AppendEntriesResponse<Types>, Failure>;
type Reported = Result<StreamAppendResult<Types>, Failure>;

/// Turns the messages of one replication into what waits for their answers, in the same order. `send` queues a message at once and gives what waits for
/// its answer.
pub(super) struct Outgoing<S, F> {
    input: S,
    send: F,
    hold_for: Duration,
    /// The first message of a replication finds out where the replica is: it never waits.
    begun: bool,
    held: Option<Held>,
}

/// A mark that has not left.
struct Held {
    mark: Request,
    word: oneshot::Sender<Word>,
    until: Pin<Box<Sleep>>,
    /// How many wait, this one included.
    together: usize,
}

/// What becomes of a mark.
enum Word {
    /// It left by itself.
    Left(BoxFuture<'static, Answer>),
    /// What followed it was answered.
    Answered(Answer),
}

impl<S, F> Outgoing<S, F>
where
    S: Stream<Item = Request> + Unpin,
    F: FnMut(&Request) -> BoxFuture<'static, Answer> + Unpin,
{
    pub(super) fn new(input: S, hold_for: Duration, send: F) -> Self {
        Self { input, send, hold_for, begun: false, held: None }
    }

    /// Sends a message, which also says what the held mark says.
    fn send_with_mark(&mut self, request: &Request) -> BoxFuture<'static, Reported> {
        let sent = (self.send)(request);
        finish(request, self.held.take().map(|held| held.word), sent)
    }

    fn hold(&mut self, mark: Request) -> BoxFuture<'static, Reported> {
        let (word, said) = oneshot::channel();
        let waits = async move {
            match said.await {
                Ok(Word::Left(sent)) => sent.await,
                Ok(Word::Answered(answer)) => answer,
                // The replication is over, and with it whoever asks.
                Err(_) => std::future::pending().await,
            }
        };
        // A newer mark says what the older one says, and leaves when the older one would have.
        let older = self.held.take();
        let (older, until, together) = match older {
            Some(older) => (Some(older.word), older.until, older.together + 1),
            None => (None, Box::pin(sleep_until(Instant::now() + self.hold_for)), 1),
        };
        let waits = finish(&mark, older, waits.boxed());
        self.held = Some(Held { mark, word, until, together });
        waits
    }

    /// The mark leaves by itself.
    fn let_go(&mut self) {
        if let Some(Held { mark, word, .. }) = self.held.take() {
            // Nobody waits any more when the replication is over.
            let _ = word.send(Word::Left((self.send)(&mark)));
        }
    }
}

/// The answer to a message, told to the mark that went with it.
fn finish(
    request: &Request,
    carried: Option<oneshot::Sender<Word>>,
    sent: BoxFuture<'static, Answer>,
) -> BoxFuture<'static, Reported> {
    let previous = request.prev_log_id;
    let last = request.entries.last().map_or(previous, |entry| Some(entry.log_id));
    let marks_only = request.entries.is_empty();
    async move {
        let answer = sent.await;
        if let Some(word) = carried {
            // Nobody waits any more when the replication is over.
            let _ = word.send(Word::Answered(answer.clone()));
        }
        answer.map(|answer| match answer {
            // Of entries that followed it, some were taken: those before it, all.
            AppendEntriesResponse::PartialSuccess(_) if marks_only => Ok(last),
            answer => answer.into_stream_result(previous, last),
        })
    }
    .boxed()
}

impl<S, F> Stream for Outgoing<S, F>
where
    S: Stream<Item = Request> + Unpin,
    F: FnMut(&Request) -> BoxFuture<'static, Answer> + Unpin,
{
    type Item = BoxFuture<'static, Reported>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.input.poll_next_unpin(cx) {
            Poll::Ready(Some(request)) => {
                let full = this.held.as_ref().is_some_and(|held| held.together >= MOST);
                let waits =
                    this.begun && request.entries.is_empty() && !full && !this.hold_for.is_zero();
                this.begun = true;
                let answered =
                    if waits { this.hold(request) } else { this.send_with_mark(&request) };
                Poll::Ready(Some(answered))
            }
            Poll::Ready(None) => {
                this.let_go();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let over =
                    this.held.as_mut().is_some_and(|held| held.until.poll_unpin(cx).is_ready());
                if over {
                    this.let_go();
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
