//! One round: a fault, what the cluster makes of it, its end, and the checks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::campaign::Terms;
use super::document::RoundDocument;
use super::fault::{Shape, Whom, may_fail};
use super::followers::Followers;
use super::hands::{Hands, Inflicted};
use super::schedule::Planned;
use super::transfers::Transfers;
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::control::Control;
use crate::dev::state::{DevStatus, NodeStatus, ProcessState};
use crate::dev::verbs::unanswered;
use crate::ledger::LedgerFollower;
use crate::load::HttpRecords;
use crate::output::Failure;
use crate::state_file::RunningNode;
use crate::timeline::Waits;
use crate::timeline::derive::led_by;
use crate::timeline::probe::{ProbeKind, Probed, Probes};
use crate::views::ClusterDocument;
use crate::wall_clock::now_us;

/// How long probes run before the fault.
const BEFORE: Duration = Duration::from_millis(200);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What a round works with.
pub(super) struct Site<'a, H> {
    pub(super) hands: &'a mut H,
    pub(super) control: &'a mut Control,
    pub(super) ledger: &'a mut LedgerFollower,
    pub(super) followers: Option<&'a mut Followers>,
    pub(super) transfers: Option<&'a mut Transfers>,
    pub(super) terms: &'a Terms,
    pub(super) probed: ProbeKind,
}

/// Whom the fault hits, and who watches.
struct Cast {
    victims: Vec<NodeStatus>,
    witnesses: Vec<RunningNode>,
    led: Vec<u32>,
}

/// Carries out one round.
pub(super) async fn carry_out<H: Hands>(
    planned: &Planned,
    site: &mut Site<'_, H>,
) -> Result<RoundDocument, Failure> {
    let shape = planned.shape;
    let status = site.control.status().await.map_err(unanswered)?;
    let cast = cast(planned, &status).await?;
    let failed_before = failed(&status);
    let mut problems = Vec::new();
    let probes = Probes::start(site.probed, status.shards, &cast.witnesses)?;
    sleep(BEFORE).await;
    let failure = |error: anyhow::Error| {
        Failure::new(format!("{shape} could not be done"), format!("{error:#}"))
    };
    let done = inflict(planned, &cast, site).await.map_err(failure)?;
    let begun = Instant::now();
    if shape.is_borne() && !shape.is_brief() {
        let served = until(site.terms.within, || probes.all_answered(done.at_us)).await;
        if !served {
            let within = site.terms.within.as_secs();
            let asked = site.probed.name();
            problems.push(format!("not every shard answered a {asked} within {within} s"));
        }
    }
    sleep(shape.hold(site.terms.longest).saturating_sub(begun.elapsed())).await;
    problems.extend(site.hands.examine(shape, &cast.victims, site.control).await.map_err(failure)?);
    problems.extend(spoke_up(&done, &cast, site)?);
    let seen = probes.done();
    drop(probes);
    let held = begun.elapsed();
    let healed_us = now_us();
    heal(shape, &cast, site).await.map_err(failure)?;
    let healed = until_well(healed_us, &status, site).await?;
    if healed.is_none() {
        let within = site.terms.within.as_secs();
        problems.push(format!("not everything was well within {within} s after its end"));
    }
    let verdict = audit(site).await?;
    if let Some(problem) = verdict.problems.first().filter(|_| !verdict.holds()) {
        problems.push(problem.to_string());
    }
    let answers = first_answers(&seen, done.at_us);
    let serving = shape.is_borne() && answers.len() == status.shards as usize;
    let after = |at_us: u64| at_us.saturating_sub(done.at_us);
    let waits = cast.led.iter().filter_map(|shard| answers.get(shard).copied().map(after));
    let errors: Vec<_> = seen
        .iter()
        .filter(|probe| probe.sent_us >= done.at_us)
        .filter_map(|probe| probe.error.as_ref())
        .collect();
    let status = site.control.status().await.map_err(unanswered)?;
    Ok(RoundDocument {
        nth: planned.nth,
        fault: shape,
        nodes: cast.victims.iter().map(|victim| victim.node.name.clone()).collect(),
        led_shards: u32::try_from(cast.led.len()).unwrap_or(u32::MAX),
        all_serving_ms: answers.values().max().filter(|_| serving).map(|at| ms(after(*at))),
        unavailable: serving.then(|| Waits::of(waits.collect())).flatten(),
        held_ms: held.as_secs_f64() * 1_000.0,
        healed_ms: healed,
        probe_errors: u32::try_from(errors.len()).unwrap_or(u32::MAX),
        first_probe_error: errors.first().map(ToString::to_string),
        failed_commands: failed(&status).saturating_sub(failed_before),
        acknowledged: verdict.read_back,
        problems,
    })
}

