//! The group as an entity: its id is the subscription's name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holm_core::{MAX_SHARDS, Timestamp};
use serde::{Deserialize, Serialize};

use super::roster::Roster;
use crate::bus::set_aside::SetAside;
use crate::commands::Commands;
use crate::context::Context;
use crate::effect::Effect;
use crate::entity::{Entity, Handle, Read};
use crate::{Command, Event};

/// How long a member counts without a word. Three attendances fit into it, so one lost answer costs nobody its shards.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

/// Members of one group. Each attends about once in a second and a half: 1,024 are some 700 commands a second to one entity.
const MOST_MEMBERS: usize = 1_024;

/// Records that a group keeps as left out, some 2 KiB each at most.
const MOST_SET_ASIDE: usize = 1_000;

/// Who reads which shards of a durable subscription, and how far everything is read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    shards: u32,
    positions: BTreeMap<u32, u64>,
    roster: Roster,
    /// Somebody said that nobody shall read.
    paused: bool,
    #[serde(with = "crate::pairs")]
    set_aside: BTreeMap<(u32, u64), SetAside>,
}

/// What happens to a group.
#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum GroupEvent {
    /// The subscription was made: these are the shards of the cluster, and where it begins.
    Begun { shards: u32, positions: Vec<(u32, u64)> },
    /// A member attended.
    Attended {
        member: u64,
        until: Timestamp,
        holds: Vec<u32>,
        lapsed: Vec<u64>,
        positions: Vec<(u32, u64)>,
    },
    /// A member left.
    Left { member: u64, positions: Vec<(u32, u64)> },
    /// Somebody set the position, forwards or back.
    Set { positions: Vec<(u32, u64)> },
    /// Somebody said that nobody shall read, or that all shall again.
    Paused { paused: bool },
    /// A member could not handle a record, and left it out.
    LeftOut { record: SetAside },
    /// A record that was left out was handled after all.
    TakenUp { shard: u32, offset: u64 },
}

/// "I am here, this far."
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Attendance)]
pub(crate) struct Attend {
    /// Drawn by the member when it starts.
    pub(crate) member: u64,
    /// The number of shards of the cluster.
    pub(crate) shards: u32,
    /// Where a subscription begins that nobody has read yet.
    pub(crate) start: Vec<(u32, u64)>,
    /// What it reads.
    pub(crate) holding: Vec<u32>,
    /// How far it is, where that has changed.
    pub(crate) positions: Vec<(u32, u64)>,
    /// It will not attend again.
    pub(crate) leaving: bool,
}

/// What a member should read, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attendance {
    /// Shards, each with the last offset whose facts need not be read again.
    pub(crate) reads: Vec<(u32, u64)>,
    /// Nobody shall read now.
    pub(crate) paused: bool,
}

/// How far everything is read.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Vec<(u32, u64)>)]
pub(crate) struct Where {}

/// That nobody shall read, or that all shall again.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(crate) struct Pause {
    pub(crate) paused: bool,
}

/// Leaves a record out. Said again of the same record, it counts once.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(crate) struct LeaveOut {
    pub(crate) record: SetAside,
}

/// A record that was left out was handled after all.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(crate) struct TakeUp {
    pub(crate) shard: u32,
    pub(crate) offset: u64,
}

/// What was left out.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Vec<SetAside>)]
pub(crate) struct LeftOut {}

/// Sets the position, forwards or back, while nobody reads.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(crate) struct Reset {
    pub(crate) positions: Vec<(u32, u64)>,
}

/// Why a group turns somebody away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GroupRefusal {
    /// The member counts other shards than the group.
    #[error("the subscription is of a cluster of {expected} shards, the member says {found}")]
    OtherCluster {
        /// The group's number.
        expected: u32,
        /// The member's number.
        found: u32,
    },
    /// Too many members.
    #[error("the group has {MOST_MEMBERS} members, which is the most it can have")]
    Full,
    /// The position cannot be set while somebody reads.
    #[error("{members} members read; stop them before the position is set")]
    InUse {
        /// How many.
        members: usize,
    },
    /// Too many records were left out: something is wrong with the handler, not with a record.
    #[error("{MOST_SET_ASIDE} records were left out, and no more are")]
    TooManySetAside,
    /// The member counts shards that no cluster has.
    #[error("the member says that there are {found} shards: a cluster has 1 to {MAX_SHARDS}")]
    NoCluster {
        /// The member's number.
        found: u32,
    },
}

