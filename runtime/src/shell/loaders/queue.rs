//! What waits for the loaders, and whose turn it is: entities that somebody waits for, looks for an earlier try, which may be long, and snapshots, which nobody waits for.

use std::collections::VecDeque;

use hashbrown::HashMap;
use holm_core::{EntityAddress, ShardId};
use holm_persistence::Snapshot;

use super::Job;
use crate::engine::Wanted;

/// Snapshots that may wait to be saved. They are a cache: when the disk is too slow for them, they are left out (law T11).
const SNAPSHOTS_WAITING: usize = 4_096;

/// Whose snapshot is to be saved when there is time.
pub(crate) type Subject = (ShardId, EntityAddress);

/// What a loader takes from the queue.
pub(super) enum Work {
    Job(Job),
    /// [`Queue::looked`] must hear of its end.
    Look(Job),
    Save(Subject, Snapshot),
}

pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Looks for an earlier try. After a take-over there is one for each open reaction, and a long conversation takes seconds: so they never keep all loaders.
    looks: VecDeque<Job>,
    looking: usize,
    looks_at_once: usize,
    /// A look comes next, when there is one: the two kinds take turns.
    look_next: bool,
    /// In the order of their first snapshot; a newer one takes the place of one that still waits, so that a hot entity costs no more than the disk can take.
    subjects: VecDeque<Subject>,
    saves: HashMap<Subject, Snapshot>,
    stopped: bool,
}

impl Queue {
    /// For so many loaders. Half of them may be at a look; a single one takes turns.
    pub(super) fn new(loaders: usize) -> Self {
        Self {
            jobs: VecDeque::new(),
            looks: VecDeque::new(),
            looking: 0,
            looks_at_once: (loaders / 2).max(1),
            look_next: false,
            subjects: VecDeque::new(),
            saves: HashMap::new(),
            stopped: false,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Nothing is taken any more, and what waits is dropped.
    pub(super) fn stop(&mut self) {
        *self = Self { stopped: true, ..Self::new(1) };
    }

    /// False when it was stopped.
    pub(super) fn submit(&mut self, job: Job) -> bool {
        if self.stopped {
            return false;
        }
        match &job {
            Job::Load { request, .. } if matches!(request.wanted, Wanted::EarlierTry { .. }) => {
                self.looks.push_back(job);
            }
            _ => self.jobs.push_back(job),
        }
        true
    }

    /// False when it was stopped, or too many wait.
    pub(super) fn save(&mut self, subject: Subject, snapshot: Snapshot) -> bool {
        if self.stopped || self.saves.len() >= SNAPSHOTS_WAITING {
            return false;
        }
        if self.saves.insert(subject.clone(), snapshot).is_none() {
            self.subjects.push_back(subject);
        }
        true
    }

    pub(super) fn next(&mut self) -> Option<Work> {
        let may_look = self.looking < self.looks_at_once;
        if may_look
            && (self.look_next || self.jobs.is_empty())
            && let Some(look) = self.looks.pop_front()
        {
            (self.look_next, self.looking) = (false, self.looking + 1);
            return Some(Work::Look(look));
        }
        if let Some(job) = self.jobs.pop_front() {
            self.look_next = true;
            return Some(Work::Job(job));
        }
        let subject = self.subjects.pop_front()?;
        let snapshot = self.saves.remove(&subject).expect("a subject has a snapshot");
        Some(Work::Save(subject, snapshot))
    }

    /// A look has ended.
    pub(super) fn looked(&mut self) {
        self.looking = self.looking.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holm_core::{CorrelationId, Offset, Timestamp};

    use super::*;
    use crate::engine::{LoadRequest, LoadTicket};
    use crate::shell::intake::Intake;

    fn job(wanted: Wanted) -> Job {
        let address = EntityAddress::new("seat", "1a").expect("well formed");
        let request = LoadRequest { ticket: LoadTicket(1), address, wanted };
        Job::Load { shard: ShardId(0), epoch: 1, request, to: Arc::new(Intake::new(1)) }
    }

    fn recovery() -> Job {
        job(Wanted::Record { offset: Offset(1) })
    }

    fn look() -> Job {
        let (correlation, since, deadline) = (CorrelationId(1), Offset(1), Timestamp::EPOCH);
        job(Wanted::EarlierTry { correlation, key: 1, since, deadline })
    }

    /// What is taken next: a recovery, a look, a snapshot or nothing.
    fn taken(queue: &mut Queue) -> char {
        match queue.next() {
            Some(Work::Job(_)) => 'r',
            Some(Work::Look(_)) => 'l',
            Some(Work::Save(..)) => 's',
            None => '-',
        }
    }

    #[test]
    fn looks_never_keep_all_loaders() {
        let mut queue = Queue::new(4);
        (0..9).for_each(|_| assert!(queue.submit(look())));
        let taken_at_first: String = (0..4).map(|_| taken(&mut queue)).collect();
        assert_eq!(taken_at_first, "ll--", "two loaders stay free for whoever is waited for");
        queue.submit(recovery());
        assert_eq!(taken(&mut queue), 'r');
        queue.looked();
        assert_eq!(taken(&mut queue), 'l');
    }

    #[test]
    fn recoveries_and_looks_take_turns() {
        let mut queue = Queue::new(1);
        (0..3).for_each(|_| assert!(queue.submit(look()) && queue.submit(recovery())));
        let mut order = String::new();
        for _ in 0..7 {
            let next = taken(&mut queue);
            if next == 'l' {
                queue.looked();
            }
            order.push(next);
        }
        assert_eq!(order, "rlrlrl-", "neither waits for the end of the other");
    }

    #[test]
    fn a_stopped_queue_is_empty_and_stays_so() {
        let mut queue = Queue::new(2);
        queue.submit(look());
        queue.stop();
        assert!(!queue.submit(recovery()));
        assert_eq!(taken(&mut queue), '-');
    }
}