/// Does the harm to the nodes, with money on its way, and to those who follow.
async fn inflict<H: Hands>(
    planned: &Planned,
    cast: &Cast,
    site: &mut Site<'_, H>,
) -> anyhow::Result<Inflicted> {
    if let Some(transfers) = &mut site.transfers {
        transfers.before_harm().await;
    }
    let done = site.hands.inflict(planned.shape, &cast.victims, site.control).await?;
    if let Some(transfers) = &mut site.transfers {
        transfers.harmed(done.at_us);
    }
    if let Some(followers) = &mut site.followers {
        followers.harm(planned.nth, planned.shape.kind()).await?;
    }
    Ok(done)
}

/// Takes it back.
async fn heal<H: Hands>(shape: Shape, cast: &Cast, site: &mut Site<'_, H>) -> anyhow::Result<()> {
    if let Some(transfers) = &mut site.transfers {
        transfers.before_heal();
    }
    site.hands.heal(shape, &cast.victims, site.control).await?;
    if let Some(followers) = &mut site.followers {
        followers.rouse()?;
    }
    Ok(())
}

/// Whom the fault hits, by its rule; where chance decides, the schedule's draw does.
async fn cast(planned: &Planned, status: &DevStatus) -> Result<Cast, Failure> {
    let running: Vec<NodeStatus> = status.running().cloned().collect();
    let Some(first) = running.first() else {
        return Err(Failure::new("nothing can be done to nobody", "no node is running"));
    };
    let client = ApiClient::new(&first.node.http, ClientOptions::default())?;
    let view = client.cluster().await?.body;
    let count = match planned.shape.whom() {
        Whom::Random | Whom::Leader => 1,
        Whom::Minority => may_fail(u32::try_from(running.len()).unwrap_or(1)) as usize,
        Whom::All => running.len(),
    };
    let start = match planned.shape.whom() {
        Whom::Leader => busiest(&running, &view),
        _ => usize::try_from(planned.draw % running.len() as u64).unwrap_or_default(),
    };
    let chosen = |index: usize| (index + running.len() - start) % running.len() < count;
    let (victims, others): (Vec<_>, Vec<_>) =
        running.iter().cloned().enumerate().partition(|(index, _)| chosen(*index));
    let victims: Vec<_> = victims.into_iter().map(|(_, node)| node).collect();
    // When it hits all of them, they themselves must tell.
    let witnesses = if others.is_empty() {
        running.clone()
    } else {
        others.into_iter().map(|(_, node)| node).collect()
    };
    Ok(Cast {
        led: victims.iter().flat_map(|victim| led_by(&view, &victim.node.name)).collect(),
        victims,
        witnesses: witnesses.into_iter().map(|status| status.node).collect(),
    })
}

fn busiest(running: &[NodeStatus], view: &ClusterDocument) -> usize {
    let led = |status: &NodeStatus| led_by(view, &status.node.name).len();
    (0..running.len()).max_by_key(|index| led(&running[*index])).unwrap_or_default()
}