impl Entity for Group {
    const TYPE: &'static str = "holm-subscription";
    type Event = GroupEvent;
    type Rejection = GroupRefusal;

    fn apply(&mut self, event: &GroupEvent) {
        match event {
            GroupEvent::Begun { shards, positions } => {
                self.shards = *shards;
                self.positions = positions.iter().copied().collect();
            }
            GroupEvent::Attended { member, until, holds, lapsed, positions } => {
                self.positions.extend(positions.iter().copied());
                lapsed.iter().for_each(|lapsed| self.roster.forget(*lapsed));
                self.roster.attended(*member, *until, holds.iter().copied().collect());
            }
            GroupEvent::Left { member, positions } => {
                self.positions.extend(positions.iter().copied());
                self.roster.forget(*member);
            }
            GroupEvent::Set { positions } => self.positions = positions.iter().copied().collect(),
            GroupEvent::Paused { paused } => self.paused = *paused,
            GroupEvent::LeftOut { record } => {
                self.set_aside.insert((record.shard.0, record.offset.0), record.clone());
            }
            GroupEvent::TakenUp { shard, offset } => {
                self.set_aside.remove(&(*shard, *offset));
            }
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Attend>().handle::<Reset>().read::<Where>();
        commands.handle::<Pause>().handle::<LeaveOut>().handle::<TakeUp>().read::<LeftOut>();
    }
}

impl Group {
    fn reads(&self, shards: &BTreeSet<u32>) -> Attendance {
        let place = |shard: &u32| (*shard, self.positions.get(shard).copied().unwrap_or_default());
        Attendance { reads: shards.iter().map(place).collect(), paused: self.paused }
    }

    /// The positions that count: of shards that the member holds, and only forwards.
    fn forwards(&self, member: u64, positions: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let known = |shard| self.positions.get(&shard).copied().unwrap_or_default();
        let counts = |(shard, offset): &(u32, u64)| {
            self.roster.holds(member, *shard) && *offset > known(*shard)
        };
        positions.iter().copied().filter(counts).collect()
    }
}

impl Handle<Attend> for Group {
    fn handle(
        &self,
        attend: Attend,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, Attendance>, GroupRefusal> {
        let Attend { member, shards, start, holding, positions, leaving } = attend;
        // Before anything is counted: the number comes from a message.
        if !(1..=MAX_SHARDS).contains(&shards) {
            return Err(GroupRefusal::NoCluster { found: shards });
        }
        let begun = (self.shards == 0).then_some(GroupEvent::Begun { shards, positions: start });
        if begun.is_none() && self.shards != shards {
            return Err(GroupRefusal::OtherCluster { expected: self.shards, found: shards });
        }
        let positions = self.forwards(member, &positions);
        if leaving {
            let left = GroupEvent::Left { member, positions };
            return Ok(cx.persist(left).reply(|_| Attendance { reads: Vec::new(), paused: false }));
        }
        if !self.roster.knows(member) && self.roster.len() >= MOST_MEMBERS {
            return Err(GroupRefusal::Full);
        }
        let holding = holding.into_iter().collect();
        let mut share = self.roster.share(member, &holding, shards, cx.now());
        if self.paused {
            // It keeps what it still has to let go.
            share.holds.retain(|shard| holding.contains(shard));
            share.reads.clear();
        }
        let attended = GroupEvent::Attended {
            member,
            until: cx.now().plus(LEASE),
            holds: share.holds.into_iter().collect(),
            lapsed: share.lapsed,
            positions,
        };
        let reads = share.reads;
        Ok(cx.persist_all(begun.into_iter().chain([attended])).reply(move |it| it.reads(&reads)))
    }
}

impl Handle<Reset> for Group {
    fn handle(
        &self,
        Reset { positions }: Reset,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, GroupRefusal> {
        let members = match self.paused {
            true => self.roster.holding(cx.now()),
            false => self.roster.attending(cx.now()),
        };
        if members > 0 {
            return Err(GroupRefusal::InUse { members });
        }
        Ok(cx.persist(GroupEvent::Set { positions }).no_reply())
    }
}

impl Handle<Pause> for Group {
    fn handle(
        &self,
        Pause { paused }: Pause,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, GroupRefusal> {
        let news = (self.paused != paused).then_some(GroupEvent::Paused { paused });
        Ok(cx.persist_all(news).no_reply())
    }
}

impl Handle<LeaveOut> for Group {
    fn handle(
        &self,
        LeaveOut { record }: LeaveOut,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, GroupRefusal> {
        let known = self.set_aside.contains_key(&(record.shard.0, record.offset.0));
        if !known && self.set_aside.len() >= MOST_SET_ASIDE {
            return Err(GroupRefusal::TooManySetAside);
        }
        let news = (!known).then_some(GroupEvent::LeftOut { record });
        Ok(cx.persist_all(news).no_reply())
    }
}

impl Handle<TakeUp> for Group {
    fn handle(
        &self,
        TakeUp { shard, offset }: TakeUp,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, GroupRefusal> {
        let known = self.set_aside.contains_key(&(shard, offset));
        let news = known.then_some(GroupEvent::TakenUp { shard, offset });
        Ok(cx.persist_all(news).no_reply())
    }
}

impl Read<LeftOut> for Group {
    fn read(&self, _: LeftOut, _: &Context<'_, Self>) -> Result<Vec<SetAside>, GroupRefusal> {
        Ok(self.set_aside.values().cloned().collect())
    }
}

impl Read<Where> for Group {
    fn read(&self, _: Where, _: &Context<'_, Self>) -> Result<Vec<(u32, u64)>, GroupRefusal> {
        Ok(self.positions.iter().map(|(shard, offset)| (*shard, *offset)).collect())
    }
}

#[cfg(test)]
mod tests {
    use holm_core::{
        CommandEnvelope, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Limits,
        SeededEntropy, Verdict,
    };
    use holm_persistence::encode;

