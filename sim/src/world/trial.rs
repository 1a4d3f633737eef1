//! A trial: a user's own entities in a world with faults, as one ordinary test.
//!
//! The clients are the user's code, with the same typed references as in production. What must hold is asserted in them, or at the end, when everything was
//! mended. A failed trial shows the end of its trace. What stands in the logs in the end is judged as well, by the checkers that need to know nothing of what
//! the clients did: no gap, no fork, nothing torn, nothing beyond its limit.
//!
//! **One seed, one run**: only where tokio is built with `--cfg tokio_unstable`, for its own chance can be seeded only there. An ordinary `cargo test` gives a
//! seed the same world, the same faults and as true a run, but perhaps another one each time. A failure says with which command it repeats:
//! `RUSTFLAGS="--cfg tokio_unstable" CARGO_TARGET_DIR=target/repeatable cargo test`. Each seed needs a thread of its own.

mod guest;

use std::time::Duration;

use futures::future::LocalBoxFuture;
use holm_core::{Entropy as _, Limits, SeededEntropy};
use holm_runtime::Registry;
use tokio::task::JoinHandle;

pub use self::guest::Guest;
use super::faults::Schedule;
use super::observe::observe;
use super::run::all_shards_served;
use super::runtime::is_repeatable;
use super::trace::Listener;
use super::{EDITION, FaultWeights, Settings, Trace, World};
use crate::checks::{Rules, judge};
use crate::history::History;

/// How long a cluster may take to form.
const FORMING: Duration = Duration::from_secs(20);

/// Lines of the trace that a failure shows.
const SHOWN: usize = 40;

/// How the same run is had again.
const AGAIN: &str = if is_repeatable() {
    "the same seed is the same run: run the test again"
} else {
    "in this build the same seed may run otherwise; so that it repeats: RUSTFLAGS=\"--cfg tokio_unstable\" CARGO_TARGET_DIR=target/repeatable cargo test"
};

type Work = Box<dyn FnOnce(Guest) -> LocalBoxFuture<'static, ()>>;

type Wish = Box<dyn FnOnce(&mut Settings)>;

/// A world for a user's entities.
///
/// ```
/// # use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Registry};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Counter { count: u64 }
/// # #[derive(Event, Serialize, Deserialize)]
/// # enum CounterEvent { Raised }
/// # #[derive(Command, Serialize, Deserialize)]
/// # #[command(reply = u64)]
/// # struct Raise {}
/// # impl Entity for Counter {
/// #     const TYPE: &'static str = "counter";
/// #     type Event = CounterEvent;
/// #     type Rejection = NoRejection;
/// #     fn apply(&mut self, _: &CounterEvent) { self.count += 1; }
/// #     fn commands(commands: &mut Commands<Self>) { commands.handle::<Raise>(); }
/// # }
/// # impl Handle<Raise> for Counter {
/// #     fn handle(&self, _: Raise, cx: &mut Context<'_, Self>) -> Result<Effect<Self, u64>, NoRejection> {
/// #         Ok(cx.persist(CounterEvent::Raised).reply(|counter| counter.count))
/// #     }
/// # }
/// use holm_sim::world::Trial;
///
/// let trial = Trial::new(Registry::new().entity::<Counter>(), 7).seconds(3).client(|guest| async move {
///     let mut last = 0;
///     for _ in 0..5 {
///         // A raise that was answered is never lost: the count only rises.
///         if let Ok(count) = guest.entity::<Counter>("clicks").ask(Raise {}).await {
///             assert!(count > last);
///             last = count;
///         }
///     }
/// });
/// trial.run().expect("the world holds");
/// ```
pub struct Trial {
    registry: Registry,
    seed: u64,
    edition: u32,
    /// What the user wants otherwise than it is drawn.
    wishes: Vec<Wish>,
    clients: Vec<Work>,
    last: Option<Work>,
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialFailed {
    /// The world cannot be made.
    #[error("the world cannot be made")]
    World(#[source] std::io::Error),
    /// The cluster did not come up.
    #[error("seed {seed}: no cluster formed within {FORMING:?}\n{trace}")]
    NotFormed {
        /// The seed.
        seed: u64,
        /// The last lines.
        trace: String,
    },
    /// A client panicked: what it asserts does not hold.
    #[error("seed {seed}: a client failed: {what}\n{trace}")]
    Client {
        /// The seed.
        seed: u64,
        /// What it said.
        what: String,
        /// The last lines.
        trace: String,
    },
    /// What stands in the logs breaks a promise.
    #[error("seed {seed}: the logs are not as they must be: {findings}\n{trace}")]
    Logs {
        /// The seed.
        seed: u64,
        /// What was found.
        findings: String,
        /// The last lines.
        trace: String,
    },
    /// A client did not come to its end.
    #[error(
        "seed {seed}: {clients} clients still work {waited:?} after everything was mended\n{trace}"
    )]
    Unfinished {
        /// The seed.
        seed: u64,
        /// How many.
        clients: usize,
        /// How long was waited.
        waited: Duration,
        /// The last lines.
        trace: String,
    },
}

impl Trial {
    /// A world with these entity types, drawn from a seed: its size and what goes wrong in it.
    ///
    /// More can go wrong in the worlds of a later version of Holm. A seed that found a bug is kept with its edition: [`Trial::edition`].
    #[must_use]
    pub fn new(registry: Registry, seed: u64) -> Self {
        Self {
            registry,
            seed,
            edition: EDITION,
            wishes: Vec::new(),
            clients: Vec::new(),
            last: None,
        }
    }

    /// The world that the seed had in an edition of the worlds, with everything else that was and will be said of it. A failed trial names its edition.
    #[must_use]
    pub fn edition(mut self, edition: u32) -> Self {
        self.edition = edition;
        self
    }

