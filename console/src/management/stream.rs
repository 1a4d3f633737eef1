//! `GET /api/v1/stream`: facts as server-sent events, each a CloudEvent, in the order of each shard.
//!
//! Every event carries as its id how far all shards were read, so that a client that comes back with `Last-Event-ID` goes on there, at any node. A client
//! that reads slowly slows nobody but itself: the next page of a log is read when the connection has taken the one before.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use holm::bus::{CloudEvent, FeedError, Interest, Position, Publisher, Start, Subscription};
use holm::{ClusterFacts, Entity as _, ErrorKind, FailureLog, Offset, ShardId};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;

/// How often a silent connection hears that the node is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How often a silent stream looks whether this node stops.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// What may stand after the `?`. Lists are separated by commas.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `events` of entities, which is meant when nothing is said, `failures`, `cluster`, or several of them.
    topics: Option<String>,
    entity_type: Option<String>,
    event: Option<String>,
    id_prefix: Option<String>,
    tag: Option<String>,
    /// `now`, `beginning`, or an id as in `Last-Event-ID`.
    from: Option<String>,
    /// End when everything that is there now was sent.
    #[serde(default)]
    until_now: bool,
}

/// The facts of a stream on their way to one client.
struct Following {
    facts: Subscription,
    /// Where the logs ended when it began, when it is to end there.
    ends: Option<Position>,
    serving: Arc<Serving>,
    cluster: String,
    /// An error was said, which ends it: the place stays, so there is nothing more to say.
    failed: bool,
    _permit: OwnedSemaphorePermit,
}

/// `GET /api/v1/stream?topics=&entity_type=&event=&id_prefix=&tag=&from=&until_now=`.
pub(super) async fn stream(
    State(serving): Shared,
    headers: HeaderMap,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let wish = wish.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let following = begin(&serving, &wish.0, last).await.map_err(|it| it.of(&serving))?;
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn begin(
    serving: &Arc<Serving>,
    wish: &Wish,
    last: Option<String>,
) -> Result<Following, Problem> {
    let interest = interest(wish)?;
    let permit = Arc::clone(&serving.streams).try_acquire_owned().map_err(|_| {
        let allowed = serving.options.limits.concurrent_streams;
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "too many streams")
            .detail(format!("concurrent_streams of {allowed} is used up"))
            .kind(ErrorKind::BackOff)
            .next("close a stream, or ask another node")
            .refusal()
    })?;
    let (bus, shards) = (serving.holm.bus().reader("stream of events"), serving.holm.shards());
    // Who reads what is there and ends is no subscriber that lags.
    let bus = if wish.until_now { bus.unwatched() } else { bus };
    let start = start(last.or_else(|| wish.from.clone()).as_deref(), shards)?;
    let ends = if wish.until_now { Some(bus.ends().await.map_err(unreadable)?) } else { None };
    let facts = bus.subscribe(interest, start).await.map_err(unreadable)?;
    let cluster = serving.holm.view().cluster.clone();
    Ok(Following {
        facts,
        ends,
        serving: Arc::clone(serving),
        cluster,
        failed: false,
        _permit: permit,
    })
}

impl Following {
    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        if self.failed {
            return None;
        }
        let fact = loop {
            if self.serving.draining.load(Ordering::Relaxed) {
                return None;
            }
            let next = async {
                match &self.ends {
                    Some(ends) => self.facts.next_until(ends).await.transpose(),
                    None => Some(self.facts.next().await),
                }
            };
            if let Ok(fact) = tokio::time::timeout(LOOK_AROUND, next).await {
                break fact?;
            }
        };
        let said = fact.map_err(|error| error.to_string()).and_then(|fact| {
            let holm = &self.serving.holm;
            let (cluster, namespace) = (&self.cluster, holm.event_namespace());
            CloudEvent::of(&fact, Publisher { cluster, namespace, registry: holm.registry() })
                .and_then(|event| serde_json::to_string(&event).map_err(|error| error.to_string()))
        });
        Some(match said {
            Ok(data) => {
                Event::default().event("fact").id(written(self.facts.position())).data(data)
            }
            Err(reason) => {
                self.failed = true;
                Event::default().event("error").data(reason.replace(['\r', '\n'], " "))
            }
        })
    }
}

pub(super) fn interest(wish: &Wish) -> Result<Interest, Problem> {
    let listed = |list: &Option<String>| -> Vec<String> {
        let names = list.iter().flat_map(|list| list.split(','));
        names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let mut interest = Interest::everything();
    let topics = listed(&wish.topics);
    // An entity type that is named leaves the others out, whatever else is followed.
    let several = topics.len() > 1 && wish.entity_type.is_none();
    for topic in topics {
        interest = match topic.as_str() {
            "events" if several => interest.and_programs(),
            "events" => interest,
            "failures" => interest.entity_type(FailureLog::TYPE),
            "cluster" => interest.entity_type(ClusterFacts::TYPE),
            other => {
                let unknown = Problem::bad_request(format!("there is no topic `{other}`"));
                return Err(unknown.next("topics=events, failures, cluster, or several of them"));
            }
        };
    }
    for tag in listed(&wish.tag) {
        interest = interest.tag(tag);
    }
    for name in listed(&wish.entity_type) {
        interest = interest.entity_type(name);
    }
    for name in listed(&wish.event) {
        interest = interest.event(name);
    }
    Ok(match &wish.id_prefix {
        Some(prefix) => interest.id_prefix(prefix.as_str()),
        None => interest,
    })
}

/// Where to begin: `now` when nothing is said.
pub(super) fn start(from: Option<&str>, shards: u32) -> Result<Start, Problem> {
    match from {
        None | Some("now") => Ok(Start::Now),
        Some("beginning") => Ok(Start::Beginning),
        Some(id) => read(id, shards).map(Start::After).ok_or_else(|| {
            Problem::bad_request(format!("`{id}` is no place in the logs"))
                .next("from=now, from=beginning, or the id of an event of this stream")
        }),
    }
}

/// A position as an id: `0:12,3:7`. Shards of which nothing was seen are left out.
pub(super) fn written(position: &Position) -> String {
    let places = position.0.iter().filter(|(_, offset)| **offset > Offset::ZERO);
    let places: Vec<String> = places.map(|(shard, offset)| format!("{shard}:{offset}")).collect();
    places.join(",")
}

pub(super) fn read(id: &str, shards: u32) -> Option<Position> {
    let place = |place: &str| {
        let (shard, offset) = place.split_once(':')?;
        let shard = shard.parse().ok().filter(|shard| *shard < shards)?;
        Some((ShardId(shard), Offset(offset.parse().ok().filter(|it| *it < u64::MAX / 2)?)))
    };
    id.split(',').filter(|it| !it.is_empty()).map(place).collect::<Option<_>>().map(Position)
}

fn unreadable(error: FeedError) -> Problem {
    match error {
        FeedError::Unreadable { source, .. } => Problem::from(source),
        error => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_id() {
        let position = Position([(ShardId(0), Offset(12)), (ShardId(3), Offset(7))].into());
        assert_eq!(written(&position), "0:12,3:7");
        assert_eq!(read("0:12,3:7", 4), Some(position));
        assert_eq!(read("", 4), Some(Position::default()));
        for wrong in ["4:1", "x", "0:", "0:-1", "0:1;1:2", "0:18446744073709551615"] {
            assert_eq!(read(wrong, 4), None, "{wrong}");
        }
    }
}
