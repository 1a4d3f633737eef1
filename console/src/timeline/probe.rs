//! Probes: a question to every shard, again and again, through the nodes that are not acted on.
//!
//! Where the cluster has the accounts of the demo bank, a probe is a deposit to an account that nobody opened. The entity rejects it, and the
//! rejection is recorded before it is answered; so an answer proves that the shard has a leader that can still write, and no balance changes.
//!
//! Where it has none, nothing is known that could be written without harm. A probe then reads behind the end of the shard's log, which only its
//! leader answers: less is proved, and whoever shows the figures says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holm::{Entity as _, EntityAddress, shard_of};
use holm_domains::bank::Account;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::api_client::{ApiClient, ClientError, ClientOptions, SendOptions};
use crate::dev::process::random;
use crate::load::bank;
use crate::output::{Exit, Failure};
use crate::state_file::RunningNode;
use crate::wall_clock::now_us;

/// How long one node may take to tell its entity types.
const TYPES_WITHIN: Duration = Duration::from_secs(2);

/// How long a probe waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Probes of one shard that may wait at once. The first one that waits measures the gap; the others only see when it ends.
const WAITING: usize = 8;

/// Behind the end of every log, and an offset that others still follow.
const BEHIND_THE_END: u64 = u64::MAX / 2;

/// What a probe asks of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// To write.
    #[default]
    Write,
    /// To read its log, where there is nothing to write to.
    Read,
}

impl ProbeKind {
    /// What this cluster allows, by the entity types of the first of these nodes that tells them.
    ///
    /// # Errors
    /// When none of them does.
    pub(super) async fn for_cluster<'a>(
        nodes: impl IntoIterator<Item = &'a RunningNode>,
    ) -> Result<Self, Failure> {
        let mut last = None;
        for node in nodes {
            let options = ClientOptions { timeout: Some(TYPES_WITHIN), ..ClientOptions::default() };
            match ApiClient::new(&node.http, options)?.entity_types().await {
                Ok(types) if bank::is_among(&types.body) => return Ok(Self::Write),
                Ok(_) => return Ok(Self::Read),
                Err(error) => last = Some(format!("{error}: {}", error.reason())),
            }
        }
        let cause = last.unwrap_or_else(|| "no node is running".to_owned());
        Err(Failure::new("no node says which entity types there are", cause)
            .exits(Exit::Unreachable))
    }

    /// As in `every shard answers a write`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }

    /// What a reader of the figures must know.
    pub(super) const fn caveat(self) -> Option<&'static str> {
        match self {
            Self::Write => None,
            Self::Read => Some(
                "no write was probed: this cluster has no entity type `account` of the demo bank. A shard counts as serving when its leader reads its log",
            ),
        }
    }
}

/// One probe of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) shard: u32,
    /// When it was sent, in microseconds since the epoch.
    pub(super) sent_us: u64,
    /// When its answer, or its error, came.
    pub(super) ended_us: u64,
    /// What went wrong.
    pub(super) error: Option<String>,
}

/// Probes all shards until it is dropped.
#[derive(Debug)]
pub(super) struct Probes {
    done: Arc<Mutex<Vec<Probed>>>,
    shards: u32,
    _tasks: JoinSet<()>,
}

impl Probes {
    /// Begins to probe `shards` shards through these nodes, in turn.
    pub(super) fn start<'a>(
        kind: ProbeKind,
        shards: u32,
        nodes: impl IntoIterator<Item = &'a RunningNode>,
    ) -> Result<Self, ClientError> {
        let done = Arc::new(Mutex::new(Vec::new()));
        let options = ClientOptions { timeout: Some(PATIENCE), ..ClientOptions::default() };
        let clients = nodes
            .into_iter()
            .map(|node| ApiClient::new(&node.http, options.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let clients = Arc::new(clients);
        // Some two hundred probes a second over all shards leave the machine to the cluster. The figures are finer than this: a probe that was
        // sent into a gap is answered at its end.
        let every = Duration::from_millis((u64::from(shards) * 5).clamp(20, 1_000));
        let mut tasks = JoinSet::new();
        if !clients.is_empty() {
            for (shard, account) in accounts(shards) {
                let asked = Asked { kind, shard, account };
                tasks.spawn(probe(asked, every, Arc::clone(&clients), Arc::clone(&done)));
            }
        }
        Ok(Self { done, shards, _tasks: tasks })
    }

    /// All probes that have ended.
    pub(super) fn done(&self) -> Vec<Probed> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True when every shard answered a probe that was sent at or after `since_us`.
    pub(super) fn all_answered(&self, since_us: u64) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answered = vec![false; self.shards as usize];
        for probe in done.iter().filter(|it| it.sent_us >= since_us && it.error.is_none()) {
            answered[probe.shard as usize] = true;
        }
        answered.into_iter().all(|it| it)
    }
}

/// What is asked of one shard.
#[derive(Debug, Clone)]
struct Asked {
    kind: ProbeKind,
    shard: u32,
    account: String,
}

impl Asked {
    async fn of(&self, client: &ApiClient) -> Result<(), ClientError> {
        match self.kind {
            ProbeKind::Write => {
                let options = SendOptions { timeout: Some(PATIENCE), ..SendOptions::default() };
                let body = json!({ "amount": 1 });
                let sent = client.send(Account::TYPE, &self.account, "deposit", &body, &options);
                sent.await.map(|_| ())
            }
            ProbeKind::Read => client.events(self.shard, BEHIND_THE_END, 1).await.map(|_| ()),
        }
    }
}

/// For each shard the name of an account that belongs to it.
fn accounts(shards: u32) -> Vec<(u32, String)> {
    let run = random() & 0xFFFF_FFFF;
    let mut found: Vec<Option<String>> = vec![None; shards as usize];
    let mut left = shards;
    for number in 0_u64.. {
        let id = format!("probe-{run:08x}-{number}");
        let Ok(address) = EntityAddress::new(Account::TYPE, id.as_str()) else { continue };
        let place = &mut found[shard_of(&address, shards).0 as usize];
        if place.is_none() {
            *place = Some(id);
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    (0..).zip(found.into_iter().flatten()).collect()
}

async fn probe(
    asked: Asked,
    every: Duration,
    clients: Arc<Vec<ApiClient>>,
    done: Arc<Mutex<Vec<Probed>>>,
) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut waiting = JoinSet::new();
    for nth in asked.shard as usize.. {
        tick.tick().await;
        while waiting.try_join_next().is_some() {}
        if waiting.len() >= WAITING {
            continue;
        }
        let (clients, done, asked) = (Arc::clone(&clients), Arc::clone(&done), asked.clone());
        waiting.spawn(async move {
            let sent_us = now_us();
            let client = &clients[nth % clients.len()];
            let error = asked.of(client).await.err();
            let error = error.map(|error| format!("{error}: {}", error.reason()));
            let probed = Probed { shard: asked.shard, sent_us, ended_us: now_us(), error };
            done.lock().unwrap_or_else(PoisonError::into_inner).push(probed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_an_account() {
        let accounts = accounts(32);
        assert_eq!(accounts.len(), 32);
        for (shard, id) in accounts {
            assert_eq!(shard_of(&EntityAddress::new("account", id).unwrap(), 32).0, shard);
        }
    }
}
