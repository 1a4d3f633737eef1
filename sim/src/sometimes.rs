//! Sometimes: situations that runs must have met. A promise that held because nothing happened was not tested.
//!
//! Each has a name and a meaning. Some are read off a finished history; the others only the world sees, and it counts them as they happen. The faults
//! themselves are not among them: the schedule that makes them counts them. Over a batch of seeds [`Sometimes::missing`] says what never came; then the batch is red, however right its histories.

mod derived;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::derived::derive;

macro_rules! situations {
    ($(($kind:ident, $name:literal, $source:ident, $meaning:literal),)*) => {
        /// A situation that a batch of runs must have met.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Situation {
            $(#[doc = $meaning] #[serde(rename = $name)] $kind),*
        }

        impl Situation {
            /// Every situation.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning),* }
            }

            /// Who sees it.
            #[must_use]
            pub const fn source(self) -> Source {
                match self { $(Self::$kind => Source::$source),* }
            }
        }
    };
}

/// Who sees a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// It can be read off a finished history.
    History,
    /// Only the world that runs the nodes sees it.
    World,
}

situations! {
    (RetryMetFirstTry, "retry-met-first-try", History, "A retry was answered from the record of its own first try."),
    (TwinsBothAnswered, "twins-both-answered", History, "Two tries of one key were on their way at once, and both were answered."),
    (RepeatAfterFailover, "repeat-after-failover", History, "A repeated key was answered by another node than the one that handled it."),
    (RejectionRepeated, "rejection-repeated", History, "A repeated key was answered with its recorded rejection."),
    (UnknownCommitted, "unknown-committed", History, "A command whose outcome nobody ever heard stands in the log."),
    (UnknownAbsent, "unknown-absent", History, "A command whose outcome nobody ever heard stands nowhere."),
    (UnknownResolved, "unknown-resolved", History, "A try ended unknown, and a retry of its key was answered."),
    (RefusedThenApplied, "refused-then-applied", History, "A try was surely not applied, and a retry of its key was answered."),
    (KeyReuseRefused, "key-reuse-refused", History, "A key that was used for one command was refused to another."),
    (RejectedUnderConcurrency, "rejected-under-concurrency", History, "An entity refused a command while another one was on its way to it."),
    (ReadDuringWrite, "read-during-write", History, "A read was on its way together with a write that the entity accepted."),
    (ReadOfNothing, "read-of-nothing", History, "An entity without any history was read."),
    (AskedElsewhere, "asked-elsewhere", History, "A node was asked and another one answered."),
    (LimitNamed, "limit-named", History, "A command was refused with the name of a limit."),
    (LongCommand, "long-command", History, "A command of more than 64 KiB was accepted."),
    (DeadlinePassed, "deadline-passed", History, "A caller stopped waiting at its deadline."),
    (PanicContained, "panic-contained", History, "A poisoned command failed alone, and its entity answered again later."),
    (NotReplayed, "recovery-panicked", History, "A stored event panicked when it was replayed, and whoever asked its entity was told."),
    (InQuarantine, "in-quarantine", History, "An entity that could not be brought back was in quarantine when it was asked."),
    (SeveralInOneBatch, "several-in-one-batch", History, "Several commands became durable in one batch."),
    (EntitiesInOneBatch, "entities-in-one-batch", History, "Commands of several entities became durable in one batch."),
    (SeveralEvents, "several-events", History, "One command stored several events."),
    (NoEvents, "no-events", History, "A command was accepted and stored no event."),
    (TermChanged, "term-changed", History, "A shard was written under more than one term."),
    (HistoryAcrossTerms, "history-across-terms", History, "One entity's history was written under more than one term."),
    (SnapshotOvertaken, "snapshot-overtaken", History, "An entity went on after a snapshot of it was taken."),
    (LeadershipMoved, "leadership-moved", History, "A shard got another leader while a command was on its way to it."),
    (FactGivenAgain, "fact-given-again", History, "Somebody of a durable subscription was given an event that one of them had been given before."),
    (FollowedAcrossTerms, "followed-across-terms", History, "One follower was given events of one shard that were written under more than one term."),
    (HandledAgain, "record-handled-again", History, "A member of a shared projection handled a record that one of them had handled before."),
    (CrashBeforeSync, "crash-before-sync", World, "A node died between an append and its sync."),
    (ConfirmedByLease, "confirmed-by-lease", World, "A leader said by its lease alone, without asking its consensus, that reads are of now."),
    (CrashBetweenGroups, "crash-between-groups", World, "A node died with a group of commits on its way to the disk behind another one."),
    (CrashBeforeReply, "crash-before-reply", World, "A node died when a batch was durable and not yet answered."),
    (CrashDuringRecovery, "crash-during-recovery", World, "A node died while it recovered."),
    (TornTail, "torn-tail", World, "A data directory was opened on whose disk a crash had left a part of the last write."),
    (SyncFailed, "sync-returned-error", World, "A sync returned an error."),
    (DiskFull, "no-room-for-a-write", World, "A disk had no room for a write."),
    (PagesDropped, "pages-dropped", World, "A process ended on a disk whose failed sync had dropped what it wrote."),
    (FlippedLog, "bit-flipped-in-log", World, "A bit flipped in an entry of a log."),
    (FlippedIndex, "bit-flipped-in-index", World, "A bit flipped in an index."),
    (FlippedSnapshot, "bit-flipped-in-snapshot", World, "A bit flipped in a snapshot."),
    (FlippedSideFile, "bit-flipped-in-side-file", World, "A bit flipped in a side file."),
    (FlippedTailFile, "bit-flipped-in-tail-file", World, "A bit flipped in a tail file."),
    (LeaderCutOff, "leader-cut-off", World, "A leader lost its majority and was cut off from it."),
    (MessageLost, "message-lost", World, "A message was lost."),
    (MessageLate, "message-late", World, "A message arrived after a later one."),
    (MessageTwice, "message-twice", World, "A receiver handled the second copy of a message."),
    (PausedBeyondLease, "paused-beyond-lease", World, "A leader was paused for longer than its lease, and woke up."),
    (LeaseLetGo, "lease-let-go", World, "A replica let go of a lease because its leader's process had ended."),
    (DeposedInFlight, "deposed-in-flight", World, "A leader was deposed with batches on their way to the log."),
    (TailReplaced, "tail-replaced", World, "A follower dropped entries that no majority had."),
    (CopyBehind, "copy-behind", World, "A node's copy of a shard ended before another's."),
    (NodeCaughtUp, "node-caught-up", World, "A node that was away caught up."),
    (RecoveredFromSnapshot, "recovered-from-snapshot", World, "An entity came back from a snapshot and the records behind it."),
    (FollowersCaughtUp, "followers-caught-up", World, "A durable subscription got to the end of every log after everything was mended."),
    (SharedCaughtUp, "shared-caught-up", World, "A shared projection had stored the end of every log after everything was mended."),
    (SharedTakenOver, "shared-taken-over", World, "A shard of a shared projection went on on another node."),
    (PolicyCaughtUp, "policy-caught-up", World, "Everything that a policy reacts to had its effect after everything was mended."),
    (PolicyTakenOver, "policy-taken-over", World, "A policy went on in a shard on another node."),
    (DecidedAgain, "decided-again", World, "A policy decided about an event that was decided about before."),
    (DecisionRepeated, "decision-repeated", World, "A policy's decision was handed over again, and answered from its key."),
    (GroupRested, "group-rested", World, "The group of a shard rested on the node that led it."),
    (GroupWoken, "group-woken", World, "A command became durable in a shard whose group had rested, under the leader that it had rested under."),
    (LeaderLostAtRest, "leader-lost-at-rest", World, "A process ended that led a shard whose group rested."),
    (WokenFromRest, "woken-from-rest", World, "An entity that had left memory was brought back under the same leader."),
}

