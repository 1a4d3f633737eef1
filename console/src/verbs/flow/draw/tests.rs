//! What a flow looks like.

use serde_json::json;

use super::*;
use crate::output::Color;
use crate::views::{FlowProjectionDocument, MoveDocument, SearchedDocument};

fn step(parent: Option<usize>, depth: usize, after_ms: u64, what: &str) -> FlowStepDocument {
    let (command, entity) = what.split_once(' ').unwrap();
    FlowStepDocument {
        parent,
        depth,
        origin: if parent.is_some() { "caused" } else { "outside" }.to_owned(),
        after_ms,
        gap_ms: parent.map(|_| 2),
        entity: entity.to_owned(),
        node: Some("holm-1".to_owned()),
        attempt: 1,
        shard: 3,
        command: command.to_owned(),
        base_seq: 7,
        seq: 8,
        outcome: "accepted".to_owned(),
        ..FlowStepDocument::default()
    }
}

fn happened(mut step: FlowStepDocument, event: &str, data: serde_json::Value) -> FlowStepDocument {
    step.events.push(RecordedEvent { event: event.to_owned(), data });
    step
}

fn transfer() -> FlowDocument {
    let mut frozen = step(Some(0), 1, 6, "deposit account/90017");
    (frozen.outcome, frozen.message) = ("rejected".to_owned(), "the account is frozen".to_owned());
    let mut late = step(None, 0, 84, "notify mail/1");
    (late.origin, late.causation_id) = ("missing".to_owned(), "019aa1c3-0000".to_owned());
    (late.outcome, late.message) = ("failed".to_owned(), "panicked: no route".to_owned());
    let mut noted = step(Some(1), 2, 4, "note book/1");
    (noted.way, noted.attempt, noted.node) = ("answer".to_owned(), 2, None);
    noted.leader = Some("holm-2".to_owned());
    let deadline = AwaitedDocument {
        parent: 0,
        entity: "transfer/8841".to_owned(),
        command: "deadline".to_owned(),
        due: Some("2026-11-20T16:21:37.015Z".to_owned()),
        due_after_ms: Some(30_000),
    };
    let moved = |shard, after_ms, step| MoveDocument {
        shard,
        from: "holm-2".to_owned(),
        to: "holm-1".to_owned(),
        after_ms,
        step,
        ..MoveDocument::default()
    };
    let seen = |name: &str, node: &str, passed| FlowProjectionDocument {
        name: name.to_owned(),
        node: node.to_owned(),
        state: "running".to_owned(),
        passed,
        commands: 6,
    };
    FlowDocument {
        awaited: vec![deadline],
        moves: vec![moved(3, 38, Some(3)), moved(9, 50, None)],
        projections: vec![
            seen("totals", "holm-1", 6),
            seen("totals", "holm-2", 4),
            seen("totals", "holm-3", 6),
        ],
        correlation_id: "019aa1c3-7d52-7e10-9a44-1f2b83cc0d11".to_owned(),
        trace_id: "019aa1c37d527e109a441f2b83cc0d11".to_owned(),
        root: "transfer/8841".to_owned(),
        last_event: Some("TurnedBack".to_owned()),
        lasted_ms: 84,
        entities: 4,
        events: 3,
        rejected: 1,
        failed: 1,
        steps: vec![
            happened(step(None, 0, 0, "start transfer/8841"), "Started", json!({})),
            happened(
                step(Some(0), 1, 2, "withdraw account/55120"),
                "Withdrawn",
                json!({"amount": 60}),
            ),
            noted,
            frozen,
            happened(
                step(Some(3), 2, 8, "refund account/55120"),
                "Deposited",
                json!({"amount": 60}),
            ),
            late,
        ],
        ..FlowDocument::default()
    }
}

#[test]
fn a_flow_is_drawn_as_a_tree() {
    let output = Output::new(false, false, Color::Never);
    let expected = "\
flow 019aa1c3-7d52-7e10-9a44-1f2b83cc0d11   transfer/8841 TurnedBack   ✕ 1 failed, 1 rejected   6 commands   4 entities   3 events   84 ms   trace 019aa1c37d527e109a441f2b83cc0d11

     0 ms  ▷ start   transfer/8841   holm-1   shard 3
           │  ✓ Started   seq 8
   30.0 s  ├─ ⧖ deadline   transfer/8841   timer, no record of it yet
     2 ms  ├─ ▷ withdraw   account/55120   holm-1   shard 3   +2 ms
           │  │  ✓ Withdrawn   amount 60   seq 8
     4 ms  │  └─ ◁ note   book/1   holm-2 now   shard 3   +2 ms   answer   attempt 2
           │        ✓ changed nothing   seq 8
     6 ms  └─ ▷ deposit   account/90017   holm-1   shard 3   +2 ms
    38 ms     │  ⇢ shard 3 moved meanwhile   from holm-2 to holm-1
              │  ✕ rejected   the account is frozen
     8 ms     └─ ▷ refund   account/55120   holm-1   shard 3   +2 ms
                    ✓ Deposited   amount 60   seq 8
    84 ms  ▷ notify   mail/1   holm-1   shard 3   its cause 019aa1c3-0000 was not found
              ✕ failed   panicked: no route

  ✓ projection totals caught up to all of it   holm-1, holm-3
  ▲ projection totals has seen 4 of 6 commands, and is running   holm-2

  ▲ where the log does not say who handled a command, who leads now is named
  ▲ shard 9 moved from holm-2 to holm-1 meanwhile, after 50 ms

  One entity   holm show transfer/8841     as JSON   --json     only problems   --failed";
    // A test may run where the locale knows no UTF-8.
    if !output.is_ascii() {
        assert_eq!(lines(&transfer(), output).join("\n"), expected);
    }
    let ascii = lines(&transfer(), Output::new(false, true, Color::Never)).join("\n");
    assert!(ascii.is_ascii() && ascii.contains("|  `- < note   book/1"), "{ascii}");
}

#[test]
fn what_is_missing_is_said() {
    let searched = SearchedDocument {
        until: Some("2026-11-20T16:21:07.015Z".to_owned()),
        searched_shards: 4,
        goes_on: true,
        unread_shards: vec![2, 5],
        unfinished_shards: 1,
        ..SearchedDocument::default()
    };
    let flow = FlowDocument { left_out: 3, moves_unknown: true, searched, ..transfer() };
    let text = lines(&flow, Output::new(false, true, Color::Never)).join("\n");
    for said in [
        "3 later",
        "4 shards were searched",
        "whether shards moved",
        "correlation_index = true",
        "shards 2, 5",
        "short for 1 shards",
        "until 2026-11-20T16:21:07.015Z",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// Promise G9: however deep a chain is, its lines stay short.
#[test]
fn a_deep_chain_stays_readable() {
    let chain = (0..500)
        .map(|nth: usize| step(nth.checked_sub(1), nth, nth as u64, &format!("go step/{nth}")));
    let flow = FlowDocument { steps: chain.collect(), ..FlowDocument::default() };
    let lines = lines(&flow, Output::new(false, true, Color::Never));
    assert!(lines.iter().all(|line| line.len() < 160));
    assert!(
        lines.iter().any(|line| line.ends_with("step/499   holm-1   shard 3   +2 ms   depth 499"))
    );
}
