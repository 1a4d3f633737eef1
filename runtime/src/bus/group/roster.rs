//! The roster: members, what each holds, and the fair share of each. Pure.

use std::collections::{BTreeMap, BTreeSet};

use holm_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Who attends. Times and shards are plain numbers here, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roster {
    members: BTreeMap<u64, Member>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    until: Timestamp,
    holds: BTreeSet<u32>,
}

/// What a member is told when it attends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// What is taken for its own from now on: what it keeps, what it still has to let go, and what it gets.
    pub(crate) holds: BTreeSet<u32>,
    /// What it should read.
    pub(crate) reads: BTreeSet<u32>,
    /// Who did not attend in time.
    pub(crate) lapsed: Vec<u64>,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many members' leases hold at `now`.
    pub(crate) fn attending(&self, now: Timestamp) -> usize {
        self.members.values().filter(|it| it.until >= now).count()
    }

    /// How many of them hold a shard.
    pub(crate) fn holding(&self, now: Timestamp) -> usize {
        self.members.values().filter(|it| it.until >= now && !it.holds.is_empty()).count()
    }

    pub(crate) fn knows(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    pub(crate) fn holds(&self, member: u64, shard: u32) -> bool {
        self.members.get(&member).is_some_and(|it| it.holds.contains(&shard))
    }

    /// The share of `member`, which says that it holds `holding`, at `now`.
    pub(crate) fn share(
        &self,
        member: u64,
        holding: &BTreeSet<u32>,
        shards: u32,
        now: Timestamp,
    ) -> Share {
        let others = || self.members.iter().filter(|(id, _)| **id != member);
        let lapsed: Vec<u64> =
            others().filter(|(_, it)| it.until < now).map(|(id, _)| *id).collect();
        let living = || others().filter(|(_, it)| it.until >= now);

        // Everybody's fair share follows from the order of ids alone, so all come to the same picture.
        let everybody = living().count() as u32 + 1;
        let before_it = living().filter(|(id, _)| **id < member).count() as u32;
        let quota = (shards / everybody + u32::from(before_it < shards % everybody)) as usize;

        let taken: BTreeSet<u32> = living().flat_map(|(_, it)| it.holds.iter().copied()).collect();
        // What it says it holds counts only as far as it was given to it.
        let mut holds: BTreeSet<u32> =
            holding.iter().copied().filter(|shard| self.holds(member, *shard)).collect();
        let mut reads: BTreeSet<u32> = holds.iter().copied().take(quota).collect();
        let free = (0..shards).filter(|shard| !taken.contains(shard) && !holds.contains(shard));
        reads.extend(free.take(quota - reads.len()));
        holds.extend(&reads);
        Share { holds, reads, lapsed }
    }

    /// A member attended and has a lease until then. No other can have a longer one: where it seems so, the clock by which it was given ran ahead, and who
    /// got it would count for as long as the clock was wrong.
    pub(crate) fn attended(&mut self, member: u64, until: Timestamp, holds: BTreeSet<u32>) {
        for other in self.members.values_mut() {
            other.until = other.until.min(until);
        }
        self.members.insert(member, Member { until, holds });
    }

    pub(crate) fn forget(&mut self, member: u64) {
        self.members.remove(&member);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Attends once and notes the outcome, as the entity does.
    fn attend(
        roster: &mut Roster,
        member: u64,
        holding: &BTreeSet<u32>,
        shards: u32,
        now: u64,
    ) -> BTreeSet<u32> {
        let now = Timestamp::from_millis(now);
        let share = roster.share(member, holding, shards, now);
        share.lapsed.iter().for_each(|lapsed| roster.forget(*lapsed));
        roster.attended(member, Timestamp::from_millis(now.as_millis() + 100), share.holds);
        share.reads
    }

    #[test]
    fn one_member_reads_everything_and_a_second_gets_half_once_it_is_let_go() {
        let (mut roster, none) = (Roster::default(), BTreeSet::new());
        let first = attend(&mut roster, 1, &none, 8, 0);
        assert_eq!(first.len(), 8);
        assert!(attend(&mut roster, 2, &none, 8, 10).is_empty(), "nothing is free yet");
        let first = attend(&mut roster, 1, &first, 8, 20);
        assert_eq!(first.len(), 4);
        assert!(
            attend(&mut roster, 2, &none, 8, 30).is_empty(),
            "the first was asked, and has not let go"
        );
        assert_eq!(attend(&mut roster, 1, &first, 8, 40), first);
        assert_eq!(attend(&mut roster, 2, &none, 8, 50).len(), 4);
    }

    #[test]
    fn the_shards_of_who_does_not_attend_go_to_the_others() {
        let (mut roster, none) = (Roster::default(), BTreeSet::new());
        attend(&mut roster, 1, &none, 8, 0);
        assert_eq!(attend(&mut roster, 2, &none, 8, 101).len(), 8);
        assert!(!roster.knows(1));
    }

    /// A clock that ran an hour ahead and was set right does not keep a dead member for an hour.
    #[test]
    fn a_lease_by_a_wrong_clock_ends_with_the_others() {
        let (mut roster, none) = (Roster::default(), BTreeSet::new());
        let hour = 3_600_000;
        attend(&mut roster, 1, &none, 8, hour);
        assert!(attend(&mut roster, 2, &none, 8, 10).is_empty(), "it may be alive");
        assert_eq!(attend(&mut roster, 2, &none, 8, 111).len(), 8);
    }

    proptest! {
        /// Whatever members come, go and fall silent, no shard is read by two living members, and when all attend for a while every shard is read.
        #[test]
        fn a_shard_has_one_reader(
            steps in prop::collection::vec((1u64..5, 0u64..60, any::<bool>()), 1..120),
            shards in 1u32..20,
        ) {
            let mut roster = Roster::default();
            let mut reads: BTreeMap<u64, (u64, BTreeSet<u32>)> = BTreeMap::new();
            let mut now = 0;
            for (member, later, restarts) in steps {
                now += later;
                // A member whose lease is over knows that itself, and reads nothing.
                reads.retain(|_, (until, _)| *until >= now);
                let holding = match reads.get(&member) {
                    Some((_, holding)) if !restarts => holding.clone(),
                    _ => BTreeSet::new(),
                };
                let share = attend(&mut roster, member, &holding, shards, now);
                for (other, (_, theirs)) in reads.iter().filter(|(id, _)| **id != member) {
                    prop_assert!(theirs.is_disjoint(&share), "{other} and {member} at {now}");
                }
                reads.insert(member, (now + 100, share));
            }
            let members: Vec<u64> = reads.keys().copied().collect();
            for _ in 0..4 {
                for member in &members {
                    now += 1;
                    let holding = reads[member].1.clone();
                    let share = attend(&mut roster, *member, &holding, shards, now);
                    reads.insert(*member, (now + 100, share));
                }
            }
            let read: BTreeSet<u32> = reads.values().flat_map(|(_, it)| it.iter().copied()).collect();
            prop_assert_eq!(read.len(), shards as usize);
            let (most, least) = (
                reads.values().map(|(_, it)| it.len()).max().unwrap_or_default(),
                reads.values().map(|(_, it)| it.len()).min().unwrap_or_default(),
            );
            prop_assert!(most - least <= 1);
        }
    }
}