/// How often each situation was met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sometimes {
    counts: BTreeMap<Situation, u64>,
}

impl Sometimes {
    /// Nothing was met yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The situation was met.
    pub fn met(&mut self, situation: Situation) {
        self.met_times(situation, 1);
    }

    /// The situation was met so often.
    pub fn met_times(&mut self, situation: Situation, times: u64) {
        if times > 0 {
            *self.counts.entry(situation).or_default() += times;
        }
    }

    /// Adds what another run met.
    pub fn merge(&mut self, other: &Self) {
        for (situation, times) in &other.counts {
            self.met_times(*situation, *times);
        }
    }

    /// How often a situation was met.
    #[must_use]
    pub fn count(&self, situation: Situation) -> u64 {
        self.counts.get(&situation).copied().unwrap_or_default()
    }

    /// The situations of these sources that were never met.
    #[must_use]
    pub fn missing(&self, sources: &[Source]) -> Vec<Situation> {
        let never = |it: &Situation| self.count(*it) == 0 && sources.contains(&it.source());
        Situation::ALL.into_iter().filter(never).collect()
    }
}

impl fmt::Display for Sometimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for situation in Situation::ALL {
            let (count, name) = (self.count(situation), situation.name());
            writeln!(f, "{count:>9}  {name:<28} {}", situation.meaning())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_was_never_met_is_missing() {
        let mut batch = Sometimes::new();
        let of_world = Situation::ALL.into_iter().filter(|it| it.source() == Source::World);
        assert_eq!(batch.missing(&[Source::World]).len(), of_world.count());
        let mut run = Sometimes::new();
        run.met(Situation::TornTail);
        run.met_times(Situation::DiskFull, 0);
        batch.merge(&run);
        batch.merge(&run);
        assert_eq!(batch.count(Situation::TornTail), 2);
        let missing = batch.missing(&[Source::World]);
        assert!(missing.contains(&Situation::DiskFull) && !missing.contains(&Situation::TornTail));
    }

    #[test]
    fn names_are_unique_and_every_one_is_reported() {
        let names: BTreeSet<_> = Situation::ALL.map(Situation::name).into();
        assert_eq!(names.len(), Situation::ALL.len());
        let report = Sometimes::new().to_string();
        assert!(names.iter().all(|name| report.contains(name)));
    }
}
