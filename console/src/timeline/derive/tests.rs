//! A kill as three witnesses tell it.

use super::*;
use crate::views::{MemberDocument, ShardDocument};

fn view(second: &str, leaders: [u64; 4]) -> ClusterDocument {
    let member = |id: u64, state: &str| MemberDocument {
        id,
        name: format!("holm-{id}"),
        state: state.into(),
        ..MemberDocument::default()
    };
    let shards = (0..).zip(leaders).map(|(id, leader)| ShardDocument {
        id,
        leader: Some(leader),
        leader_name: Some(format!("holm-{leader}")),
        state: "serving".into(),
        ..ShardDocument::default()
    });
    ClusterDocument {
        members: vec![member(1, "up"), member(2, second), member(3, "up")],
        shards: shards.collect(),
        ..ClusterDocument::default()
    }
}

fn picture(at_us: u64, node: u64, view: ClusterDocument) -> Picture {
    Picture { at_us, node: format!("holm-{node}"), view }
}

fn probe(shard: u32, sent_us: u64, ended_us: u64) -> Probed {
    Probed { shard, sent_us, ended_us, error: None }
}

fn kill() -> Testimony {
    let before = view("up", [1, 2, 2, 3]);
    Testimony {
        before: before.clone(),
        pictures: vec![
            picture(900, 1, before.clone()),
            picture(900, 3, before),
            picture(6_000, 1, view("suspect", [1, 2, 2, 3])),
            picture(9_000, 3, view("suspect", [1, 2, 2, 3])),
            picture(500_000, 1, view("down", [1, 1, 2, 3])),
            picture(510_000, 3, view("down", [1, 1, 3, 3])),
        ],
        probed: ProbeKind::Write,
        probes: vec![
            probe(1, 500, 600),
            probe(0, 1_500, 2_500),
            probe(1, 1_500, 601_000),
            probe(1, 550_000, 551_000),
            probe(2, 1_500, 701_000),
            probe(3, 1_500, 3_000),
        ],
        reports: Vec::new(),
        act_us: 1_000,
        witnesses: 2,
    }
}

#[test]
fn a_kill_is_told_in_order() {
    let document = timeline(Act::Kill { graceful: false }, "holm-2", 7, &kill());
    let told: Vec<_> =
        document.moments.iter().map(|it| (it.after_ms as u64, it.text.as_str())).collect();
    assert_eq!(
        told,
        [
            (0, "holm-2 killed"),
            (5, "holm-1 sees holm-2 suspect"),
            (8, "all 2 others see holm-2 suspect"),
            (499, "holm-1 sees holm-2 down"),
            (509, "all 2 others see holm-2 down"),
            (509, "2 shards reassigned: 1 to holm-1, 1 to holm-3"),
            (700, "4 of 4 shards answer a write"),
        ]
    );
    assert_eq!((document.shards, document.shards_moved), (4, 2));
    assert_eq!(document.all_serving_ms, Some(700.0));
    // Shard 1 first answered the probe that was sent last.
    let waits = document.unavailable.unwrap();
    assert_eq!((waits.min_ms, waits.max_ms), (550.0, 700.0));
}

#[test]
fn where_nothing_can_be_written_no_write_is_claimed() {
    let seen = Testimony { probed: ProbeKind::Read, ..kill() };
    let document = timeline(Act::Kill { graceful: false }, "holm-2", 7, &seen);
    assert_eq!(document.moments.last().unwrap().text, "4 of 4 shards answer a read");
    assert_eq!(document.probed, ProbeKind::Read);
}

#[test]
fn a_shard_that_never_answers_leaves_the_end_open() {
    let mut seen = kill();
    seen.probes.retain(|probe| probe.shard != 2);
    seen.probes.push(Probed { error: Some("lost".into()), ..probe(2, 1_500, 9_000_000) });
    let document = timeline(Act::Kill { graceful: false }, "holm-2", 7, &seen);
    assert_eq!(document.all_serving_ms, None);
    assert_eq!((document.probe_errors, document.first_probe_error.as_deref()), (1, Some("lost")));
}

#[test]
fn commands_of_the_gap_are_the_difference_of_the_sums() {
    let report = |at_us, total_sent, total_answered, p99_us| LoadReport {
        at_us,
        total_sent,
        total_answered,
        p99_us,
        ..LoadReport::default()
    };
    let mut seen = kill();
    seen.reports = vec![
        report(800, 100, 100, 3_000),
        report(200_000, 140, 120, 4_000),
        report(800_000, 300, 299, 600_000),
        report(1_000_000, 340, 340, 3_000),
    ];
    let document = timeline(Act::Kill { graceful: false }, "holm-2", 7, &seen);
    assert_eq!(
        document.commands,
        Some(GapCommands { sent: 240, answered: 240, failed: 0, waiting: 0 })
    );
    assert_eq!(document.moments.last().unwrap().text, "p99 back under 10 ms");
}

#[test]
fn a_node_that_comes_back_is_seen_up() {
    let mut seen = kill();
    seen.before = view("down", [1, 1, 3, 3]);
    seen.pictures = vec![
        picture(900, 1, seen.before.clone()),
        picture(200_000, 1, view("up", [1, 1, 3, 3])),
        picture(220_000, 3, view("up", [1, 2, 3, 3])),
    ];
    let document = timeline(Act::Restart, "holm-2", 8, &seen);
    let told: Vec<_> = document.moments.iter().map(|it| it.text.as_str()).collect();
    assert!(
        told.contains(&"holm-1 sees holm-2 up") && told.contains(&"all 2 others see holm-2 up")
    );
    assert_eq!((document.shards_moved, document.unavailable), (1, None));
}
