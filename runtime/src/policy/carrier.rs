//! The carrier: reads events behind the writers and hands over what policies decide about them.
//!
//! It is a member of the durable subscription of each policy. A group of facts is taken at a time; those of one shard go one after the other, those of
//! different shards at the same time. A shard that takes nothing now is let go, and read on from there by whoever gets it next, so it does not hold up the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use holm_core::{
    Answer, AskError, CommandEnvelope, CommandId, IdempotencyKey, Offset, SeededEntropy, ShardId,
};
use holm_persistence::encode;
use tokio::sync::watch;
use twox_hash::XxHash3_64;

use super::decide::Undecided;
use super::record::{Carry, record_of};
use super::{Policy, PolicyError};
use crate::bus::{Bus, DurableSubscription, Fact, SubscribeError};
use crate::entity::Command;
use crate::failure::{FailedCommand, FailureFact, FailureKind, Subject};
use crate::host::ShardHost;
use crate::reaction::Passed;

/// Facts that one policy has in hand on one node. With pages of 64 KiB a shard, some hundreds come at a time.
const AT_ONCE: usize = 256;

/// Tries to hand a decision over before its shard is let go, to be read again from there with the next attendance. Their pauses double from 50 ms.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause while a policy cannot be carried out at all.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one try may take, and how long leaving the group may.
const TRY: Duration = Duration::from_secs(2);
const LEAVE: Duration = Duration::from_secs(1);

/// The policies that a node carries out.
#[derive(Debug)]
pub struct Policies {
    policies: Vec<Policy>,
    bus: Bus,
    host: ShardHost,
}

impl Policies {
    /// What is needed to carry them out: the bus of the cluster, and the host that tells what failed.
    ///
    /// # Errors
    /// As [`Policy::check`].
    pub fn new(policies: Vec<Policy>, bus: Bus, host: ShardHost) -> Result<Self, PolicyError> {
        Policy::check(&policies)?;
        Ok(Self { policies, bus, host })
    }

    /// Carries them out until `stopped` becomes true or its sender is gone. `begun` counts the policies whose beginning is stored. Call it on a tokio runtime.
    ///
    /// # Cancel safety
    /// Safe: another member, or a later start, goes on from what is stored; the others wait for the end of a lease then.
    pub async fn run(self, begun: watch::Sender<usize>, stopped: watch::Receiver<bool>) {
        let Self { policies, bus, host } = self;
        let begun = &begun;
        let carriers = policies.into_iter().map(|policy| {
            let (bus, host, stopped) = (bus.clone(), host.clone(), stopped.clone());
            async move {
                Carrier { policy, bus, host, waits: Mutex::default() }.run(begun, stopped).await
            }
        });
        join_all(carriers).await;
    }
}

struct Carrier {
    policy: Policy,
    bus: Bus,
    host: ShardHost,
    /// Where it waits at an event that it cannot read, so that it tells of each once: one place for each shard.
    waits: Mutex<BTreeMap<ShardId, Offset>>,
}

/// What became of one fact.
enum Carried {
    /// It is carried out, or told as failed, and the next one may come.
    Done,
    /// Its shard takes nothing now.
    NotNow,
}

