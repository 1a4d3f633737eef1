//! Subscribers that sleep: each takes one fact of everything that happens, and no other. Turns without them and with them show what they do to commands and
//! to memory.

use std::sync::Arc;
use std::time::Duration;

use holm::bus::{Interest, Start, Subscription};
use serde::{Deserialize, Serialize};

use super::cluster::Target;
use super::document::StepFigures;
use super::fixed_rate;
use super::work::{Kind, Work};
use crate::output::Failure;

/// Pairs of turns. The machine's moods fall on both halves of a pair.
const PAIRS: usize = 5;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sleepers {
    /// How many slept.
    pub subscribers: u32,
    /// Commands per second in each turn.
    pub rate: u32,
    /// 99 of 100 answers came within this many milliseconds: without and with them, in each pair of turns.
    pub p99_ms: Vec<(f64, f64)>,
    /// The median of each half.
    pub median_p99_ms: (f64, f64),
    /// By how many KiB the processes grew in all turns without and with them.
    pub grown_kib: (i64, i64),
}

/// Measures `subscribers` that sleep, at `rate` commands a second.
pub(super) async fn run(
    target: &Target,
    work: &Arc<Work>,
    (subscribers, rate): (u32, u32),
    (warm_up, time): (Duration, Duration),
) -> Result<Sleepers, Failure> {
    let mut measured = Sleepers { subscribers, rate, ..Sleepers::default() };
    for _ in 0..PAIRS {
        let alone = turn(target, work, rate, (warm_up, time)).await?;
        let asleep = fall_asleep(target, work, subscribers).await?;
        let beside = turn(target, work, rate, (warm_up, time)).await?;
        drop(asleep);
        measured.p99_ms.push((alone.0.p99_ms, beside.0.p99_ms));
        measured.grown_kib.0 += alone.1;
        measured.grown_kib.1 += beside.1;
    }
    let half = |of: fn(&(f64, f64)) -> f64| median(measured.p99_ms.iter().map(of).collect());
    measured.median_p99_ms = (half(|pair| pair.0), half(|pair| pair.1));
    Ok(measured)
}

/// The figures of one turn, and by how many KiB the processes grew in it.
async fn turn(
    target: &Target,
    work: &Arc<Work>,
    rate: u32,
    (warm_up, time): (Duration, Duration),
) -> Result<(StepFigures, i64), Failure> {
    let failed = |error| Failure::new("the pacer cannot be started", error);
    let before = target.resident_kib();
    let figures = fixed_rate::run("a turn", Kind::Persist, work, rate, warm_up, time).await;
    Ok((figures.map_err(failed)?, target.resident_kib() - before))
}

/// Subscribers that hold one fact, and whatever was read with it.
async fn fall_asleep(
    target: &Target,
    work: &Arc<Work>,
    subscribers: u32,
) -> Result<Vec<Subscription>, Failure> {
    let bus = target.holm.bus();
    let mut asleep = Vec::new();
    for _ in 0..subscribers {
        let subscription = bus.subscribe(Interest::everything(), Start::Now).await;
        let failed = |error| Failure::new("nobody can subscribe", error);
        asleep.push(subscription.map_err(failed)?);
    }
    let failed = |error| Failure::new("nothing happened that a subscriber could see", error);
    work.ask(Kind::Persist).await.map_err(failed)?;
    for subscription in &mut asleep {
        subscription.next().await.map_err(|error| Failure::new("a log cannot be read", error))?;
    }
    Ok(asleep)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}
