//! coerce: an actor for each entity in one local system.

use std::sync::Arc;

use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::{Handler, Message};
use coerce::actor::system::ActorSystem;
use coerce::actor::{Actor, IntoActor, LocalActorRef};

use crate::measure::{Measured, bytes_each};
use crate::work::{Plan, asks_per_second};

#[derive(Default)]
struct Counter {
    value: u64,
}

struct Increase;

impl Message for Increase {
    type Result = u64;
}

#[async_trait]
impl Actor for Counter {}

#[async_trait]
impl Handler<Increase> for Counter {
    async fn handle(&mut self, _: Increase, _: &mut ActorContext) -> u64 {
        self.value += 1;
        self.value
    }
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Measured> {
    super::in_tokio(async move {
        let system = ActorSystem::new();
        let start = async |prefix: &str, count: usize| -> Arc<[LocalActorRef<Counter>]> {
            let mut counters = Vec::with_capacity(count);
            for index in 0..count {
                let id = format!("{prefix}-{index}");
                let counter = Counter::default().into_actor(Some(id), &system).await;
                let counter = counter.expect("it starts");
                counter.send(Increase).await.expect("it was just started");
                counters.push(counter);
            }
            counters.into()
        };
        let counters = start("asked", plan.entities).await;
        let asks_per_second = asks_per_second(plan, counters, |counters, index| async move {
            counters[index].send(Increase).await.expect("it runs")
        })
        .await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || start("idle", plan.idle).await).await?;
        drop(idle);
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}
