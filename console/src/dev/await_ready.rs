//! Waits until every node of a starting cluster sees every shard served.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api_client::{ApiClient, ClientOptions};
use crate::load::bank;
use crate::state_file::RunningNode;
use crate::views::ClusterDocument;

/// Between two looks: short against the second that a start takes.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A cluster that serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Serving {
    /// How many shards.
    pub(super) shards: u32,
    /// How many shards each node leads, by name.
    pub(super) leads: BTreeMap<String, u32>,
    /// The id of each node, by name.
    pub(super) ids: BTreeMap<String, u64>,
    /// Whether the accounts of the demo bank are among what is served.
    pub(super) bank: bool,
}

/// Resolves when every one of `nodes` says that all of them are up and every shard is served.
///
/// # Errors
/// What was still missing at the limit.
pub(super) async fn every_shard(nodes: &[RunningNode], until: Instant) -> Result<Serving, String> {
    let options = ClientOptions { timeout: Some(Duration::from_secs(2)), ..Default::default() };
    let clients = nodes
        .iter()
        .map(|node| ApiClient::new(&node.http, options.clone()).map_err(|error| error.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    loop {
        let missing = match look(&clients, nodes).await {
            Ok(serving) => return Ok(serving),
            Err(missing) => missing,
        };
        if Instant::now() >= until {
            return Err(missing);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn look(clients: &[ApiClient], nodes: &[RunningNode]) -> Result<Serving, String> {
    let mut serving = Serving::default();
    for (client, node) in clients.iter().zip(nodes) {
        let seen = client
            .cluster()
            .await
            .map_err(|error| format!("{} does not answer: {error}", node.name))?;
        serving =
            judge(&seen.body, nodes).map_err(|missing| format!("{} sees {missing}", node.name))?;
    }
    // Every node runs the same program, so one of them can tell.
    if let (Some(client), Some(node)) = (clients.first(), nodes.first()) {
        let types = client.entity_types().await;
        let types = types.map_err(|error| format!("{} does not answer: {error}", node.name))?;
        serving.bank = bank::is_among(&types.body);
    }
    Ok(serving)
}

fn judge(seen: &ClusterDocument, nodes: &[RunningNode]) -> Result<Serving, String> {
    let up = |name: &str| seen.members.iter().find(|it| it.name == name && it.state == "up");
    if let Some(node) = nodes.iter().find(|node| up(&node.name).is_none()) {
        return Err(format!("{} not up", node.name));
    }
    let unserved = seen.shards.iter().filter(|shard| !shard.is_served());
    match unserved.count() {
        0 if !seen.shards.is_empty() => {}
        0 => return Err("no shards yet".to_owned()),
        count => return Err(format!("{count} of {} shards not served", seen.shards.len())),
    }
    let mut serving = Serving {
        shards: u32::try_from(seen.shards.len()).unwrap_or(u32::MAX),
        ..Serving::default()
    };
    for member in &seen.members {
        serving.ids.insert(member.name.clone(), member.id);
        let leads = seen.shards.iter().filter(|shard| shard.leader == Some(member.id)).count();
        serving.leads.insert(member.name.clone(), u32::try_from(leads).unwrap_or(u32::MAX));
    }
    Ok(serving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{MemberDocument, ShardDocument};

    fn cluster(states: [&str; 2], leader: Option<u64>) -> ClusterDocument {
        let member = |id: u64, state: &str| MemberDocument {
            id,
            name: format!("holm-{id}"),
            state: state.into(),
            ..MemberDocument::default()
        };
        ClusterDocument {
            members: vec![member(1, states[0]), member(2, states[1])],
            shards: vec![ShardDocument {
                leader,
                state: "serving".into(),
                ..ShardDocument::default()
            }],
            ..ClusterDocument::default()
        }
    }

    fn nodes() -> Vec<RunningNode> {
        ["holm-1", "holm-2"]
            .map(|name| RunningNode { name: name.into(), ..RunningNode::default() })
            .into()
    }

    #[test]
    fn a_cluster_serves_when_all_are_up_and_every_shard_has_a_leader() {
        let serving = judge(&cluster(["up", "up"], Some(2)), &nodes()).unwrap();
        assert_eq!((serving.shards, serving.leads["holm-1"], serving.leads["holm-2"]), (1, 0, 1));
        assert_eq!(
            judge(&cluster(["up", "joining"], Some(1)), &nodes()).unwrap_err(),
            "holm-2 not up"
        );
        assert!(judge(&cluster(["up", "up"], None), &nodes()).is_err());
        assert!(judge(&ClusterDocument::default(), &[]).is_err());
    }
}
