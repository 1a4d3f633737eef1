//! Operations: orders over many failures, which go on when their client has given up, and say what became of each step to whoever asks.
//!
//! An operation is of the node that took it and lives as long as that node, in memory: nothing is lost with it but the list of outcomes, because what was
//! done stands in the failure log, and the same order again goes on where it was. Its id begins with the number of its node, so that any other node can
//! say where to ask. How many are kept, and for how long, is bounded below; `HttpLimits` bounds those that are under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures::{Stream, StreamExt as _};
use holm::{
    Clock as _, Entropy as _, ErrorKind, Handled, NodeId, OsEntropy, SystemClock, Timestamp,
};
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::cluster::served;
use super::failures::{describe_handled, outcome};
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::output::rfc3339;
use crate::views::{HandledDocument, OperationDocument, Served};

/// Operations that are kept, those under way included. Whoever orders follows at once; this is for whoever comes back.
const MOST_KEPT: usize = 64;

/// Outcomes of all of them together: four times all 8,192 rows of the failure log, more than which no operation can have. About half a KiB each, 16 MiB.
const MOST_OUTCOMES: usize = 4 * 8_192;

/// How long the outcomes of one that has ended are kept at most.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The operations of one node.
#[derive(Debug)]
pub(super) struct Operations {
    places: Arc<Semaphore>,
    /// Oldest first.
    kept: Mutex<VecDeque<Arc<Operation>>>,
    /// Stopped when this is dropped.
    tasks: Mutex<JoinSet<()>>,
}

/// One order, and how far it is.
#[derive(Debug)]
pub(super) struct Operation {
    id: String,
    /// As in `retry`.
    order: &'static str,
    filter: String,
    begun: Timestamp,
    meant: usize,
    course: watch::Sender<Course>,
}

#[derive(Debug, Default)]
struct Course {
    /// In the order in which they came.
    handled: Vec<Handled>,
    /// How many came to each outcome.
    outcomes: BTreeMap<&'static str, u64>,
    ended: Option<(End, Timestamp)>,
}

/// One that is carried out. It ends with its task, also when that panics.
struct Running(Arc<Operation>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end(End::Stopped, SystemClock.now());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    OutOfTime,
    Stopped,
}

/// What was ordered.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) order: &'static str,
    pub(super) filter: String,
    pub(super) meant: usize,
}

/// What may stand after the `?` of an order, and of a look at an operation.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// How long the caller waits for the end.
    #[serde(default)]
    wait_ms: u64,
    /// How many outcomes it has seen.
    #[serde(default)]
    after: usize,
}