/// Writes that were acknowledged by nodes that must be silent.
fn spoke_up<H>(
    done: &Inflicted,
    cast: &Cast,
    site: &mut Site<'_, H>,
) -> Result<Option<String>, Failure> {
    let Some(silent_us) = done.silent_after_us else { return Ok(None) };
    let read = site.ledger.read_told();
    read.map_err(|error| Failure::new("the ledger cannot be read", error))?;
    for victim in &cast.victims {
        let names = [victim.node.name.clone(), victim.node.id.to_string()];
        let spoken = names.iter().filter_map(|name| site.ledger.last_write_of(name)).max();
        if let Some(sent_us) = spoken.filter(|sent_us| *sent_us > silent_us) {
            let late = (sent_us - silent_us) / 1_000;
            return Ok(Some(format!(
                "{} acknowledged a write that was sent {late} ms after it had to be silent",
                victim.node.name
            )));
        }
    }
    Ok(None)
}

/// Waits until every process runs, every node sees every member up and every shard served, and every shard answered a probe. How long it took.
async fn until_well<H>(
    since_us: u64,
    before: &DevStatus,
    site: &mut Site<'_, H>,
) -> Result<Option<f64>, Failure> {
    let end = Instant::now() + site.terms.within;
    let mut probes: Option<Probes> = None;
    loop {
        let status = site.control.status().await.map_err(unanswered)?;
        let nodes: Vec<_> = status.running().map(|it| it.node.clone()).collect();
        let ended = status.nodes.iter().find(|it| it.state == ProcessState::Exited);
        if let Some(ended) = ended {
            return Err(Failure::new(
                format!("{} ended by itself", ended.node.name),
                format!("see {}", ended.node.log.display()),
            ));
        }
        if nodes.len() == before.running().count() {
            if probes.is_none() {
                probes = Some(Probes::start(site.probed, status.shards, &nodes)?);
            }
            let answered = probes.as_ref().is_some_and(|it| it.all_answered(since_us));
            if answered && all_well(&nodes).await? {
                let answers =
                    first_answers(&probes.map(|it| it.done()).unwrap_or_default(), since_us);
                let last = answers.values().max().copied().unwrap_or(since_us);
                // The later of the two: the last shard's answer, and now that every picture agrees.
                return Ok(Some(ms(last.max(now_us()).saturating_sub(since_us))));
            }
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn all_well(nodes: &[RunningNode]) -> Result<bool, Failure> {
    for node in nodes {
        let client = ApiClient::new(&node.http, ClientOptions::default())?;
        let well = client.cluster().await.is_ok_and(|seen| {
            let up =
                |name: &str| seen.body.members.iter().any(|it| it.name == name && it.state == "up");
            nodes.iter().all(|node| up(&node.name))
                && seen.body.shards.iter().all(|shard| shard.state == "serving")
        });
        if !well {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn audit<H>(site: &mut Site<'_, H>) -> Result<crate::ledger::Verdict, Failure> {
    let status = site.control.status().await.map_err(unanswered)?;
    let urls: Vec<_> = status.running().map(|it| it.node.http.clone()).collect();
    let records = HttpRecords::new(urls.iter().map(String::as_str))?;
    site.ledger.catch_up(&records).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(error.to_string(), cause)
    })
}

/// For each shard the first answer to a probe that was sent at or after `since_us`.
fn first_answers(probes: &[Probed], since_us: u64) -> BTreeMap<u32, u64> {
    let mut answers = BTreeMap::new();
    for probe in probes.iter().filter(|it| it.sent_us >= since_us && it.error.is_none()) {
        let first = answers.entry(probe.shard).or_insert(probe.ended_us);
        *first = (*first).min(probe.ended_us);
    }
    answers
}

async fn until(limit: Duration, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= end {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

fn failed(status: &DevStatus) -> u64 {
    let last = status.load.as_ref().and_then(|load| load.reports.last());
    last.map_or(0, |report| report.total_failed)
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
