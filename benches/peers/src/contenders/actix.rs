//! actix: an actor for each entity, spread over an arbiter per core.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, Handler, Message, System};

use crate::measure::{Measured, bytes_each};
use crate::work::{Caller, Plan, asks_from, in_tokio};

#[derive(Default)]
struct Counter {
    value: u64,
}

#[derive(Message)]
#[rtype(u64)]
struct Increase;

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Increase> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Increase, _: &mut Self::Context) -> u64 {
        self.value += 1;
        self.value
    }
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Measured> {
    measured(plan, |_, nth, caller| in_tokio(nth, caller))
}

/// The same from the threads of the actors, as actors ask each other; half of what a caller asks is on another.
pub(super) fn near(plan: &Plan) -> anyhow::Result<Measured> {
    measured(plan, |arbiters, nth, caller| {
        // It is refused only by an arbiter that has stopped, and then the figure is an error.
        _ = arbiters[nth % arbiters.len()].spawn(caller);
    })
}

fn measured(
    plan: &Plan,
    spawn: impl Fn(&[ArbiterHandle], usize, Caller),
) -> anyhow::Result<Measured> {
    let arbiters = arbiters()?;
    super::in_tokio(async move {
        let start = async |count: usize| -> Arc<[Addr<Counter>]> {
            let place = |index: usize| &arbiters[index % arbiters.len()];
            let addresses = (0..count)
                .map(|index| Counter::start_in_arbiter(place(index), |_| Counter::default()));
            let addresses: Arc<[_]> = addresses.collect();
            for address in addresses.iter() {
                address.send(Increase).await.expect("it was just started");
            }
            addresses
        };
        let counters = start(plan.entities).await;
        let asks_per_second = asks_from(
            plan,
            counters,
            |counters, index| async move { counters[index].send(Increase).await.expect("it runs") },
            |nth, caller| spawn(&arbiters, nth, caller),
        )
        .await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || start(plan.idle).await).await?;
        drop(idle);
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}

/// One for each core, in a system that runs until the program ends.
#[expect(clippy::disallowed_methods, reason = "this contender is actix itself")]
fn arbiters() -> anyhow::Result<Vec<ArbiterHandle>> {
    let (send, arbiters) = std::sync::mpsc::sync_channel(1);
    // The system has a thread of its own; whoever asks from elsewhere is on tokio's workers, as in a service.
    std::thread::Builder::new().name("actix-system".to_owned()).spawn(move || {
        let system = System::new();
        system.block_on(async move {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let arbiters: Vec<_> = (0..cores).map(|_| Arbiter::new()).collect();
            // The other side is gone only when the program ends.
            _ = send.send(arbiters.iter().map(Arbiter::handle).collect::<Vec<_>>());
            std::future::pending::<()>().await;
        });
    })?;
    Ok(arbiters.recv()?)
}
