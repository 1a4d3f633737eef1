//! `holm status`: the members, what they are doing, and whether every shard is served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{LOOK_TIMEOUT, first_to_answer};
use crate::api_client::{ApiClient, ClientOptions};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output};
use crate::state_file::{RunningCluster, RunningNode};
use crate::views::{
    ClusterDocument, FailureCountDocument, FailureDocument, MemberDocument, Served,
};

/// Time for a node to say who it is; a paused one never will.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

/// Show the members of the cluster and the state of its shards.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {}

/// What `holm status --json` prints.
#[derive(Debug, Serialize)]
struct StatusDocument {
    cluster: String,
    /// Where the local cluster keeps its data, when it is one.
    data_dir: Option<PathBuf>,
    nodes: Vec<NodeStatus>,
    shards: BTreeMap<String, usize>,
    /// How much failed and stands open; absent when the failure log cannot be asked.
    failures: Option<FailureCountDocument>,
    /// Nodes on whose disks little space is left.
    disks: Vec<DiskStatus>,
    served_by: String,
    as_of: String,
    partial: Vec<String>,
}

/// One member; the first six fields are those of `holm dev --detach --json`.
#[derive(Debug, Serialize)]
struct NodeStatus {
    name: String,
    id: u64,
    /// Absent when the node does not run or cannot be asked.
    pid: Option<u32>,
    http: Option<String>,
    peer: Option<String>,
    log: Option<PathBuf>,
    state: String,
    leads: u32,
}

/// A disk with little space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct DiskStatus {
    node: String,
    since: String,
    /// As the node said it then.
    space: String,
}

impl StatusArgs {
    /// Asks the cluster and prints what it says.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        let clients = global.patient_clients(Some(LOOK_TIMEOUT))?;
        let (seen, failures, disks) = first_to_answer(clients, async |client| {
            let told = client.failures("disk_nearly_full").await.ok();
            let over = client.failures("disk_free_again").await.ok();
            let disks = told.zip(over).map(|(told, over)| (told.body.failures, over.body.failures));
            Ok((client.cluster().await?, client.failure_counts().await.ok(), disks))
        })
        .await?;
        // The state file is about a cluster that runs from here, which is not the one that `--url` names.
        let local = if global.url.is_none() { RunningCluster::here().ok().flatten() } else { None };
        let local = local.filter(|local| local.cluster == seen.body.cluster);
        let failures = failures.map(|failures| failures.body);
        let (told, over) = disks.unwrap_or_default();
        let disks = nearly_full(&seen.body.members, told, &over);
        let document = StatusDocument { failures, disks, ..describe(seen, local, global).await };
        if output.is_json() {
            output.document(&document);
        } else {
            print(&document, output);
        }
        Ok(Exit::Ok)
    }
}

async fn describe(
    seen: Served<ClusterDocument>,
    local: Option<RunningCluster>,
    global: &Global,
) -> StatusDocument {
    let known = local.as_ref().map_or(&[][..], |local| &local.nodes);
    let members = seen.body.members.into_iter();
    let nodes = futures::future::join_all(members.map(|member| {
        let known = known.iter().find(|node| node.name == member.name);
        node_status(member, known, global)
    }))
    .await;
    let mut shards = BTreeMap::new();
    for shard in seen.body.shards {
        *shards.entry(shard.state).or_insert(0) += 1;
    }
    StatusDocument {
        cluster: seen.body.cluster,
        data_dir: local.map(|local| local.data_dir),
        nodes,
        shards,
        failures: None,
        disks: Vec::new(),
        served_by: seen.served_by,
        as_of: seen.as_of,
        partial: seen.partial,
    }
}

/// What was told and is not over. A node tells it again when it starts, so what it told before that counts no more.
fn nearly_full(
    members: &[MemberDocument],
    told: Vec<FailureDocument>,
    over: &[FailureDocument],
) -> Vec<DiskStatus> {
    let stands = |told: &FailureDocument| {
        let over = over.iter().any(|it| it.subject == told.subject && it.last >= told.last);
        let member = members.iter().find(|member| member.name == told.node);
        // Both are of one length and in UTC.
        let began = member.map(|member| member.since.as_ref().is_none_or(|at| *at <= told.last));
        !over && began == Some(true)
    };
    let told = told.into_iter().filter(stands);
    told.map(|told| DiskStatus {
        node: told.node,
        since: told.last,
        space: told.causes.into_iter().next().unwrap_or_default(),
    })
    .collect()
}

