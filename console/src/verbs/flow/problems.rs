//! A flow without what went well: the steps that were rejected or failed, and the causes above them.

use crate::views::FlowDocument;

/// Keeps these only. The counts in the head stay those of the whole flow.
pub(super) fn keep_only(flow: &mut FlowDocument) {
    let mut kept: Vec<bool> = flow.steps.iter().map(|step| step.outcome != "accepted").collect();
    // A step stands behind its cause, so each is decided before its cause is.
    for index in (0..flow.steps.len()).rev() {
        if let Some(parent) = flow.steps[index].parent.filter(|parent| *parent < index) {
            kept[parent] |= kept[index];
        }
    }
    let mut places = Vec::with_capacity(kept.len());
    let mut next = 0;
    for is_kept in &kept {
        places.push(next);
        next += usize::from(*is_kept);
    }
    let mut keeps = kept.iter().copied();
    flow.steps.retain(|_| keeps.next().unwrap_or(false));
    for step in &mut flow.steps {
        step.parent = step.parent.and_then(|parent| places.get(parent).copied());
    }
    flow.awaited.clear();
    flow.moves.retain_mut(|it| match it.step {
        Some(step) if kept.get(step) == Some(&true) => {
            it.step = places.get(step).copied();
            true
        }
        _ => false,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{FlowStepDocument, MoveDocument};

    #[test]
    fn what_went_well_is_left_out_and_the_rest_still_hangs_together() {
        let step = |parent: Option<usize>, outcome: &str| FlowStepDocument {
            parent,
            outcome: outcome.to_owned(),
            ..FlowStepDocument::default()
        };
        let (well, badly) = ("accepted", "rejected");
        let steps = vec![
            step(None, well),
            step(Some(0), well),
            step(Some(0), well),
            step(Some(2), badly),
            step(Some(3), well),
            step(None, "failed"),
        ];
        let moved = |step| MoveDocument { step, ..MoveDocument::default() };
        let moves = vec![moved(Some(1)), moved(Some(3)), moved(None)];
        let mut flow = FlowDocument { steps, moves, ..FlowDocument::default() };
        keep_only(&mut flow);
        let left: Vec<_> = flow.steps.iter().map(|it| (it.parent, &*it.outcome)).collect();
        assert_eq!(left, [(None, well), (Some(0), well), (Some(1), badly), (None, "failed")]);
        assert_eq!(flow.moves, [moved(Some(2))], "at the step that it held up");
    }
}