/// `GET /api/v1/operations/{id}?after=&wait_ms=`.
pub(super) async fn operation(
    State(serving): Shared,
    Path(id): Path<String>,
    look: Result<Query<Look>, QueryRejection>,
) -> Result<Json<Served<OperationDocument>>, Problem> {
    let document = async {
        let look = Look::read(look, &serving)?;
        let operation = serving.operations.find(&id, serving.now());
        let operation = operation.ok_or_else(|| not_here(&id, &serving))?;
        Ok(operation.look(look, &serving).await)
    };
    let document = document.await.map_err(|problem: Problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

/// Why it is not known here, and where it might be.
fn not_here(id: &str, serving: &Serving) -> Problem {
    let node = id.split_once('-').and_then(|(node, _)| node.parse().ok()).map(NodeId);
    let Some(node) = node.filter(|node| *node != serving.holm.facts().id) else {
        let detail = format!(
            "there is no operation `{id}` on this node: they live as long as their node, and for {} min after their end, {MOST_KEPT} at most",
            KEPT_FOR.as_secs() / 60
        );
        return Problem::not_found("operation-gone", detail).next(
            "GET /api/v1/failures says what stands open; the same order again goes on where it was",
        );
    };
    let detail = format!("`{id}` is an operation of {}", serving.name_of(node));
    let view = serving.holm.view();
    let http = view.member(node).and_then(|member| member.http.clone());
    Problem::not_found("operation-elsewhere", detail).next(match http {
        Some(http) => format!("GET {http}/api/v1/operations/{id}"),
        None => "ask that node; an operation is gone with its node".to_owned(),
    })
}

impl Look {
    pub(super) fn read(
        look: Result<Query<Self>, QueryRejection>,
        serving: &Serving,
    ) -> Result<Self, Problem> {
        let Query(look) = look.map_err(Problem::bad_request)?;
        let longest = serving.options.limits.longest_wait;
        if look.wait() > longest {
            return Err(Problem::bad_request(format!(
                "`wait_ms` is at most {}",
                longest.as_millis()
            )));
        }
        Ok(look)
    }

    /// How long the caller waits for the end.
    pub(super) fn wait(self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}

impl Operations {
    /// None yet, and at most `at_once` under way.
    pub(super) fn new(at_once: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once));
        Self { places, kept: Mutex::default(), tasks: Mutex::default() }
    }

    /// Carries an order out, whoever waits for it or not.
    pub(super) fn begin(
        &self,
        ordered: Ordered,
        acting: impl Stream<Item = Handled> + Send + 'static,
        serving: &Serving,
    ) -> Result<Arc<Operation>, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many orders at once")
                .detail("other orders are under way (limit concurrent_operations)")
                .kind(ErrorKind::BackOff)
                .next("wait for one of them, or ask another node")
        })?;
        let Ordered { order, filter, meant } = ordered;
        let id = format!("{}-{:016x}", serving.holm.facts().id, OsEntropy.next_u64());
        let (begun, course) = (serving.now(), watch::Sender::default());
        let operation = Arc::new(Operation { id, order, filter, begun, meant, course });
        {
            let mut kept = locked(&self.kept);
            kept.push_back(Arc::clone(&operation));
            trim(&mut kept, begun);
        }
        let longest = serving.options.limits.longest_operation;
        let running = Running(Arc::clone(&operation));
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let in_time = tokio::time::timeout(longest, running.0.follow(acting)).await;
            let end = if in_time.is_ok() { End::Done } else { End::OutOfTime };
            running.0.end(end, SystemClock.now());
            drop(place);
        });
        Ok(operation)
    }

    fn find(&self, id: &str, now: Timestamp) -> Option<Arc<Operation>> {
        let mut kept = locked(&self.kept);
        trim(&mut kept, now);
        kept.iter().find(|operation| operation.id == id).cloned()
    }

    /// Stops what is under way.
    pub(super) fn stop(&self, now: Timestamp) {
        locked(&self.tasks).abort_all();
        for operation in locked(&self.kept).iter() {
            operation.end(End::Stopped, now);
        }
    }
}

/// Forgets what has ended: what is too old, then the oldest as long as there is too much.
fn trim(kept: &mut VecDeque<Arc<Operation>>, now: Timestamp) {
    let is_old = |operation: &Operation| {
        let ended = operation.course.borrow().ended;
        ended.is_some_and(|(_, at)| now.since(at) > KEPT_FOR)
    };
    kept.retain(|operation| !is_old(operation));
    let too_much = |kept: &VecDeque<Arc<Operation>>| {
        let outcomes: usize = kept.iter().map(|operation| operation.meant).sum();
        kept.len() > MOST_KEPT || outcomes > MOST_OUTCOMES
    };
    while too_much(kept)
        && let Some(oldest) = kept.iter().position(|it| it.course.borrow().ended.is_some())
    {
        kept.remove(oldest);
    }
}

