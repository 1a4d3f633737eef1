//! Holm: a node by itself on a directory of its own, as [`holm::Holm::builder`] makes it.

use std::sync::Arc;

use holm::{EntityRef, Holm};

use super::IN_FLIGHT;
use crate::counter::{Counter, Increase, Value};
use crate::work::{Plan, rates};

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let dir = plan.scratch()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let holm = Holm::builder().entity::<Counter>().data_dir(dir.path()).start().await?;
        let counters: Arc<[EntityRef<Counter>]> =
            (0..plan.entities).map(|index| holm.entity(index.to_string())).collect();
        for counter in counters.iter() {
            counter.ask(Value {}).await?;
        }
        let rates = rates(plan, &IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].ask(Increase {}).await?)
        })
        .await;
        holm.shutdown().await;
        rates
    })
}
