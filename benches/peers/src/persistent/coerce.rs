//! coerce: a persistent actor for each entity, which persists each message before it applies it. Of its journals this is the one in memory.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::{Handler, Message, MessageUnwrapErr, MessageWrapErr};
use coerce::actor::system::ActorSystem;
use coerce::actor::{IntoActor, LocalActorRef};
use coerce::persistent::journal::provider::inmemory::InMemoryStorageProvider;
use coerce::persistent::types::JournalTypes;
use coerce::persistent::{PersistErr, Persistence, PersistentActor, Recover};
use serde::{Deserialize, Serialize};

use super::IN_FLIGHT;
use crate::work::{Plan, rates};

#[derive(Default)]
struct Counter {
    value: u64,
}

/// What is asked and what is journaled, as JSON, which is what the library's own derive writes.
#[derive(Serialize, Deserialize)]
struct Increase {}

impl Message for Increase {
    type Result = Result<u64, PersistErr>;

    fn as_bytes(&self) -> Result<Vec<u8>, MessageWrapErr> {
        serde_json::to_vec(self).map_err(|_| MessageWrapErr::SerializationErr)
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, MessageUnwrapErr> {
        serde_json::from_slice(&bytes).map_err(|_| MessageUnwrapErr::DeserializationErr)
    }
}

#[async_trait]
impl PersistentActor for Counter {
    fn configure(types: &mut JournalTypes<Self>) {
        types.message::<Increase>("increase");
    }
}

#[async_trait]
impl Handler<Increase> for Counter {
    async fn handle(
        &mut self,
        message: Increase,
        context: &mut ActorContext,
    ) -> Result<u64, PersistErr> {
        self.persist(&message, context).await?;
        self.value += 1;
        Ok(self.value)
    }
}

#[async_trait]
impl Recover<Increase> for Counter {
    async fn recover(&mut self, _: Increase, _: &mut ActorContext) {
        self.value += 1;
    }
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let persistence = Persistence::from(InMemoryStorageProvider::new());
        let system = ActorSystem::new().to_persistent(persistence);
        let mut counters = Vec::with_capacity(plan.entities);
        for index in 0..plan.entities {
            counters.push(Counter::default().into_actor(Some(index), &system).await?);
        }
        let counters: Arc<[LocalActorRef<Counter>]> = counters.into();
        rates(plan, &IN_FLIGHT, counters, |counters, index| async move {
            counters[index].send(Increase {}).await?.context("the journal took it not")
        })
        .await
    })
}
