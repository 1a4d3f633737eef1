//! Which projections have seen a flow: their positions, as the nodes tell them, against the places of its steps.

use std::collections::BTreeMap;

use crate::cli::Global;
use crate::output::Failure;
use crate::verbs::LOOK_TIMEOUT;
use crate::views::{FlowDocument, FlowProjectionDocument, ProjectionDocument};

/// Asks every known node. One that does not answer is left out: it may be gone, and the flow is shown all the same.
pub(super) async fn ask(
    global: &Global,
    flow: &FlowDocument,
) -> Result<Vec<FlowProjectionDocument>, Failure> {
    let clients = global.patient_clients(Some(LOOK_TIMEOUT))?;
    let asked = clients.iter().map(|client| client.projection_positions());
    let answers = futures::future::join_all(asked).await;
    let rows = answers.into_iter().flatten().flat_map(|answer| answer.body.projections);
    let mut seen: Vec<_> = rows.filter_map(|row| judge(flow, row)).collect();
    seen.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    // Two addresses may be those of one node.
    seen.dedup_by(|a, b| (&a.name, &a.node) == (&b.name, &b.node));
    Ok(seen)
}

/// None where the node does not tell places.
fn judge(flow: &FlowDocument, row: ProjectionDocument) -> Option<FlowProjectionDocument> {
    let places = row.positions?.into_iter();
    let positions: BTreeMap<u32, u64> = places.map(|it| (it.shard, it.offset)).collect();
    let place = |shard: u32| positions.get(&shard).copied().unwrap_or_default();
    let passed = flow.steps.iter().filter(|step| place(step.shard) >= step.offset).count();
    let (name, node, state) = (row.name, row.node, row.state);
    Some(FlowProjectionDocument { name, node, state, passed, commands: flow.steps.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{FlowStepDocument, PlaceDocument};

    #[test]
    fn what_lies_behind_a_position_was_seen() {
        let step =
            |shard, offset| FlowStepDocument { shard, offset, ..FlowStepDocument::default() };
        let steps = vec![step(0, 4), step(0, 7), step(3, 1)];
        let flow = FlowDocument { steps, ..FlowDocument::default() };
        let row = |positions: Option<&[(u32, u64)]>| ProjectionDocument {
            positions: positions.map(|places| {
                places
                    .iter()
                    .map(|(shard, offset)| PlaceDocument { shard: *shard, offset: *offset })
                    .collect()
            }),
            ..ProjectionDocument::default()
        };
        let passed = |places| judge(&flow, row(Some(places))).map(|it| (it.passed, it.commands));
        assert_eq!(passed(&[(0, 7), (3, 1)]), Some((3, 3)));
        assert_eq!(passed(&[(0, 6), (1, 9)]), Some((1, 3)));
        assert_eq!(passed(&[]), Some((0, 3)));
        assert_eq!(judge(&flow, row(None)), None, "an older node tells no places");
    }
}
