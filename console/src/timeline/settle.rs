//! When a watched act is over: every witness sees what the act should bring about, every shard answers, the process did what was meant.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::derive::led_by;
use super::probe::Probes;
use super::verbs::Act;
use super::watch::Watch;
use crate::dev::control::Control;
use crate::dev::state::ProcessState;
use crate::dev::verbs::unanswered;
use crate::load::LoadReport;
use crate::output::Failure;
use crate::views::{ClusterDocument, ShardDocument};

/// Between two looks at whether it is over.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the load's latency is watched for after everything else is well.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Waits until the cluster is where the act should bring it; false when the limit passed first.
pub(super) async fn wait(
    act: Act,
    node: &str,
    (watch, probes): (&Watch, &Probes),
    act_us: u64,
    within: Duration,
    control: &mut Control,
) -> Result<bool, Failure> {
    let end = Instant::now() + within;
    loop {
        let pictures = watch.newest();
        let settled = pictures.len() == watch.witnesses()
            && pictures.iter().all(|it| is_settled(act, node, &it.view))
            && probes.all_answered(act_us);
        if settled && ended_as_it_should(act, node, control).await? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_settled(act: Act, node: &str, view: &ClusterDocument) -> bool {
    let served = view.shards.iter().all(ShardDocument::is_served);
    let state = view.members.iter().find(|it| it.name == node).map(|it| it.state.as_str());
    let placed = match act {
        Act::Kill { .. } | Act::Pause => state != Some("up") && led_by(view, node).is_empty(),
        Act::Leave => matches!(state, None | Some("left")) && led_by(view, node).is_empty(),
        Act::Restart | Act::Resume => state == Some("up"),
        // A node that joined is settled when it leads its share, or at least something.
        Act::Join => state == Some("up") && !led_by(view, node).is_empty(),
    };
    served && placed
}

/// A process that was to end has ended; one that was to start has said that it is ready.
async fn ended_as_it_should(act: Act, node: &str, control: &mut Control) -> Result<bool, Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let Some(now) = status.node(node) else { return Ok(false) };
    Ok(match act {
        Act::Kill { .. } | Act::Leave => now.node.pid == 0,
        Act::Pause => now.state == ProcessState::Paused,
        Act::Restart | Act::Resume | Act::Join => now.state == ProcessState::Up,
    })
}

/// The load's reports, once one after the recovery shows that it is well, or some seconds later.
pub(super) async fn aftermath(
    control: &mut Control,
    act_us: u64,
) -> Result<Vec<LoadReport>, Failure> {
    let end = Instant::now() + AFTERMATH;
    loop {
        let status = control.status().await.map_err(unanswered)?;
        let Some(load) = status.load.filter(|load| load.pid != 0) else { return Ok(Vec::new()) };
        let last = load.reports.last();
        let well = last.is_some_and(|it| it.at_us > act_us && it.p99_us < 10_000 && it.sent > 0);
        if well || Instant::now() >= end {
            return Ok(load.reports);
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::MemberDocument;

    fn view(state: &str, leader: &str, shard_state: &str) -> ClusterDocument {
        ClusterDocument {
            members: vec![MemberDocument {
                name: "a".into(),
                state: state.into(),
                ..MemberDocument::default()
            }],
            shards: vec![ShardDocument {
                leader: Some(1),
                leader_name: Some(leader.into()),
                state: shard_state.into(),
                ..ShardDocument::default()
            }],
            ..ClusterDocument::default()
        }
    }

    #[test]
    fn a_kill_is_over_when_others_serve() {
        let kill = Act::Kill { graceful: false };
        assert!(is_settled(kill, "a", &view("down", "b", "serving")));
        assert!(!is_settled(kill, "a", &view("up", "b", "serving")));
        assert!(!is_settled(kill, "a", &view("down", "a", "serving")));
        assert!(!is_settled(kill, "a", &view("down", "b", "recovering")));
    }

    #[test]
    fn a_join_is_over_when_the_node_leads_something_and_a_leave_when_it_is_gone() {
        assert!(is_settled(Act::Join, "a", &view("up", "a", "serving")));
        assert!(!is_settled(Act::Join, "a", &view("up", "b", "serving")));
        assert!(is_settled(Act::Leave, "x", &view("up", "a", "serving")));
        assert!(!is_settled(Act::Leave, "a", &view("leaving", "b", "serving")));
    }
}
