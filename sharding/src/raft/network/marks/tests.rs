//! A replication that is driven by hand: what leaves, and who hears of which answer.

use std::cell::RefCell;
use std::rc::Rc;

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use openraft::errors::Unreachable;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, advance};

use super::super::APPENDS_IN_FLIGHT;
use super::*;
use crate::raft::{Entry, Vote, entry};

/// What left, each with whoever waits for its answer.
type Sent = Rc<RefCell<Vec<(Request, oneshot::Sender<Answer>)>>>;

struct Replication {
    input: mpsc::UnboundedSender<Request>,
    sent: Sent,
    answers: futures::stream::LocalBoxStream<'static, Reported>,
}

impl Replication {
    fn new() -> Self {
        let (input, mut requests) = mpsc::unbounded_channel();
        let requests: BoxStream<'static, Request> =
            futures::stream::poll_fn(move |cx| requests.poll_recv(cx)).boxed();
        let sent = Sent::default();
        let log = sent.clone();
        let send = move |request: &Request| {
            let (answer, answered) = oneshot::channel();
            log.borrow_mut().push((request.clone(), answer));
            async move { answered.await.unwrap() }.boxed()
        };
        let answers = Outgoing::new(requests, HELD, send).buffered(APPENDS_IN_FLIGHT).boxed_local();
        let mut all = Self { input, sent, answers };
        // The first finds out where the replica is.
        all.put(entries(0, 1));
        all.answer(0, Ok(AppendEntriesResponse::Success));
        assert_eq!(all.next(), Some(Ok(Ok(Some(entry::log_id(1, 1))))));
        all
    }

    fn put(&mut self, request: Request) {
        self.input.send(request).unwrap();
        assert!(self.next().is_none());
    }

    /// Lets everything happen that is due, and takes an answer if there is one.
    fn next(&mut self) -> Option<Reported> {
        self.answers.next().now_or_never().map(Option::unwrap)
    }

    fn answer(&mut self, place: usize, answer: Answer) {
        let (_, waits) = self.sent.borrow_mut().remove(place);
        waits.send(answer).unwrap();
    }

    /// How many entries each message has that left and is not answered, and what it says is committed.
    fn left(&self) -> Vec<(usize, u64)> {
        let committed = |request: &Request| request.leader_commit.map_or(0, |at| at.index());
        self.sent.borrow().iter().map(|(it, _)| (it.entries.len(), committed(it))).collect()
    }
}

fn message(previous: u64, count: u64, committed: u64) -> Request {
    let blank = |step| Entry {
        log_id: entry::log_id(1, previous + step),
        payload: openraft::EntryPayload::Blank,
    };
    let entries = (1..=count).map(blank).collect();
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(entry::log_id(1, previous)),
        entries,
        leader_commit: Some(entry::log_id(1, committed)),
    }
}

fn entries(previous: u64, count: u64) -> Request {
    message(previous, count, previous)
}

fn mark(at: u64) -> Request {
    message(at, 0, at)
}

fn had(index: u64) -> Option<Reported> {
    Some(Ok(Ok(Some(entry::log_id(1, index)))))
}

#[tokio::test(start_paused = true)]
async fn a_mark_leaves_with_the_entries_behind_it() {
    let mut all = Replication::new();
    all.put(mark(1));
    assert_eq!(all.left(), []);
    all.put(entries(1, 2));
    assert_eq!(all.left(), [(2, 1)], "one message for both");
    all.answer(0, Ok(AppendEntriesResponse::Success));
    assert_eq!((all.next(), all.next(), all.next()), (had(1), had(3), None));
}

#[tokio::test(start_paused = true)]
async fn a_mark_without_entries_behind_it_leaves_when_its_time_is_over() {
    let mut all = Replication::new();
    let began = Instant::now();
    all.put(mark(1));
    advance(HELD / 2).await;
    all.put(mark(1));
    assert_eq!(all.left(), []);
    while all.left().is_empty() {
        assert!(began.elapsed() < HELD * 2, "it never leaves");
        advance(std::time::Duration::from_millis(1)).await;
        assert_eq!(all.next(), None);
    }
    assert!(began.elapsed() >= HELD, "{:?}", began.elapsed());
    assert_eq!(all.left(), [(0, 1)], "the newest says it for both");
    all.answer(0, Ok(AppendEntriesResponse::Success));
    assert_eq!((all.next(), all.next(), all.next()), (had(1), had(1), None));
}

#[tokio::test(start_paused = true)]
async fn the_first_message_of_a_replication_never_waits() {
    let (input, mut requests) = mpsc::unbounded_channel();
    let requests = futures::stream::poll_fn(move |cx| requests.poll_recv(cx)).boxed();
    let sent = Rc::new(RefCell::new(0));
    let count = sent.clone();
    let send = move |_: &Request| {
        *count.borrow_mut() += 1;
        std::future::pending().boxed()
    };
    let mut answers = Outgoing::new(requests, HELD, send).buffered(APPENDS_IN_FLIGHT);
    input.send(mark(1)).unwrap();
    assert!(answers.next().now_or_never().is_none());
    assert_eq!(*sent.borrow(), 1);
}

/// Marks may not take all places: then nobody would look at the time any more.
#[tokio::test(start_paused = true)]
async fn many_marks_leave_before_their_time() {
    let mut all = Replication::new();
    for at in 0..APPENDS_IN_FLIGHT as u64 {
        all.put(mark(at));
    }
    assert!(!all.left().is_empty());
}

/// Promise G1: a mark is not acknowledged by an answer that acknowledges nothing.
#[tokio::test(start_paused = true)]
async fn what_refuses_the_entries_refuses_the_mark() {
    let vote = Vote::new_committed(9, 2);
    let unreachable = Failure::Unreachable(Unreachable::from_string("gone"));
    for answer in [
        Ok(AppendEntriesResponse::Conflict),
        Ok(AppendEntriesResponse::HigherVote(vote)),
        Err(unreachable),
    ] {
        let mut all = Replication::new();
        all.put(mark(1));
        all.put(entries(1, 2));
        all.answer(0, answer.clone());
        let expected = answer.map(|answer| {
            answer.into_stream_result(Some(entry::log_id(1, 1)), Some(entry::log_id(1, 1)))
        });
        assert_eq!(all.next(), Some(expected));
    }
}

/// Some of the entries were taken: the mark in front of them says nothing about those.
#[tokio::test(start_paused = true)]
async fn what_takes_some_of_the_entries_has_what_the_mark_follows() {
    let mut all = Replication::new();
    all.put(mark(1));
    all.put(entries(1, 2));
    all.answer(0, Ok(AppendEntriesResponse::PartialSuccess(Some(entry::log_id(1, 2)))));
    assert_eq!((all.next(), all.next()), (had(1), had(2)));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_replication_lets_the_mark_go() {
    let mut all = Replication::new();
    all.put(mark(1));
    let (other, _) = mpsc::unbounded_channel();
    drop(std::mem::replace(&mut all.input, other));
    assert_eq!(all.next(), None);
    assert_eq!(all.left(), [(0, 1)]);
}
