//! How far a projection is, measured when somebody asks.

use std::time::Duration;

use holm_core::{Clock, Offset, ShardId, Timestamp};
use holm_runtime::bus::{Bus, FeedError, Position};

use crate::status::{Board, State, Status};

/// How far a projection is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Its name.
    pub name: &'static str,
    /// What it is doing.
    pub state: State,
    /// Everything up to here is in the view, or was set aside.
    pub position: Position,
    /// Where the logs end.
    pub head: Position,
    /// Records between the two, of interest or not. The events of one command are one record.
    pub lag_records: u64,
    /// How long the oldest record between the two has waited; zero when there is none.
    pub lag_time: Duration,
    /// Facts handled in a second, of late.
    pub rate: f64,
    /// When it will have caught up if it goes on like that; none when it does not move.
    pub time_left: Option<Duration>,
    /// How far the view is that is built beside the present one, when one is.
    pub rebuild: Option<RebuildProgress>,
    /// What last went wrong; none once it goes on.
    pub last_error: Option<String>,
    /// Why the last rebuild ended without a switch.
    pub rebuild_error: Option<String>,
}

/// How far a view is that is built beside the present one.
#[derive(Debug, Clone, PartialEq)]
pub struct RebuildProgress {
    /// Everything up to here is in it, or was set aside.
    pub position: Position,
    /// Records between that and the ends of the logs, of interest or not.
    pub lag_records: u64,
    /// How long the oldest of them has waited.
    pub lag_time: Duration,
    /// Facts handled in a second, of late.
    pub rate: f64,
    /// When it will take the place of the present one if it goes on like that; none when it does not move.
    pub time_left: Option<Duration>,
}

impl RebuildProgress {
    /// Records up to the position, over all shards.
    #[must_use]
    pub fn position_total(&self) -> u64 {
        total(&self.position)
    }
}

impl Progress {
    /// Records up to the position, over all shards.
    #[must_use]
    pub fn position_total(&self) -> u64 {
        total(&self.position)
    }

    /// Records up to the ends of the logs, over all shards.
    #[must_use]
    pub fn head_total(&self) -> u64 {
        total(&self.head)
    }
}

/// Asks for the ends of the logs, and in the shards that lag for the age of what comes next; writes the two figures of lag.
pub(crate) async fn measure(
    name: &'static str,
    bus: &Bus,
    clock: &dyn Clock,
    board: &Board,
) -> Result<Progress, FeedError> {
    let mut head = bus.ends().await?;
    let status = board.status.borrow().clone();
    // Of this moment, as the position is: while more is asked the view goes on, and that takes its time on a busy machine.
    let now = clock.now();
    let elapsed = board.elapsed();
    let Status { state, position, rebuild, rebuild_error, last_error, pace, pace_beside, .. } =
        status;
    // While the ends were asked for it went on, perhaps behind what was said: the logs are at least as long as what was read of them.
    for (shard, place) in position.0.iter().chain(rebuild.iter().flat_map(|it| &it.0)) {
        let end = head.0.entry(*shard).or_default();
        *end = (*end).max(*place);
    }
    let (lag_records, lag_time) = lag(bus, &position, &head, now).await?;
    let rebuild = match rebuild {
        None => None,
        Some(position) => {
            let (lag_records, lag_time) = lag(bus, &position, &head, now).await?;
            let rate = pace_beside.facts.per_second(elapsed);
            let time_left = time_left(lag_records, pace_beside.records.per_second(elapsed));
            Some(RebuildProgress { position, lag_records, lag_time, rate, time_left })
        }
    };
    metrics::gauge!("holm.projection.lag.events", "projection" => name).set(rough(lag_records));
    metrics::gauge!("holm.projection.lag.time", "projection" => name).set(lag_time.as_secs_f64());
    Ok(Progress {
        name,
        state,
        lag_records,
        lag_time,
        rate: pace.facts.per_second(elapsed),
        time_left: time_left(lag_records, pace.records.per_second(elapsed)),
        rebuild,
        position,
        head,
        last_error,
        rebuild_error,
    })
}

/// Records between a place and the ends of the logs, and for how long the oldest of them has waited.
async fn lag(
    bus: &Bus,
    position: &Position,
    head: &Position,
    now: Timestamp,
) -> Result<(u64, Duration), FeedError> {
    let before = |(shard, end): (&ShardId, &Offset)| (*shard, position.of(*shard), *end);
    let places = head.0.iter().map(before).filter(|(_, place, end)| place < end);
    let lagging: Vec<(ShardId, Offset, Offset)> = places.collect();
    let records = lagging.iter().map(|(_, place, end)| end.0 - place.0).sum();
    let waiting = lagging.iter().map(|(shard, place, _)| bus.time_after(*shard, *place));
    let waiting = futures::future::try_join_all(waiting).await?;
    let oldest = waiting.into_iter().flatten().min();
    Ok((records, oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))))
}

/// Nothing left to read takes no time. A rate is one of records that it went beyond, because that is what is left.
fn time_left(lag: u64, per_second: f64) -> Option<Duration> {
    match lag {
        0 => Some(Duration::ZERO),
        // Slower than that is standing still.
        _ if per_second < 0.01 => None,
        lag => Duration::try_from_secs_f64(rough(lag) / per_second).ok(),
    }
}

fn total(position: &Position) -> u64 {
    position.0.values().map(|offset| offset.0).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn rough(number: u64) -> f64 {
    number as f64
}