impl Operation {
    /// Where it is found.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/operations/{}", self.id)
    }

    async fn follow(&self, acting: impl Stream<Item = Handled>) {
        let mut acting = std::pin::pin!(acting);
        while let Some(handled) = acting.next().await {
            self.course.send_modify(|course| {
                *course.outcomes.entry(outcome(&handled.outcome).0).or_default() += 1;
                course.handled.push(handled);
            });
        }
    }

    /// Ends it, unless it has ended.
    fn end(&self, end: End, now: Timestamp) {
        self.course.send_if_modified(|course| {
            let runs = course.ended.is_none();
            course.ended = course.ended.or(Some((end, now)));
            runs
        });
    }

    /// How far it is, when it has ended or the caller has waited long enough.
    pub(super) async fn look(&self, look: Look, serving: &Serving) -> OperationDocument {
        let mut course = self.course.subscribe();
        let ended = course.wait_for(|course| course.ended.is_some());
        let _ = tokio::time::timeout(look.wait(), ended).await;
        let course = course.borrow();
        let page = course.handled.iter().skip(look.after);
        let page = page.take(serving.options.limits.page_rows);
        let handled: Vec<_> = page.map(|handled| describe_handled(serving, handled)).collect();
        let seen = look.after.min(course.handled.len()) + handled.len();
        let outcomes = course.outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count));
        let is_last = course.ended.is_some() && seen == course.handled.len();
        OperationDocument {
            id: self.id.clone(),
            order: self.order.to_owned(),
            filter: self.filter.clone(),
            state: course.state().to_owned(),
            begun: rfc3339(self.begun.as_millis()),
            ended: course.ended.map(|(_, at)| rfc3339(at.as_millis())),
            meant: self.meant as u64,
            so_far: HandledDocument { handled, outcomes: outcomes.collect(), dry_run: false },
            next: (!is_last).then_some(seen as u64),
        }
    }
}

impl Course {
    fn state(&self) -> &'static str {
        match self.ended {
            None => "running",
            Some((End::Done, _)) => "done",
            Some((End::OutOfTime, _)) => "out_of_time",
            Some((End::Stopped, _)) => "stopped",
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(id: usize, meant: usize) -> Arc<Operation> {
        let (id, begun, course) = (id.to_string(), Timestamp::EPOCH, watch::Sender::default());
        let filter = "all".to_owned();
        Arc::new(Operation { id, order: "retry", filter, begun, meant, course })
    }

    fn ids(kept: &VecDeque<Arc<Operation>>) -> Vec<&str> {
        kept.iter().map(|operation| &*operation.id).collect()
    }

    /// Promise G9: what is kept of operations is bounded in number, in outcomes and in time, and what is under way stays.
    #[test]
    fn ended_operations_make_room() {
        let mut kept: VecDeque<_> = (0..MOST_KEPT + 2).map(|id| operation(id, 1)).collect();
        trim(&mut kept, Timestamp::EPOCH);
        assert_eq!(kept.len(), MOST_KEPT + 2, "all of them are under way");
        for ended in kept.iter().skip(1) {
            ended.end(End::Done, Timestamp::EPOCH);
        }
        trim(&mut kept, Timestamp::EPOCH);
        assert_eq!(ids(&kept)[..2], ["0", "3"], "the oldest that have ended went");
        assert_eq!(kept.len(), MOST_KEPT);

        kept.push_back(operation(1_000, MOST_OUTCOMES - 3));
        trim(&mut kept, Timestamp::EPOCH);
        assert_eq!(ids(&kept), ["0", "64", "65", "1000"], "their outcomes are bounded together");

        let at_its_age = Timestamp::EPOCH.plus(KEPT_FOR);
        trim(&mut kept, at_its_age);
        assert_eq!(kept.len(), 4);
        trim(&mut kept, at_its_age.plus(Duration::from_millis(1)));
        assert_eq!(ids(&kept), ["0", "1000"]);
    }

    #[test]
    fn an_operation_ends_once() {
        let operation = operation(1, 0);
        assert_eq!(operation.course.borrow().state(), "running");
        drop(Running(Arc::clone(&operation)));
        operation.end(End::Done, Timestamp::EPOCH);
        assert_eq!(operation.course.borrow().state(), "stopped");
    }
}
