//! Subscribers that sleep: each takes one fact of everything that happens, and no other. Short turns without them and with them show what they do to commands
//! and to memory.
//!
//! A machine changes its mood within minutes, and one turn may take three times as long as the next of the same kind. So the turns are short, each round goes
//! without, with, with, without, and all turns of a kind are one distribution. How far its tail can be trusted is told by drawing rounds again, some of them
//! twice and others not at all (the bootstrap: Efron, "Bootstrap methods: another look at the jackknife", 1979).
//!
//! The p99 of all turns together is made by the few of them in which the machine stood still. So the same is told of each round by itself: half of the rounds
//! have a ratio above the middle one, however long the machine stood still in some.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use holm::bus::{Interest, Start, Subscription};
use holm::{Entropy as _, SeededEntropy};
use serde::{Deserialize, Serialize};

use super::cluster::Target;
use super::document::{StepFigures, histogram};
use super::fixed_rate;
use super::work::{Kind, Work};
use crate::output::Failure;

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
    /// The p99 with them, of that without; absent when nothing was answered in the turns of one kind.
    pub ratio: Option<f64>,
    /// Nine of ten draws of the same rounds give a ratio between these.
    pub between: Option<(f64, f64)>,
    /// The p99 with them, of that without, in the middle one of the rounds.
    pub typical: Option<f64>,
    /// Nine of ten draws of the same rounds have a middle one between these.
    pub typical_between: Option<(f64, f64)>,
    /// Commands without an answer.
    pub errors: u64,
    /// The first of those errors.
    pub first_error: Option<String>,
    /// The largest share of sends in one turn that were more than 100 µs after plan.
    pub late: f64,
    /// By how many KiB the processes grew in all turns before they came, and in all turns in which they had slept for a turn. What they hold they hold by then, and
    /// what was theirs is used again in the turns behind them.
    pub grown_kib: (i64, i64),
    /// By how many KiB more they grew in a turn with them than in one without, on average of nine of ten draws of the same rounds between these.
    pub more_kib_between: Option<(f64, f64)>,
}

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many sleep.
    pub(super) subscribers: u32,
    /// Commands per second.
    pub(super) rate: u32,
    /// Rounds of four turns.
    pub(super) rounds: u32,
    /// The time of a step. A turn takes a fifth of it, and a fifth of that before it.
    pub(super) time: Duration,
}

/// One round, or many: without the sleepers and with them.
struct Halves {
    alone: Histogram<u64>,
    beside: Histogram<u64>,
    /// By how many KiB the processes grew.
    grown: (i64, i64),
}

impl Halves {
    fn new() -> Self {
        Self { alone: histogram(), beside: histogram(), grown: (0, 0) }
    }

    fn of<'a>(rounds: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::new();
        for round in rounds {
            add(&mut all.alone, &round.alone);
            add(&mut all.beside, &round.beside);
            all.grown = (all.grown.0 + round.grown.0, all.grown.1 + round.grown.1);
        }
        all
    }

    fn at(&self, quantile: f64) -> (f64, f64) {
        let ms = |of: &Histogram<u64>| Duration::from_micros(of.value_at_quantile(quantile));
        (ms(&self.alone).as_secs_f64() * 1e3, ms(&self.beside).as_secs_f64() * 1e3)
    }

    /// None where one of the two has no answer: a histogram without any says zero.
    fn ratio(&self) -> Option<f64> {
        let (alone, beside) = self.at(0.99);
        (alone > 0.0 && !self.beside.is_empty()).then(|| beside / alone)
    }
}

/// Measures subscribers that sleep. One round more than planned: in the first everything is new, and it does not count.
pub(super) async fn run(
    target: &Target,
    work: &Arc<Work>,
    plan: Plan,
) -> Result<Sleepers, Failure> {
    let Plan { subscribers, rate, .. } = plan;
    let turn = Turn { target, work, rate, time: plan.time / PARTS };
    turn.round(subscribers, &mut Sleepers::default()).await?;
    let mut measured = Sleepers { subscribers, rate, ..Sleepers::default() };
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(turn.round(subscribers, &mut measured).await?);
    }
    let all = Halves::of(rounds.iter());
    (measured.p50_ms, measured.p99_ms) = (all.at(0.5), all.at(0.99));
    (measured.ratio, measured.between) = of_rounds(&rounds, together);
    (measured.typical, measured.typical_between) = of_rounds(&rounds, middle);
    measured.grown_kib = all.grown;
    measured.more_kib_between = of_rounds(&rounds, more_kib).1;
    Ok(measured)
}

