//! Asking through a node that does not lead the entity: another process is one node of a cluster, this one is the other and asks for what that one leads.
//!
//! Each shard has one replica, so a row is the way to the other node and back and what the entity takes there, with one disk. What replicas cost
//! is measured by the other steps with `--nodes 3`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holm::{ClusterSettings, Entity, EntityAddress, Holm, NodeId, ShardState};
use holm_domains::bank::Account;
use tokio::time::{Instant, sleep};

use super::args::BenchArgs;
use super::closed_loop;
use super::cluster::{LocalProcesses, Target};
use super::document::StepFigures;
use super::step::{Interrupts, step, times};
use super::work::{Kind, Work};
use crate::output::{Failure, Output};

/// Requests in flight of each pair of rows.
pub(super) const IN_FLIGHT: [u32; 3] = [1, 64, 1_024];

/// How long the shards may take to settle on two nodes.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Nothing moved for so long: some times what one move takes.
const UNCHANGED_FOR: Duration = Duration::from_secs(2);

/// Time between two looks whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Commands of Holm's own that a step may see on this node, beside a hundredth of its own.
const FEW: u64 = 50;

/// Measures all of it, with data below `dir`.
pub(super) async fn run(
    args: &BenchArgs,
    dir: &Path,
    interrupts: &mut Interrupts,
    output: Output,
) -> Result<Vec<StepFigures>, Failure> {
    let dir = dir.join("remote");
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::new(format!("{} cannot be created", dir.display()), error))?;
    let target = start(args.shards, &dir).await?;
    let figures = interrupts.or(measure(args, &target, output)).await;
    target.stop().await;
    figures
}

async fn start(shards: u32, dir: &Path) -> Result<Target, Failure> {
    let other = LocalProcesses::start(1, shards, 1, dir).await?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut settings = ClusterSettings::new(other.name(), listen, other.seeds());
    settings.replication = 1;
    let builder = holm_domains::register(Holm::builder())
        .node_name("holm-bench")
        .data_dir(dir.join("member"))
        .shards(shards)
        .cluster(settings);
    match builder.start().await {
        Ok(holm) => Ok(Target::beside("node that asks", holm, other)),
        Err(error) => {
            other.stop().await;
            Err(Failure::new("this process cannot join the other node", error))
        }
    }
}

async fn measure(
    args: &BenchArgs,
    target: &Target,
    output: Output,
) -> Result<Vec<StepFigures>, Failure> {
    settle(&target.holm).await?;
    let names = led_elsewhere(&target.holm, args.entities)?;
    let work = Arc::new(Work::named(&target.holm, names));
    let unopened = |error| Failure::new("the accounts cannot be opened", error);
    closed_loop::open_accounts(&work, args.in_flight).await.map_err(unopened)?;
    let mut all = Vec::new();
    for (kind, name) in [(Kind::Read, "remote read"), (Kind::Persist, "remote command")] {
        for in_flight in IN_FLIGHT {
            let name = format!("{name}, {in_flight} in flight");
            let (warm_up, time) = times(args);
            let asks = closed_loop::run(&name, kind, &work, in_flight, warm_up, time);
            let (here, asked) = (answered_here(&target.holm), work.asked());
            let mut figures = step(&name, target, &work, output, async { Ok(asks.await) }).await?;
            figures.replicas = Some(1);
            stayed_there(answered_here(&target.holm) - here, work.asked() - asked)?;
            all.push(figures);
        }
    }
    Ok(all)
}

/// What the entities of this node handled, Holm's own included.
fn answered_here(holm: &Holm) -> u64 {
    let total = holm.stats().total();
    total.commands + total.reads
}

/// A shard that moved here meanwhile would be asked without a network. What Holm asks its own entities is a few.
fn stayed_there(here: u64, asked: u64) -> Result<(), Failure> {
    if here <= FEW + asked / 100 {
        return Ok(());
    }
    let cause = format!("{here} of {asked} asks were answered here: shards moved meanwhile");
    Err(Failure::new("asking another node cannot be measured", cause).or_try("the same again"))
}

/// Waits until every shard is served, this node leads its share, and nothing has moved for a while. Three quarters of the mean is the least that a newcomer
/// gets; more may follow, one after the other.
async fn settle(holm: &Holm) -> Result<(), Failure> {
    let (me, began) = (holm.facts().id, Instant::now());
    let (mut leaders, mut since) = (Vec::new(), began);
    while began.elapsed() < SETTLED_WITHIN {
        let view = holm.view();
        let served = view.shards.iter().all(|shard| shard.state == ShardState::Serving);
        let now: Vec<_> = view.shards.iter().map(|shard| shard.leader).collect();
        let mine = now.iter().filter(|leader| **leader == Some(me)).count();
        if !served || now.is_empty() || mine < 3 * now.len() / (4 * 2) || now != leaders {
            (leaders, since) = (now, Instant::now());
        } else if since.elapsed() >= UNCHANGED_FOR {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    let cause = format!("the shards did not settle within {} s", SETTLED_WITHIN.as_secs());
    Err(Failure::new("asking another node cannot be measured", cause))
}

/// The first names whose shards the other node leads.
fn led_elsewhere(holm: &Holm, entities: u32) -> Result<Vec<String>, Failure> {
    let (me, view) = (holm.facts().id, holm.view());
    let elsewhere = |leader: Option<NodeId>| leader.is_some_and(|leader| leader != me);
    if !view.shards.iter().any(|shard| elsewhere(shard.leader)) {
        let cause = "the other node leads no shard: use more --shards";
        return Err(Failure::new("asking another node cannot be measured", cause));
    }
    let is_there = |name: &String| {
        let address = EntityAddress::new(Account::TYPE, name.as_str());
        let shard = address.ok().map(|address| holm.shard_of(&address));
        let place = shard.and_then(|shard| view.shards.get(shard.0 as usize));
        place.is_some_and(|place| elsewhere(place.leader))
    };
    let names = (1_u64..).map(|nth| format!("remote-{nth}"));
    Ok(names.filter(is_there).take(entities as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_whose_shards_came_here_is_no_measurement() {
        assert!(stayed_there(3, 100).is_ok(), "what Holm asks itself");
        assert!(stayed_there(52, 100).is_err());
        assert!(stayed_there(1_000, 100_000).is_ok());
        let failure = stayed_there(100_000, 100_000).unwrap_err();
        assert!(failure.cause.contains("shards moved"), "{failure}");
    }
}