    use super::*;
    use crate::Registry;

    /// Promise G8: a position moves forwards, and only by who reads the shard.
    #[test]
    fn a_position_counts_from_its_reader_only() {
        let mut group = Group::default();
        group.apply(&GroupEvent::Begun { shards: 2, positions: vec![(0, 4)] });
        group.apply(&GroupEvent::Attended {
            member: 1,
            until: Timestamp::from_millis(9),
            holds: vec![0],
            lapsed: Vec::new(),
            positions: Vec::new(),
        });
        assert_eq!(group.forwards(1, &[(0, 5), (1, 5)]), [(0, 5)]);
        assert_eq!(group.forwards(1, &[(0, 4), (0, 3)]), []);
        assert_eq!(group.forwards(2, &[(0, 5)]), []);
    }

    #[test]
    fn a_group_that_left_records_out_can_be_shown() {
        let mut group = Group::default();
        let (shard, offset) = (holm_core::ShardId(3), holm_core::Offset(7));
        let (text, at) = (String::from("x"), Timestamp::EPOCH);
        let (events, entity, reason) = (text.clone(), text.clone(), text);
        let record = SetAside { shard, offset, events, entity, reason, at, parked: true };
        group.apply(&GroupEvent::LeftOut { record });
        let shown = serde_json::to_value(&group).unwrap();
        assert_eq!(shown["set_aside"][0][0], serde_json::json!([3, 7]));
    }

    /// Promise G9: what a member says decides how much is counted and kept, so it is looked at first.
    #[test]
    fn a_member_cannot_claim_more_shards_than_there_can_be() {
        let registry = Registry::new().with_system_types();
        for (shards, is_refused) in
            [(0, true), (1, false), (MAX_SHARDS, false), (MAX_SHARDS + 1, true), (u32::MAX, true)]
        {
            let mut group = registry.rehearse(Group::TYPE, &Limits::default()).unwrap();
            let (start, holding, positions) = (Vec::new(), Vec::new(), Vec::new());
            let claim = Attend { member: 1, shards, start, holding, positions, leaving: false };
            let envelope = CommandEnvelope {
                address: EntityAddress::new(Group::TYPE, "g").unwrap(),
                command: Attend::NAME.into(),
                payload: encode(&claim).unwrap(),
                key: IdempotencyKey::new("k1").unwrap(),
                id: CommandId(1),
                correlation: CorrelationId(1),
                causation: CommandId(1).causes(),
                deadline: Timestamp::from_millis(1),
            };
            let mut entropy = SeededEntropy::new(1);
            let said = group.execute(Timestamp::EPOCH, &envelope, &mut entropy).unwrap();
            assert_eq!(matches!(said.verdict, Verdict::Rejected(_)), is_refused, "{shards}");
        }
    }
}