impl Sleepers {
    /// What keeps the latencies of a turn from telling everything.
    fn count(&mut self, turn: &StepFigures) {
        self.errors += turn.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&turn.first_error);
        }
        self.late = self.late.max(turn.late.unwrap_or_default());
    }
}

/// One turn after the other.
struct Turn<'a> {
    target: &'a Target,
    work: &'a Arc<Work>,
    rate: u32,
    time: Duration,
}

impl Turn<'_> {
    /// Without, with, with, without.
    async fn round(&self, subscribers: u32, measured: &mut Sleepers) -> Result<Halves, Failure> {
        let mut round = Halves::new();
        round.grown.0 = self.take(&mut round.alone, measured).await?;
        let asleep = fall_asleep(self.target, self.work, subscribers).await?;
        self.take(&mut round.beside, measured).await?;
        round.grown.1 = self.take(&mut round.beside, measured).await?;
        drop(asleep);
        self.take(&mut round.alone, measured).await?;
        measured.turns += 2;
        Ok(round)
    }

    /// Adds the latencies of one turn, what failed and what was late in it. By how many KiB the processes grew.
    async fn take(
        &self,
        latency: &mut Histogram<u64>,
        measured: &mut Sleepers,
    ) -> Result<i64, Failure> {
        let before = self.target.resident_kib();
        let warm_up = self.time / PARTS;
        let (work, rate) = (self.work, self.rate);
        let figures = fixed_rate::run("a turn", Kind::Persist, work, rate, warm_up, self.time);
        let figures = figures.await?;
        measured.count(&figures);
        if let Some(of_turn) = figures.latency {
            add(latency, &of_turn);
        }
        Ok(self.target.resident_kib() - before)
    }
}

/// All histograms here have the same bounds, so that one can always be added to another.
fn add(all: &mut Histogram<u64>, some: &Histogram<u64>) {
    all.add(some).expect("two histograms of the same bounds");
}

/// A figure of these rounds, and between which nine of ten draws of them lie; none where there is no such figure. The draws are the same for the same rounds.
fn of_rounds(
    rounds: &[Halves],
    figure: impl Fn(&[&Halves]) -> Option<f64>,
) -> (Option<f64>, Option<(f64, f64)>) {
    let mut entropy = SeededEntropy::new(1);
    let mut draw = || {
        let place = entropy.next_u64() % rounds.len().max(1) as u64;
        rounds.get(usize::try_from(place).unwrap_or_default())
    };
    let drawn = (0..DRAWS).map(|_| {
        let some: Vec<&Halves> = (0..rounds.len()).filter_map(|_| draw()).collect();
        figure(&some)
    });
    let drawn = drawn.collect::<Option<Vec<f64>>>().map(sorted);
    let all: Vec<&Halves> = rounds.iter().collect();
    (figure(&all), drawn.map(|drawn| (drawn[LOW], drawn[HIGH])))
}

/// The ratio of all turns as one distribution.
fn together(rounds: &[&Halves]) -> Option<f64> {
    Halves::of(rounds.iter().copied()).ratio()
}

/// The middle one of the ratios of single rounds; none when one of them has none.
fn middle(rounds: &[&Halves]) -> Option<f64> {
    let ratios = sorted(rounds.iter().map(|round| round.ratio()).collect::<Option<_>>()?);
    let half = ratios.len() / 2;
    let upper = *ratios.get(half)?;
    Some(if ratios.len().is_multiple_of(2) {
        f64::midpoint(ratios[half - 1], upper)
    } else {
        upper
    })
}

