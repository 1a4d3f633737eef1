//! Subscribers that sleep: each takes one fact of everything that happens, and no other. Short turns without them and with them show what they do to commands
//! and to memory.
//!
//! A machine changes its mood within minutes, and one turn may take three times as long as the next of the same kind. So the turns are short, each round goes
//! without, with, with, without, and all turns of a kind are one distribution. How far its tail can be trusted is told by drawing rounds again, some of them
//! twice and others not at all (the bootstrap: Efron, "Bootstrap methods: another look at the jackknife", 1979).

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use holm::bus::{Interest, Start, Subscription};
use holm::{Entropy as _, SeededEntropy};
use serde::{Deserialize, Serialize};

use super::cluster::Target;
use super::document::histogram;
use super::fixed_rate;
use super::work::{Kind, Work};
use crate::output::Failure;

/// Rounds of four turns.
const ROUNDS: usize = 10;

/// A turn is this part of the time of a step, and its warm-up this part of the turn.
const PARTS: u32 = 5;

/// How often the rounds are drawn again, and which of the ratios are told: all but the lowest and the highest twentieth.
const DRAWS: usize = 200;
const LOW: usize = DRAWS / 20;
const HIGH: usize = DRAWS - DRAWS / 20 - 1;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sleepers {
    /// How many slept.
    pub subscribers: u32,
    /// Commands per second in each turn.
    pub rate: u32,
    /// How many turns of each kind there were.
    pub turns: u32,
    /// Half of the answers came within this many milliseconds: without them and with them.
    pub p50_ms: (f64, f64),
    /// 99 of 100 did.
    pub p99_ms: (f64, f64),
    /// The p99 with them, of that without.
    pub ratio: f64,
    /// Nine of ten draws of the same rounds give a ratio between these.
    pub between: (f64, f64),
    /// By how many KiB the processes grew in all turns without and with them.
    pub grown_kib: (i64, i64),
}

/// The latencies of one round, or of many: without the sleepers and with them.
struct Halves {
    alone: Histogram<u64>,
    beside: Histogram<u64>,
}

impl Halves {
    fn new() -> Self {
        Self { alone: histogram(), beside: histogram() }
    }

    fn of<'a>(rounds: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::new();
        for round in rounds {
            add(&mut all.alone, &round.alone);
            add(&mut all.beside, &round.beside);
        }
        all
    }

    fn at(&self, quantile: f64) -> (f64, f64) {
        let ms = |of: &Histogram<u64>| Duration::from_micros(of.value_at_quantile(quantile));
        (ms(&self.alone).as_secs_f64() * 1e3, ms(&self.beside).as_secs_f64() * 1e3)
    }

    fn ratio(&self) -> f64 {
        let (alone, beside) = self.at(0.99);
        if alone > 0.0 { beside / alone } else { 0.0 }
    }
}

/// Measures `subscribers` that sleep, at `rate` commands a second. `time` is that of a step; the whole takes eight times as long.
pub(super) async fn run(
    target: &Target,
    work: &Arc<Work>,
    (subscribers, rate): (u32, u32),
    time: Duration,
) -> Result<Sleepers, Failure> {
    let mut measured = Sleepers { subscribers, rate, ..Sleepers::default() };
    let turn = Turn { target, work, rate, time: time / PARTS };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Halves::new();
        let grown = (&mut measured.grown_kib.0, &mut measured.grown_kib.1);
        turn.take(&mut round.alone, grown.0).await?;
        let asleep = fall_asleep(target, work, subscribers).await?;
        turn.take(&mut round.beside, grown.1).await?;
        turn.take(&mut round.beside, grown.1).await?;
        drop(asleep);
        turn.take(&mut round.alone, grown.0).await?;
        measured.turns += 2;
        rounds.push(round);
    }
    let all = Halves::of(rounds.iter());
    (measured.p50_ms, measured.p99_ms) = (all.at(0.5), all.at(0.99));
    (measured.ratio, measured.between) = (all.ratio(), drawn_again(&rounds));
    Ok(measured)
}

/// One turn after the other.
struct Turn<'a> {
    target: &'a Target,
    work: &'a Arc<Work>,
    rate: u32,
    time: Duration,
}

impl Turn<'_> {
    /// Adds the latencies of one turn, and by how many KiB the processes grew in it.
    async fn take(&self, latency: &mut Histogram<u64>, grown: &mut i64) -> Result<(), Failure> {
        let failed = |error| Failure::new("the pacer cannot be started", error);
        let before = self.target.resident_kib();
        let warm_up = self.time / PARTS;
        let (work, rate) = (self.work, self.rate);
        let figures = fixed_rate::run("a turn", Kind::Persist, work, rate, warm_up, self.time);
        if let Some(of_turn) = figures.await.map_err(failed)?.latency {
            add(latency, &of_turn);
        }
        *grown += self.target.resident_kib() - before;
        Ok(())
    }
}

/// All histograms here have the same bounds, so that one can always be added to another.
fn add(all: &mut Histogram<u64>, some: &Histogram<u64>) {
    all.add(some).expect("two histograms of the same bounds");
}

/// Between which ratios nine of ten draws lie. The draws are the same for the same rounds.
fn drawn_again(rounds: &[Halves]) -> (f64, f64) {
    let mut entropy = SeededEntropy::new(1);
    let mut draw = || {
        let place = entropy.next_u64() % rounds.len().max(1) as u64;
        rounds.get(usize::try_from(place).unwrap_or_default())
    };
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| {
            Halves::of((0..rounds.len()).filter_map(|_| draw()).collect::<Vec<_>>().into_iter())
                .ratio()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    (ratios[LOW], ratios[HIGH])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn round(alone: u64, beside: u64) -> Halves {
        let mut round = Halves::new();
        for step in 0..1_000 {
            // One in fifty takes long.
            let long = |ms: u64| if step % 50 == 0 { ms * 1_000 } else { 1_000 };
            round.alone.record(long(alone)).unwrap();
            round.beside.record(long(beside)).unwrap();
        }
        round
    }

    #[test]
    fn rounds_that_agree_leave_no_doubt() {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round(20, 30)).collect();
        let (low, high) = drawn_again(&rounds);
        assert!((1.4..1.6).contains(&low) && (1.4..1.6).contains(&high), "{low} to {high}");
        assert_eq!(Halves::of(rounds.iter()).alone.len(), 10_000);
    }

    #[test]
    fn rounds_that_differ_do() {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|nth| if nth % 2 == 0 { round(20, 60) } else { round(60, 20) })
            .collect();
        let (low, high) = drawn_again(&rounds);
        assert!(low < 1.0 && high >= 1.0 && high > low, "{low} to {high}");
    }
}
