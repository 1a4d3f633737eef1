//! The floor under every actor library on tokio: a task per core that owns its share of the states, a channel in, a one-shot channel back.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::measure::{Measured, bytes_each};
use crate::work::{Plan, asks_per_second};

struct Increase {
    entity: usize,
    reply: oneshot::Sender<u64>,
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Measured> {
    super::in_tokio(async move {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let owners: Arc<[_]> = (0..cores).map(|_| owner(plan.entities)).collect();
        let entities: Arc<[_]> =
            (0..plan.entities).map(|entity| (owners[entity % cores].clone(), entity)).collect();
        let asks_per_second = asks_per_second(plan, entities, |entities, index| async move {
            let (owner, entity) = &entities[index];
            let (reply, answer) = oneshot::channel();
            // Whoever does not take it drops the reply, which the next line sees.
            _ = owner.send(Increase { entity: *entity, reply }).await;
            answer.await.expect("the owner runs")
        })
        .await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || vec![1_u64; plan.idle]).await?;
        drop(std::hint::black_box(idle));
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}

fn owner(entities: usize) -> mpsc::Sender<Increase> {
    let (sender, mut asked) = mpsc::channel(8_192);
    let mut states = vec![0_u64; entities];
    tokio::spawn(async move {
        while let Some(Increase { entity, reply }) = asked.recv().await {
            states[entity] += 1;
            // A caller that was stopped at the end of the run wants no answer.
            _ = reply.send(states[entity]);
        }
    });
    sender
}