/// By how many KiB more the processes grew in a turn with the sleepers than in one without, on average.
fn more_kib(rounds: &[&Halves]) -> Option<f64> {
    let (alone, beside) = Halves::of(rounds.iter().copied()).grown;
    (!rounds.is_empty()).then(|| (beside - alone) as f64 / rounds.len() as f64)
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
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
    use crate::bench::show;

    /// The machine stood still in two rounds of ten; the others agree that nothing changed.
    #[test]
    fn rounds_in_which_the_machine_stood_still_do_not_move_the_middle_one() {
        // With one in ten, two rounds of ten make the p99 of all.
        let mut rounds: Vec<_> = (0..8).map(|_| round_of(10, 20, 20)).collect();
        rounds.extend([round_of(10, 20, 900), round_of(10, 20, 900)]);
        assert!(together(&rounds.iter().collect::<Vec<_>>()).unwrap() > 1.5);
        let (ratio, between) = of_rounds(&rounds, middle);
        assert_eq!(ratio, Some(1.0));
        assert!(between.unwrap().1 < 1.1, "{between:?}");
        assert_eq!(middle(&[&round(20, 20), &round(20, 60)]).map(f64::round), Some(2.0));
    }

    fn round(alone: u64, beside: u64) -> Halves {
        round_of(50, alone, beside)
    }

    /// One in so many takes long.
    fn round_of(every: u64, alone: u64, beside: u64) -> Halves {
        let mut round = Halves::new();
        for step in 0..1_000 {
            let long = |ms: u64| if step % every == 0 { ms * 1_000 } else { 1_000 };
            round.alone.record(long(alone)).unwrap();
            round.beside.record(long(beside)).unwrap();
        }
        round
    }

    #[test]
    fn rounds_that_agree_leave_no_doubt() {
        let rounds: Vec<_> = (0..10).map(|_| round(20, 30)).collect();
        for ratio in [together, middle] {
            let (ratio, between) = of_rounds(&rounds, ratio);
            let (ratio, (low, high)) = (ratio.unwrap(), between.unwrap());
            assert!((1.4..1.6).contains(&low) && (1.4..1.6).contains(&high), "{low} to {high}");
            assert!((low..=high).contains(&ratio), "{ratio}");
        }
        assert_eq!(Halves::of(rounds.iter()).alone.len(), 10_000);
    }

    #[test]
    fn without_answers_there_is_no_ratio_and_errors_are_said() {
        let mut rounds: Vec<_> = (0..10).map(|_| round(20, 30)).collect();
        rounds.iter_mut().for_each(|round| round.beside.reset());
        assert_eq!(of_rounds(&rounds, together), (None, None));
        assert_eq!(of_rounds(&rounds, middle), (None, None));
        assert_eq!(middle(&[]), None);
        let mut measured = Sleepers::default();
        let first_error = Some("lost".to_owned());
        measured.count(&StepFigures { errors: 2, first_error, ..StepFigures::default() });
        measured.count(&StepFigures { errors: 1, late: Some(0.5), ..StepFigures::default() });
        assert_eq!((measured.errors, measured.late), (3, 0.5));
        let line = show::sleepers_line(&measured);
        assert!(line.contains("3 without an answer") && line.contains("lost"), "{line}");
        assert!(line.contains("no ratio") && !line.contains("-100"), "{line}");
    }

    #[test]
    fn rounds_that_differ_do() {
        let rounds: Vec<_> =
            (0..10).map(|nth| if nth % 2 == 0 { round(20, 60) } else { round(60, 20) }).collect();
        let (low, high) = of_rounds(&rounds, together).1.unwrap();
        assert!(low < 1.0 && high >= 1.0 && high > low, "{low} to {high}");
    }

    #[test]
    fn memory_that_each_round_takes_is_told_and_what_comes_and_goes_is_in_the_interval() {
        let grown = |grown: &[(i64, i64)]| -> Vec<_> {
            grown.iter().map(|&grown| Halves { grown, ..Halves::new() }).collect()
        };
        let kept = grown(&[(100, 400), (150, 430), (90, 400), (120, 410), (110, 420)]);
        let (mean, between) = of_rounds(&kept, more_kib);
        assert_eq!(mean, Some(298.0));
        assert!(between.unwrap().0 > 250.0, "{between:?}");
        let noise = grown(&[(-500, 400), (400, -500), (-300, 200), (300, -250), (0, 50)]);
        let (low, high) = of_rounds(&noise, more_kib).1.unwrap();
        assert!(low < 0.0 && high > 0.0, "{low} to {high}");
        assert_eq!(more_kib(&[]), None);
    }
}
