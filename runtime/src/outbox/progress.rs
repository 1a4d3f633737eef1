//! How far the outbox of a shard has come, kept durable as an entity of Holm's own in that very shard.
//!
//! The entity is not asked for each delivery: what it does not know yet is delivered again after a take-over, under the same key. It only says
//! from where to look, and what of everything before is still open.

use std::collections::BTreeMap;
use std::ops::Bound;

use holm_core::{EntityAddress, Offset, ShardId, Timestamp, shard_of};
use serde::{Deserialize, Serialize};

use super::letter::Place;
use crate::{Command, Commands, Context, Effect, Entity, Event, Handle, Read};

/// Bytes of open reactions in one page, so that it fits a reply.
const PAGE_BYTES: usize = 32 * 1024;

/// What one open reaction takes in a page at most, but for its reason.
const OPEN_BYTES: usize = 48;

/// The progress of one outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Counts the steps: whoever does not know the newest one has been overtaken.
    pub(crate) version: u64,
    /// Every reaction up to here was found.
    pub(crate) scanned: Offset,
    /// What of them is not done yet: timers that are not due, and what could not be delivered so far.
    #[serde(with = "crate::pairs")]
    pub(crate) open: BTreeMap<Place, Open>,
}

/// A reaction that is not done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The lane of the entity that it is for.
    pub(crate) lane: u64,
    /// When it is to be sent; zero: at once.
    pub(crate) due: Timestamp,
    /// Why it was given up. Its sender is told so, and nothing else, whatever could be done later.
    pub(crate) given_up: Option<Box<str>>,
}

/// One step forward.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Command)]
#[command(internal)]
pub(crate) struct Advance {
    /// The version that it follows.
    pub(crate) version: u64,
    pub(crate) scanned: Offset,
    pub(crate) opened: Vec<(Place, Open)>,
    pub(crate) closed: Vec<Place>,
    pub(crate) given_up: Vec<(Place, Box<str>)>,
}

/// A page of what is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Command)]
#[command(reply = Page, internal)]
pub(crate) struct Look {
    pub(crate) after: Option<Place>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) scanned: Offset,
    pub(crate) open: Vec<(Place, Open)>,
    pub(crate) more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
pub(crate) enum ProgressEvent {
    Advanced {
        scanned: Offset,
        opened: Vec<(Place, Open)>,
        closed: Vec<Place>,
        given_up: Vec<(Place, Box<str>)>,
    },
}

/// Somebody else went on from the same step: another leader, or an earlier one whose last step came late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the outbox is at step {version}")]
pub(crate) struct Overtaken {
    pub(crate) version: u64,
}

impl Entity for Progress {
    const TYPE: &'static str = "holm-outbox";
    type Event = ProgressEvent;
    type Rejection = Overtaken;

    fn apply(&mut self, event: &ProgressEvent) {
        let ProgressEvent::Advanced { scanned, opened, closed, given_up } = event;
        self.version += 1;
        self.scanned = *scanned;
        self.open.extend(opened.iter().cloned());
        for (place, reason) in given_up {
            if let Some(open) = self.open.get_mut(place) {
                open.given_up = Some(reason.clone());
            }
        }
        for place in closed {
            self.open.remove(place);
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Advance>().read::<Look>();
    }
}

impl Handle<Advance> for Progress {
    fn handle(
        &self,
        step: Advance,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, Overtaken> {
        if step.version != self.version {
            return Err(Overtaken { version: self.version });
        }
        let Advance { scanned, opened, closed, given_up, .. } = step;
        Ok(cx.persist(ProgressEvent::Advanced { scanned, opened, closed, given_up }).no_reply())
    }
}

impl Read<Look> for Progress {
    fn read(&self, Look { after }: Look, _: &Context<'_, Self>) -> Result<Page, Overtaken> {
        Ok(self.page(after))
    }
}

impl Progress {
    fn page(&self, after: Option<Place>) -> Page {
        let mut page = Page { version: self.version, scanned: self.scanned, ..Page::default() };
        let mut bytes = 0;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (place, open) in self.open.range((from, Bound::Unbounded)) {
            bytes += OPEN_BYTES + open.given_up.as_ref().map_or(0, |reason| reason.len());
            if bytes > PAGE_BYTES {
                page.more = true;
                break;
            }
            page.open.push((*place, open.clone()));
        }
        page
    }
}

/// The address of a shard's outbox: the first of `0.n`, `1.n` and so on (the shard's number, then a count from zero) that hashes to the shard that it
/// serves. One in `shards` does, so there always is one soon.
pub(crate) fn outbox_of(shard: ShardId, shards: u32) -> EntityAddress {
    let candidate = |count: u32| {
        EntityAddress::new(Progress::TYPE, format!("{shard}.{count}")).expect("digits and a dot")
    };
    (0..=u32::MAX)
        .map(candidate)
        .find(|address| shard_of(address, shards) == shard)
        .expect("of four thousand million texts one hashes to each shard")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of an outbox is derived anew at each start, so it must never change.
    #[test]
    fn an_outbox_lives_in_the_shard_that_it_serves() {
        for shards in [1, 2, 32, 1_000] {
            for shard in (0..shards).map(ShardId) {
                assert_eq!(shard_of(&outbox_of(shard, shards), shards), shard);
            }
        }
        let known = [(0, 1), (0, 32), (7, 32), (31, 32), (999, 1_000)];
        let ids = known.map(|(shard, shards)| outbox_of(ShardId(shard), shards).id().to_owned());
        assert_eq!(ids, ["0.0", "0.32", "7.13", "31.31", "999.661"]);
    }

    #[test]
    fn an_outbox_with_open_reactions_can_be_shown() {
        let mut progress = Progress::default();
        let place = Place { offset: Offset(4), index: 1 };
        progress.open.insert(place, Open { lane: 1, due: Timestamp::EPOCH, given_up: None });
        let shown = serde_json::to_value(&progress).unwrap();
        assert_eq!(shown["open"][0][0]["offset"], 4);
    }

    /// What is open is read in pages that fit a reply, each place once.
    #[test]
    fn pages_hold_every_open_reaction_once() {
        let reason = Some("r".repeat(256).into());
        let mut progress = Progress::default();
        for number in 0..2_000u64 {
            let place = Place { offset: Offset(number / 3 + 1), index: (number % 3) as u16 };
            let given_up = reason.clone().filter(|_| number % 5 == 0);
            let open = Open { lane: u64::MAX, due: Timestamp::from_millis(u64::MAX), given_up };
            progress.open.insert(place, open);
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = progress.page(after);
            assert!(holm_persistence::encode(&page).unwrap().len() <= 64 * 1024);
            after = page.open.last().map(|(place, _)| *place);
            seen.extend(page.open);
            if !page.more {
                break;
            }
        }
        assert!(seen.into_iter().eq(progress.open));
    }
}
