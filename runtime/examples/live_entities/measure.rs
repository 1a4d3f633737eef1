//! Drives one shard engine over a log that forgets, so that nothing but the engine takes memory, and reads the process's own size.

use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Limits,
    NodeId, Offset, SeededEntropy, ShardId, Term, Timestamp,
};
use holm_persistence::{History, encode};
use holm_runtime::engine::{EngineOptions, Loaded, Output, ShardEngine};
use holm_runtime::{
    Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection, Registry,
};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
    last: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum CounterEvent {
    Increased { by: u64 },
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Increase {
    by: u64,
}

impl Entity for Counter {
    const TYPE: &'static str = "counter";
    type Event = CounterEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &CounterEvent) {
        let CounterEvent::Increased { by } = event;
        (self.value, self.last) = (self.value + by, *by);
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Increase>();
    }
}

impl Handle<Increase> for Counter {
    fn handle(
        &self,
        command: Increase,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        Ok(cx.persist(CounterEvent::Increased { by: command.by }).reply(|counter| counter.value))
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) live: u64,
    pub(crate) state_bytes: usize,
    pub(crate) grown: u64,
    pub(crate) passivated: u64,
    pub(crate) left_behind: u64,
}

impl Measured {
    /// Bytes that each live entity takes, less its state.
    pub(crate) fn bytes_beyond_state(&self) -> f64 {
        self.grown as f64 / self.live as f64 - self.state_bytes as f64
    }
}

/// Brings `live` entities to life with so many commands each, whose keys they remember, then `passivated` others, of which each takes the place of one before
/// it.
pub(crate) fn measure(live: usize, keys: usize, passivated: usize) -> std::io::Result<Measured> {
    let mut limits = Limits::default();
    limits.live_entities = live;
    let mut shard = Shard::new(limits);
    // What the engine and the allocator take once is not the entities'.
    shard.command(0);
    let before = resident_bytes()?;
    (1..live).for_each(|number| (0..keys).for_each(|_| shard.command(number)));
    let full = resident_bytes()?;
    (live..live + passivated).for_each(|number| shard.command(number));
    let counters = shard.engine.counters();
    Ok(Measured {
        live: counters.live,
        state_bytes: size_of::<Counter>(),
        grown: full.saturating_sub(before),
        passivated: counters.passivations_limit,
        left_behind: resident_bytes()?.saturating_sub(full),
    })
}

struct Shard {
    engine: ShardEngine<()>,
    entropy: SeededEntropy,
    now: Timestamp,
    payload: Bytes,
}

impl Shard {
    fn new(limits: Limits) -> Self {
        let engine = ShardEngine::new(EngineOptions {
            shard: ShardId(0),
            term: Term(1),
            last: Offset::ZERO,
            node: NodeId(1),
            registry: Registry::new().entity::<Counter>(),
            limits,
            anticipated_turns: 0,
            entropy_seed: 1,
        });
        let payload = encode(&Increase { by: 1 }).expect("a number can be encoded");
        Self { engine, entropy: SeededEntropy::new(1), now: Timestamp::EPOCH, payload }
    }

    fn command(&mut self, number: usize) {
        let id = format!("counter-{number}");
        let envelope = CommandEnvelope {
            address: EntityAddress::new("counter", id).expect("a well-formed address"),
            command: Increase::NAME.into(),
            payload: self.payload.clone(),
            key: IdempotencyKey::generate(&mut self.entropy),
            id: CommandId(1),
            correlation: CorrelationId(1),
            causation: CausationId(1),
            deadline: self.now.plus(Duration::from_secs(1)),
        };
        self.engine.submit(self.now, envelope, ());
        loop {
            self.engine.flush(2);
            let Some(output) = self.engine.poll_output() else { return };
            match output {
                Output::Append(_) => self.engine.durable(self.now),
                Output::Load(request) => {
                    let (snapshot, history) = (None, History::default());
                    let loaded = Loaded::Start { snapshot, history, newest: None };
                    self.engine.loaded(self.now, request.ticket, Ok(loaded));
                }
                Output::Answer((), answer) => drop(answer.expect("nothing fails here")),
                _ => {}
            }
        }
    }
}

/// The memory of this process that is really there.
fn resident_bytes() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes
        .map(|kib| kib * 1024)
        .ok_or_else(|| std::io::Error::other("no VmRSS in /proc/self/status"))
}