    /// How many nodes there are at the beginning.
    #[must_use]
    pub fn nodes(self, nodes: u8) -> Self {
        self.with(move |settings| settings.nodes = nodes.max(1))
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(self, shards: u32) -> Self {
        self.with(move |settings| settings.shards = shards.max(1))
    }

    /// How long things go wrong.
    #[must_use]
    pub fn seconds(self, seconds: u64) -> Self {
        self.with(move |settings| settings.duration = Duration::from_secs(seconds))
    }

    /// What goes wrong, and how often.
    #[must_use]
    pub fn faults(self, faults: FaultWeights) -> Self {
        self.with(move |settings| settings.faults = faults)
    }

    /// The limits of every node.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.with(move |settings| settings.limits = limits)
    }

    fn with(mut self, wish: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.wishes.push(Box::new(wish));
        self
    }

    /// Adds a client, which works while things go wrong.
    #[must_use]
    pub fn client<F: Future<Output = ()> + 'static>(
        mut self,
        work: impl FnOnce(Guest) -> F + 'static,
    ) -> Self {
        self.clients.push(Box::new(|guest| Box::pin(work(guest))));
        self
    }

    /// What is looked at in the end, when everything was mended and all clients are done.
    #[must_use]
    pub fn in_the_end<F: Future<Output = ()> + 'static>(
        mut self,
        work: impl FnOnce(Guest) -> F + 'static,
    ) -> Self {
        self.last = Some(Box::new(|guest| Box::pin(work(guest))));
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`TrialFailed`] with the seed and the end of the trace.
    pub fn run(self) -> Result<Trace, TrialFailed> {
        let (settings, work) = self.settle();
        let mut world = World::new(&settings).map_err(TrialFailed::World)?;
        let listener = Listener::new(world.trace().clone(), world.met.clone());
        tracing::subscriber::with_default(listener, || work.run_in(&mut world, settings))?;
        Ok(world.trace().clone())
    }

    /// Draws the world and changes in it what the user wants otherwise.
    fn settle(self) -> (Settings, Program) {
        let Self { registry, seed, edition, wishes, clients, last } = self;
        let mut settings = Settings::of_edition(seed, edition);
        settings.registry = registry;
        // What they react to is not there.
        (settings.policy, settings.shared) = (false, false);
        settings.duration = Duration::from_secs(20);
        wishes.into_iter().for_each(|wish| wish(&mut settings));
        (settings, Program { clients, last })
    }
}

/// What the clients of a trial do.
struct Program {
    clients: Vec<Work>,
    last: Option<Work>,
}

impl Program {
    fn run_in(self, world: &mut World, settings: Settings) -> Result<(), TrialFailed> {
        let Self { clients, last } = self;
        let mut entropy = SeededEntropy::new(settings.seed ^ 0x7A1A);
        for machine in 0..world.machines() {
            world.start(machine);
        }
        if !world.run_until(FORMING, all_shards_served) {
            let trace = shown(world);
            return Err(TrialFailed::NotFormed { seed: settings.seed, trace });
        }
        let mut schedule = Schedule::new(&settings, entropy.next_u64(), world.now());
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|work| begin(world, work, &settings, entropy.next_u64()))
            .collect();
        let until = world.now() + settings.duration;
        while world.now() < until {
            schedule.act(world);
            world.tick();
        }
        schedule.heal(world);
        finish(world, tasks, &settings)?;
        if let Some(work) = last {
            let task = begin(world, work, &settings, entropy.next_u64());
            finish(world, vec![task], &settings)?;
        }
        judge_logs(world, &settings)
    }
}

/// Judges what stands on the disks. What clients were told is theirs to judge.
fn judge_logs(world: &mut World, settings: &Settings) -> Result<(), TrialFailed> {
    let mut history = History::default();
    // A copy that cannot be read at this moment, because its disk is being replaced, is no copy.
    let _ = observe(world, settings.shards, &mut history);
    for sample in std::mem::take(&mut world.samples) {
        // A full history is judged as far as it goes.
        let _ = history.observe_sample(sample);
    }
    // Without the entity types: not every state of a user's can be shown, and compared, as JSON.
    let rules = Rules { limits: settings.limits.clone(), ..Rules::default() };
    let report = judge(&history, &rules);
    if report.holds() {
        return Ok(());
    }
    let (seed, findings) = (settings.seed, report.to_string());
    Err(TrialFailed::Logs { seed, findings, trace: shown(world) })
}

fn begin(world: &World, work: Work, settings: &Settings, seed: u64) -> JoinHandle<()> {
    let guest = Guest::new(world, settings.limits.ask_timeout, seed);
    world.callers().spawn(work(guest))
}

/// Waits for the clients and hears whether what they assert holds.
fn finish(
    world: &mut World,
    tasks: Vec<JoinHandle<()>>,
    settings: &Settings,
) -> Result<(), TrialFailed> {
    let (seed, waited) = (settings.seed, settings.recovery);
    let done = world.run_until(waited, |_| tasks.iter().all(JoinHandle::is_finished));
    if !done {
        let clients = tasks.iter().filter(|task| !task.is_finished()).count();
        let trace = shown(world);
        return Err(TrialFailed::Unfinished { seed, clients, waited, trace });
    }
    for task in tasks {
        if let Some(Err(error)) = futures::FutureExt::now_or_never(task) {
            let what = error.to_string();
            return Err(TrialFailed::Client { seed, what, trace: shown(world) });
        }
    }
    Ok(())
}

fn shown(world: &World) -> String {
    let lines = world.trace().lines();
    let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
    let edition = world.edition;
    format!(
        "{last}\nthis was a world of edition {edition}, which `Trial::edition` keeps for a seed; {AGAIN}"
    )
}

#[cfg(test)]
mod tests;
