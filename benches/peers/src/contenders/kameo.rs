//! kameo: an actor for each entity, each a task of tokio with the bounded mailbox that is its default.

use std::sync::Arc;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::message::{Context, Message};

use crate::measure::{Measured, bytes_each};
use crate::work::{Plan, asks_per_second};

#[derive(Actor, Default)]
struct Counter {
    value: u64,
}

struct Increase;

impl Message<Increase> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Increase, _: &mut Context<Self, u64>) -> u64 {
        self.value += 1;
        self.value
    }
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Measured> {
    super::in_tokio(async move {
        let start = async |count: usize| -> Arc<[ActorRef<Counter>]> {
            let counters: Arc<[_]> =
                (0..count).map(|_| Counter::spawn(Counter::default())).collect();
            for counter in counters.iter() {
                counter.ask(Increase).await.expect("it was just started");
            }
            counters
        };
        let counters = start(plan.entities).await;
        let asks_per_second = asks_per_second(plan, counters, |counters, index| async move {
            counters[index].ask(Increase).await.expect("it runs")
        })
        .await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || start(plan.idle).await).await?;
        drop(idle);
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}