impl Carrier {
    async fn run(&self, begun: &watch::Sender<usize>, mut stopped: watch::Receiver<bool>) {
        let (mut pause, mut is_first) = (FIRST_PAUSE, true);
        loop {
            let joined = tokio::select! {
                joined = self.join() => joined,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            let error = match joined {
                Err(error) => error,
                Ok(mut member) => {
                    if std::mem::take(&mut is_first) {
                        begun.send_modify(|begun| *begun += 1);
                    }
                    let ended = tokio::select! {
                        ended = self.follow(&mut member) => Some(ended),
                        _ = stopped.wait_for(|stopped| *stopped) => None,
                    };
                    // Where the group cannot be reached, the others wait for the end of the lease.
                    _ = tokio::time::timeout(LEAVE, member.abandon()).await;
                    let Some(ended) = ended else { return };
                    pause = FIRST_PAUSE;
                    ended
                }
            };
            tracing::warn!(policy = &*self.policy.name, %error, ?pause, "a policy waits");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    async fn join(&self) -> Result<DurableSubscription, SubscribeError> {
        let Policy { start, .. } = &self.policy;
        let name = self.policy.subscription();
        self.bus.subscribe_durable(&name, self.policy.interest(), start.clone()).await
    }

    async fn follow(&self, member: &mut DurableSubscription) -> SubscribeError {
        let Err(error) = member.for_each_group(AT_ONCE, |facts| self.carry_all(facts)).await;
        error
    }

    /// Carries out what follows from these facts. Gives the places to read again from.
    async fn carry_all(&self, facts: Vec<Fact>) -> BTreeMap<ShardId, Offset> {
        let mut by_shard: BTreeMap<ShardId, Vec<Fact>> = BTreeMap::new();
        for fact in facts {
            by_shard.entry(fact.shard()).or_default().push(fact);
        }
        let shards = by_shard.into_iter().map(|(shard, facts)| async move {
            for fact in &facts {
                if let Carried::NotNow = self.carry(fact).await {
                    return Some((shard, Offset(fact.offset().0.saturating_sub(1))));
                }
            }
            None
        });
        join_all(shards).await.into_iter().flatten().collect()
    }

    async fn carry(&self, fact: &Fact) -> Carried {
        let decided = self.policy.decide.decide(fact);
        let made = match decided {
            Ok(letters) if letters.is_empty() => return Carried::Done,
            Ok(letters) => self.envelope(fact, letters),
            Err(Undecided::Failed(reason)) => Err(reason),
            Err(Undecided::Unreadable(reason)) => return self.wait(fact, &reason),
        };
        let envelope = match made {
            Ok(envelope) => envelope,
            Err(reason) => return self.park(fact, &reason),
        };
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            let error = match self.ask(envelope.clone()).await {
                // Whoever used the key for something else runs another version of this policy: what that one decided counts.
                Ok(_) | Err(AskError::KeyReused { .. }) => return Carried::Done,
                Err(error) => error,
            };
            if is_about_the_fact(&error) {
                return self.park(fact, &error.to_string());
            }
            tracing::debug!(policy = &*self.policy.name, %error, "a policy tries again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Carried::NotNow
    }

    async fn ask(&self, envelope: CommandEnvelope) -> Result<Answer, AskError> {
        let deadline = self.bus.caller().now().plus(TRY);
        self.bus.caller().ask(CommandEnvelope { deadline, ..envelope }).await
    }

    /// The command that hands a decision over: the same but for its deadline whoever makes it, and caused by the command that led to the event.
    fn envelope(&self, fact: &Fact, letters: Vec<Passed>) -> Result<CommandEnvelope, String> {
        let (offset, index) = (fact.offset(), fact.index());
        let carry = Carry {
            offset: offset.0,
            index,
            entity: fact.address().to_string().into(),
            event: fact.name().into(),
            letters,
        };
        let payload = encode(&carry).map_err(|error| error.to_string())?;
        let key = IdempotencyKey::of_policy(&self.policy.name, fact.shard(), offset, index);
        let seed = XxHash3_64::oneshot(&key.digest().to_le_bytes());
        Ok(CommandEnvelope {
            address: record_of(&self.policy.name, fact.shard(), self.bus.shards()),
            command: Carry::NAME.into(),
            payload,
            key,
            id: CommandId::generate(fact.at(), &mut SeededEntropy::new(seed)),
            correlation: fact.correlation_id(),
            causation: fact.command_id().causes(),
            deadline: fact.at(),
        })
    }

    /// Leaves an event out, and tells so.
    fn park(&self, fact: &Fact, reason: &str) -> Carried {
        self.tell(fact, reason, "was left out");
        Carried::Done
    }

    /// Waits at an event, and tells so once: another version of the program can read it, here after an update, or on another node.
    fn wait(&self, fact: &Fact, reason: &str) -> Carried {
        let mut told = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(fact.shard(), fact.offset()) != Some(fact.offset()) {
            self.tell(fact, reason, "is waited at");
        }
        Carried::NotNow
    }

    fn tell(&self, fact: &Fact, reason: &str, so: &str) {
        let (policy, event, entity) = (&self.policy.name, fact.name(), fact.address());
        let (shard, offset) = (fact.shard(), fact.offset());
        let what = format!(
            "policy `{policy}`: `{event}` of {entity} (shard {shard}, offset {offset}) {so}: {reason}"
        );
        let subject = Subject::Entity(record_of(policy, shard, self.bus.shards()));
        let command = self.envelope(fact, Vec::new()).ok();
        let command = command.map(|it| FailedCommand { payload: None, ..FailedCommand::of(&it) });
        let failure = self.host.fact(FailureKind::PolicyFailed, subject, &what);
        self.host.tell(FailureFact { command, shard: Some(shard), ..failure });
    }
}

/// Errors that trying again does not mend, because of what is handed over. Nothing of it was stored.
fn is_about_the_fact(error: &AskError) -> bool {
    matches!(
        error,
        AskError::TooLarge { .. } | AskError::Undecodable { .. } | AskError::EntityFailed { .. }
    )
}
