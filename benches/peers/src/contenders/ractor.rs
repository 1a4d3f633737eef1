//! ractor: an actor for each entity, each a task of tokio.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};

use crate::measure::{Measured, bytes_each};
use crate::work::{Plan, asks_per_second};

struct Counter;

enum Asked {
    Increase(RpcReplyPort<u64>),
}

// With its network, ractor asks this of every message, also of those that stay.
#[cfg(feature = "remote")]
impl ractor::Message for Asked {}

impl Actor for Counter {
    type Msg = Asked;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Asked>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Asked>,
        Asked::Increase(reply): Asked,
        value: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *value += 1;
        // A caller that was stopped at the end of the run wants no answer.
        _ = reply.send(*value);
        Ok(())
    }
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Measured> {
    super::in_tokio(async move {
        let start = async |count: usize| -> Arc<[ActorRef<Asked>]> {
            let mut counters = Vec::with_capacity(count);
            for _ in 0..count {
                let (counter, _) = Actor::spawn(None, Counter, ()).await.expect("it starts");
                call!(counter, Asked::Increase).expect("it was just started");
                counters.push(counter);
            }
            counters.into()
        };
        let counters = start(plan.entities).await;
        let asks_per_second = asks_per_second(plan, counters, |counters, index| async move {
            call!(counters[index], Asked::Increase).expect("it runs")
        })
        .await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || start(plan.idle).await).await?;
        drop(idle);
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}
