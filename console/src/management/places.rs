//! The places of connections: so many at once. When all are taken, who comes gets the place of the client that has asked for nothing for longest.
//!
//! Clients keep connections open for their next request, so idle ones are worth keeping while there is room, and worth nothing when they shut an operator
//! out. Nobody loses a place while a request is in hand or an answer is being written.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::socket::Conduct;

/// A client that was active more lately than this keeps its place: its next request may be on the way.
const QUIET_FOR: Duration = Duration::from_secs(1);

/// How long a place that was asked back is waited for; its task has only to notice.
const GIVEN_UP_WITHIN: Duration = Duration::from_millis(20);

/// How many are asked for their place: one may have begun a request just then.
const ASKED: usize = 3;

/// The places of one server.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<Vec<Arc<Seat>>>,
}

/// One connection, as seen by who looks for a place.
#[derive(Debug)]
struct Seat {
    conduct: Arc<Conduct>,
    /// Requests whose answers are not finished.
    in_hand: AtomicUsize,
    /// Nobody is asked twice.
    asked: AtomicBool,
    asked_back: Notify,
}

/// A place that a connection has; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

/// A request in hand, until its answer is finished or given up.
#[derive(Debug)]
pub(super) struct InHand(Arc<Seat>);

impl Places {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(places)), taken: Mutex::default() })
    }

    /// A place for a connection; none when everybody has something to do here.
    pub(super) async fn take(self: &Arc<Self>, conduct: Arc<Conduct>) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await?,
        };
        let (in_hand, asked) = (AtomicUsize::new(0), AtomicBool::new(false));
        let seat = Arc::new(Seat { conduct, in_hand, asked, asked_back: Notify::new() });
        self.lock().push(Arc::clone(&seat));
        Some(Place { places: Arc::clone(self), seat, _permit: permit })
    }

    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        for _ in 0..ASKED {
            self.longest_quiet()?.asked_back.notify_one();
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(GIVEN_UP_WITHIN, free).await {
                return permit.ok();
            }
        }
        None
    }

    /// Who is to be asked next.
    fn longest_quiet(&self) -> Option<Arc<Seat>> {
        let now = Instant::now();
        let taken = self.lock();
        let may_be_asked =
            |seat: &&Arc<Seat>| seat.is_quiet() && !seat.asked.load(Ordering::Relaxed);
        let quiet = taken.iter().filter(may_be_asked);
        let (since, seat) =
            quiet.map(|seat| (seat.conduct.last_active(), seat)).min_by_key(|&(since, _)| since)?;
        if now.duration_since(since) < QUIET_FOR {
            return None;
        }
        seat.asked.store(true, Ordering::Relaxed);
        Some(Arc::clone(seat))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn is_quiet(&self) -> bool {
        self.in_hand.load(Ordering::Acquire) == 0 && !self.conduct.is_written_to()
    }
}

impl Place {
    /// Notes that a request came.
    pub(super) fn begin(&self) -> InHand {
        self.seat.in_hand.fetch_add(1, Ordering::AcqRel);
        InHand(Arc::clone(&self.seat))
    }

    /// Resolves when somebody else needs the place.
    pub(super) async fn asked_back(&self) {
        self.seat.asked_back.notified().await;
    }

    /// Whether nothing would be cut off if the connection ended now.
    pub(super) fn is_quiet(&self) -> bool {
        self.seat.is_quiet()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.conduct.set_active(Instant::now());
        self.0.in_hand.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, with which its request is over.
pub(super) struct Answering {
    body: Body,
    _request: InHand,
}

impl Answering {
    pub(super) fn new(body: Body, request: InHand) -> Self {
        Self { body, _request: request }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>) -> Option<Place> {
        places.take(Arc::default()).await
    }

    /// As if the client had been quiet for so long.
    fn be_quiet(place: &Place, time: Duration) {
        place.seat.conduct.set_active(Instant::now().checked_sub(time).unwrap());
    }

    #[tokio::test]
    async fn the_longest_quiet_makes_room() {
        let places = Places::new(3);
        let first = take(&places).await.unwrap();
        let second = take(&places).await.unwrap();
        let third = take(&places).await.unwrap();
        assert!(take(&places).await.is_none(), "nobody has been quiet for long");
        for (place, seconds) in [(&first, 3), (&second, 2), (&third, 1)] {
            be_quiet(place, seconds * QUIET_FOR);
        }
        let request = first.begin();
        let leaves = tokio::spawn(async move {
            second.asked_back().await;
            second.is_quiet()
        });
        let fourth = take(&places).await;
        assert!(fourth.is_some() && leaves.await.unwrap());
        assert!(!first.seat.asked.load(Ordering::Relaxed), "it has a request in hand");

        drop(request);
        assert!(first.is_quiet() && first.seat.conduct.last_active().elapsed() < QUIET_FOR);
        drop((first, third, fourth));
        assert!(places.lock().is_empty() && places.free.available_permits() == 3);
    }

    #[tokio::test]
    async fn who_does_not_leave_is_not_waited_for() {
        let places = Places::new(2);
        let stays = take(&places).await.unwrap();
        be_quiet(&stays, 2 * QUIET_FOR);
        let leaves = take(&places).await.unwrap();
        be_quiet(&leaves, QUIET_FOR);
        tokio::spawn(async move { leaves.asked_back().await });
        let third = take(&places).await;
        assert!(third.is_some(), "the next one is asked");
        assert!(take(&places).await.is_none(), "nobody is asked twice");
    }

    #[tokio::test]
    async fn nobody_leaves_in_the_middle_of_an_answer() {
        let places = Places::new(1);
        let conduct: Arc<Conduct> = Arc::default();
        conduct.set_written_to(true);
        let place = places.take(Arc::clone(&conduct)).await.unwrap();
        be_quiet(&place, 2 * QUIET_FOR);
        assert!(places.longest_quiet().is_none() && !place.is_quiet());
        conduct.set_written_to(false);
        assert!(places.longest_quiet().is_none() && place.is_quiet(), "it took the end just now");
        be_quiet(&place, QUIET_FOR);
        assert!(places.longest_quiet().is_some() && place.is_quiet());
    }
}