async fn node_status(
    member: MemberDocument,
    known: Option<&RunningNode>,
    global: &Global,
) -> NodeStatus {
    let pid = match (member.http.as_deref(), known) {
        // The supervisor writes the state file anew whenever it starts or reaps a process.
        (_, Some(node)) => (node.pid != 0).then_some(node.pid),
        (Some(http), None) if member.state != "down" => pid_of(http, global).await,
        _ => None,
    };
    NodeStatus {
        name: member.name,
        id: member.id,
        pid,
        http: member.http,
        peer: member.peer,
        log: known.map(|node| node.log.clone()),
        state: member.state,
        leads: member.leads,
    }
}

async fn pid_of(http: &str, global: &Global) -> Option<u32> {
    let options = ClientOptions { token: global.token().ok()?, timeout: Some(HELLO_TIMEOUT) };
    let version = ApiClient::new(http, options).ok()?.version().await.ok()?;
    Some(version.pid)
}

fn print(document: &StatusDocument, output: Output) {
    let shards: usize = document.shards.values().sum();
    let serving = document.shards.get("serving").copied().unwrap_or(0);
    let mark = if serving == shards { Mark::Good } else { Mark::Warning };
    output.line(format_args!(
        "{}   {} members   {} {serving} of {shards} shards serving   {}",
        output.strong(&document.cluster),
        document.nodes.len(),
        output.mark(mark),
        output.faint(format_args!("seen by {}", document.served_by)),
    ));
    output.line("");
    let width = document.nodes.iter().map(|node| node.name.len()).max().unwrap_or(0);
    for node in &document.nodes {
        let mark = match node.state.as_str() {
            "up" => Mark::Good,
            "down" => Mark::Bad,
            _ => Mark::Warning,
        };
        let pid = node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        output.line(format_args!(
            "  {} {:width$}   {:8}   pid {pid:>7}   leads {:3}   {}",
            output.mark(mark),
            node.name,
            node.state,
            node.leads,
            node.http.as_deref().unwrap_or("-"),
        ));
    }
    for (state, count) in document.shards.iter().filter(|(state, _)| *state != "serving") {
        output.line(format_args!("  {} {count} shards {state}", output.mark(Mark::Warning)));
    }
    for disk in &document.disks {
        let (mark, node) = (output.mark(Mark::Warning), &disk.node);
        output.line(format_args!("  {mark} the disk of {node} is nearly full: {}", disk.space));
    }
    print_failures(document, output);
}

fn print_failures(document: &StatusDocument, output: Output) {
    let Some(failures) = &document.failures else {
        let mark = output.mark(Mark::Warning);
        return output.line(format_args!("  {mark} the failure log cannot be asked"));
    };
    let open = failures.total_open();
    if open > 0 {
        output.line(format_args!(
            "  {} {open} failures open, {} entities in quarantine   {}",
            output.mark(Mark::Bad),
            failures.quarantined,
            output.faint("holm failures"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(node: &str, last: &str) -> FailureDocument {
        let (node, last) = (node.to_owned(), last.to_owned());
        FailureDocument { subject: format!("node {node}"), node, last, ..Default::default() }
    }

    #[test]
    fn a_disk_is_nearly_full_until_that_is_over_or_its_node_began_anew() {
        let member = |name: &str, since: &str| MemberDocument {
            name: name.to_owned(),
            since: Some(since.to_owned()),
            ..Default::default()
        };
        let members = ["a", "b", "c", "d"].map(|name| {
            member(
                name,
                if name == "c" { "2026-01-01T09:00:00.000Z" } else { "2026-01-01T01:00:00.000Z" },
            )
        });
        let at = "2026-01-01T08:00:00.000Z";
        let all = ["a", "b", "c", "d", "gone"].map(|node| told(node, at)).to_vec();
        let over = [told("b", "2026-01-01T08:00:01.000Z"), told("d", "2026-01-01T07:00:00.000Z")];
        let named: Vec<_> =
            nearly_full(&members, all, &over).into_iter().map(|it| it.node).collect();
        assert_eq!(named, ["a", "d"]);
    }
}
