//! The outbox against a model: whatever crashes, is lost, comes late or twice, each reaction takes effect once, and none is forgotten.

mod clock;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use holm_core::{
    Answer, AskError, CausationId, CommandId, CorrelationId, IdempotencyKey, NodeId,
    SequenceNumber, Term, Verdict,
};
use holm_persistence::{Batch, BatchBuilder, Record, StoredReaction, StoredVerdict};
use proptest::prelude::*;

use super::*;

const SHARD: ShardId = ShardId(3);

/// What one reaction of the model does.
#[derive(Debug, Clone)]
struct Wish {
    to: u8,
    after: Option<u16>,
    answered: bool,
}

#[derive(Debug, Clone)]
enum Happening {
    /// A command with these reactions is stored.
    Commit(Vec<Wish>),
    /// The outbox hears of everything that is stored.
    Hear,
    /// Time passes.
    Pass(u16),
    /// One thing that the outbox wants done is done.
    Act(usize),
    /// The same, but the outbox is told that nobody knows.
    ActAndLose(usize),
    /// An entity fails.
    Fail(usize),
    /// An entity cannot be recovered: not even a key that was used can be looked up.
    Break(usize),
    /// So many commands came to every entity that no key is in its window any more.
    Forget,
    /// The node goes down; what was under way comes to nothing, or arrives all the same.
    Crash { late: bool },
}

/// How what the outbox wants done goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Lost,
    Fails,
    Broken,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let wish = (0u8..3, proptest::option::weighted(0.3, 0u16..5_000), any::<bool>())
        .prop_map(|(to, after, answered)| Wish { to, after, answered });
    let one = prop_oneof![
        4 => prop::collection::vec(wish, 0..4).prop_map(Happening::Commit),
        3 => Just(Happening::Hear),
        3 => (0u16..15_000).prop_map(Happening::Pass),
        12 => any::<usize>().prop_map(Happening::Act),
        3 => any::<usize>().prop_map(Happening::ActAndLose),
        2 => any::<usize>().prop_map(Happening::Fail),
        1 => any::<usize>().prop_map(Happening::Break),
        1 => any::<bool>().prop_map(|late| Happening::Crash { late }),
        2 => Just(Happening::Forget),
    ];
    prop::collection::vec(one, 1..200)
}

/// The log, the entities, the stored progress, and one outbox over them.
struct World {
    now: Timestamp,
    batches: Vec<Batch>,
    wishes: BTreeMap<Place, (Wish, Timestamp)>,
    progress: Progress,
    /// What each key led to, as it stands in the log.
    effects: HashMap<IdempotencyKey, Verdict>,
    /// Keys that the windows have forgotten.
    forgotten: HashSet<IdempotencyKey>,
    /// The order in which commands took effect, for each entity.
    orders: BTreeMap<String, Vec<Place>>,
    /// What each sender heard, for each reaction.
    heard: BTreeMap<Place, Vec<Said>>,
    given_up: BTreeSet<Place>,
    outbox: Outbox,
    todo: Vec<ToDo>,
}

const LIMITS: OutboxLimits =
    OutboxLimits { in_flight: 3, open: 6, tries: 3, ask_timeout: Duration::from_secs(5) };

impl World {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let outbox = Outbox::new(SHARD, LIMITS, Progress::default(), Offset::ZERO, now);
        Self {
            now,
            batches: Vec::new(),
            wishes: BTreeMap::new(),
            progress: Progress::default(),
            effects: HashMap::new(),
            forgotten: HashSet::new(),
            orders: BTreeMap::new(),
            heard: BTreeMap::new(),
            given_up: BTreeSet::new(),
            outbox,
            todo: Vec::new(),
        }
    }

    fn last(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, Batch::last)
    }

    fn commit(&mut self, wishes: Vec<Wish>) {
        let offset = self.last().next();
        let ids: Vec<_> = wishes.iter().map(|wish| format!("e{}", wish.to)).collect();
        let reactions = wishes.iter().zip(&ids).map(|(wish, id)| StoredReaction {
            entity_type: "account",
            entity_id: id,
            command: "note",
            payload: b"",
            due: wish.after.map(|after| self.now.plus(Duration::from_millis(after.into()))),
            answered: wish.answered.then_some("noted"),
        });
        let record = Record {
            entity_type: "errand",
            entity_id: "sender",
            previous: Offset(offset.0 - 1),
            base: SequenceNumber::ZERO,
            at: self.now,
            command: "go",
            id: CommandId(offset.0.into()),
            correlation: CorrelationId(7),
            causation: CausationId(8),
            key: IdempotencyKey::new("k").unwrap(),
            fingerprint: 0,
            events: Vec::new(),
            verdict: StoredVerdict::Accepted(b""),
            reactions: reactions.collect(),
        };
        for (reaction, (index, wish)) in record.reactions.iter().zip((0..).zip(&wishes)) {
            let due = reaction.due.unwrap_or_default();
            self.wishes.insert(Place { offset, index }, (wish.clone(), due));
        }
        let mut batch = BatchBuilder::new(SHARD, Term(1), offset);
        batch.push(&record).unwrap();
        self.batches.push(batch.finish());
    }

    fn letters(&self, after: Offset) -> Vec<Letter> {
        let batches = self.batches.iter();
        batches.flat_map(|batch| letters_of(batch, after).unwrap()).collect()
    }

    fn settle(&mut self) {
        self.outbox.advance(self.now);
        while let Some(todo) = self.outbox.poll_output() {
            match todo {
                ToDo::Failure(told) => assert!(told.reason.contains("tries failed"), "{told:?}"),
                ToDo::BeginAgain => {
                    self.begin();
                    self.outbox.advance(self.now);
                }
                todo => self.todo.push(todo),
            }
        }
        let asks = self.todo.iter().filter(|todo| matches!(todo, ToDo::Ask(..) | ToDo::Fetch(_)));
        assert!(asks.count() <= LIMITS.in_flight, "too many under way");
    }

    fn begin(&mut self) {
        self.todo.clear();
        let stored = self.progress.clone();
        self.outbox = Outbox::new(SHARD, LIMITS, stored, self.last(), self.now);
    }

    /// Does what is wanted; `answer` says what the outbox hears of it.
    fn act(&mut self, which: usize, fate: Fate) {
        let lost = fate == Fate::Lost;
        if self.todo.is_empty() {
            return;
        }
        let unknown = || AskError::Interrupted { reason: "lost".into() };
        match self.todo.remove(which % self.todo.len()) {
            ToDo::Read(after) => {
                let read =
                    if lost { Err("lost".into()) } else { Ok((self.last(), self.letters(after))) };
                self.outbox.read(self.now, read);
            }
            ToDo::Fetch(place) => {
                let batch = &self.batches[usize::try_from(place.offset.0 - 1).unwrap()];
                let read = if lost { Err("lost".into()) } else { letter_at(batch, place) };
                self.outbox.fetched(self.now, place, read);
            }
            ToDo::Ask(place, envelope, which) => {
                let (address, command) = (envelope.address.clone(), (*envelope.command).into());
                let reason = "fails".into();
                let answer = match fate {
                    Fate::Broken => Err(AskError::RecoveryFailed { address, reason }),
                    // A key that was used is answered from its record.
                    Fate::Fails if self.recorded(&envelope, which).is_none() => {
                        Err(AskError::EntityFailed { address, command, reason })
                    }
                    _ => {
                        let verdict = self.take_effect(place, &envelope, which);
                        if lost { Err(unknown()) } else { Ok(answer_of(verdict)) }
                    }
                };
                self.outbox.answered(self.now, place, answer);
            }
            ToDo::Store(step) => {
                let verdict = self.store(*step);
                self.outbox.stored(self.now, if lost { Err(unknown()) } else { verdict });
            }
            ToDo::Failure(_) | ToDo::BeginAgain => unreachable!("carried out at once"),
        }
    }

    /// The answer to an earlier try, as far as the entity knows of it: from its window, or from the log when it is told to look there.
    fn recorded(&self, envelope: &CommandEnvelope, which: Try) -> Option<Verdict> {
        let known = which == Try::InDoubt || !self.forgotten.contains(&envelope.key);
        self.effects.get(&envelope.key).filter(|_| known).cloned()
    }

    fn take_effect(&mut self, place: Place, envelope: &CommandEnvelope, which: Try) -> Verdict {
        let first = !self.effects.contains_key(&envelope.key);
        assert!(which == Try::InDoubt || first, "{place:?} is no first try");
        if let Some(verdict) = self.recorded(envelope, which) {
            return verdict;
        }
        let answering = &*envelope.command == "noted";
        self.forgotten.remove(&envelope.key);
        let verdict = Verdict::Accepted(Bytes::copy_from_slice(&place.offset.0.to_le_bytes()));
        self.effects.insert(envelope.key.clone(), verdict.clone());
        if answering {
            let written: crate::answered::Written =
                holm_persistence::decode(&envelope.payload).unwrap();
            if matches!(written.said, Said::Failed { .. }) {
                self.given_up.insert(place);
            }
            self.heard.entry(place).or_default().push(written.said);
        } else {
            assert!(
                !self.given_up.contains(&place),
                "{place:?} was given up, and its sender knows"
            );
            let due = self.wishes[&place].1;
            assert!(due <= self.now, "{place:?} is not due");
            self.orders.entry(envelope.address.id().to_owned()).or_default().push(place);
        }
        verdict
    }

    /// As the entity does it; the window of keys is the version.
    fn store(&mut self, step: Advance) -> Result<Answer, AskError> {
        let key = IdempotencyKey::of_reaction(SHARD, Offset(step.version), 0, 2);
        let bytes = holm_persistence::encode(&step).unwrap();
        if let Some(Verdict::Accepted(stored)) = self.effects.get(&key) {
            if *stored == bytes {
                return Ok(answer_of(Verdict::Accepted(bytes)));
            }
            let address = outbox_of(SHARD, 4);
            return Err(AskError::KeyReused { address });
        }
        if step.version != self.progress.version {
            return Ok(answer_of(Verdict::Rejected(Bytes::new())));
        }
        let Advance { scanned, opened, closed, given_up, .. } = step;
        let event = progress::ProgressEvent::Advanced { scanned, opened, closed, given_up };
        crate::Entity::apply(&mut self.progress, &event);
        self.effects.insert(key, Verdict::Accepted(bytes.clone()));
        Ok(answer_of(Verdict::Accepted(bytes)))
    }

    fn crash(&mut self, late: bool) {
        // What was asked may arrive after the next leader began.
        let under_way = std::mem::take(&mut self.todo);
        self.begin();
        if !late {
            return;
        }
        for todo in under_way {
            match todo {
                ToDo::Ask(place, envelope, which) => {
                    drop(self.take_effect(place, &envelope, which));
                }
                ToDo::Store(step) => drop(self.store(*step)),
                _ => {}
            }
        }
    }

    fn hear(&mut self) {
        let (since, upto) = (self.outbox.scanned, self.last());
        let letters = self.letters(since);
        self.outbox.found(self.now, (since, upto), letters);
    }

    /// Everything goes well from now on.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            self.hear();
            self.settle();
            if self.todo.is_empty() {
                match self.outbox.next_alarm() {
                    None if self.outbox.scanned == self.last() => return,
                    None => {}
                    Some(at) => self.now = self.now.max(at),
                }
            } else {
                self.act(0, Fate::Fine);
            }
        }
        panic!("it does not come to an end: {:?}", self.outbox);
    }
}

fn answer_of(verdict: Verdict) -> Answer {
    let (sequence, offset) = (SequenceNumber(1), Offset(1));
    Answer { verdict, sequence, shard: SHARD, offset, replayed: false, served_by: NodeId(1) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Promise G2. Promise G6: through crashes, lost answers, failing entities and late arrivals each reaction takes effect once or is given up, its
    /// sender hears of it once, and what is for one entity takes effect in the order of the log.
    #[test]
    fn each_reaction_takes_effect_once(happenings in happenings()) {
        let mut world = World::new();
        for happening in happenings {
            world.settle();
            match happening {
                Happening::Commit(wishes) => world.commit(wishes),
                Happening::Hear => world.hear(),
                Happening::Pass(millis) => world.now = world.now.plus(Duration::from_millis(millis.into())),
                Happening::Act(which) => world.act(which, Fate::Fine),
                Happening::ActAndLose(which) => world.act(which, Fate::Lost),
                Happening::Fail(which) => world.act(which, Fate::Fails),
                Happening::Break(which) => world.act(which, Fate::Broken),
                Happening::Crash { late } => world.crash(late),
                Happening::Forget => world.forgotten = world.effects.keys().cloned().collect(),
            }
        }
        world.finish();
        let done: BTreeSet<_> = world.orders.values().flatten().copied().collect();
        let effects: usize = world.orders.values().map(Vec::len).sum();
        prop_assert_eq!(effects, done.len(), "something took effect twice");
        for (place, (wish, _)) in &world.wishes {
            let heard = world.heard.get(place).map_or(0, Vec::len);
            let failed = world.given_up.contains(place);
            // One whose answer nobody waits for, or whose answer failed each time, may end unheard.
            prop_assert!(heard <= usize::from(wish.answered), "{:?} was heard {} times", place, heard);
            prop_assert!(!(failed && done.contains(place)), "{:?} was given up and took effect", place);
        }
        prop_assert!(world.progress.open.is_empty(), "{:?}", world.progress.open);
        let newest = world.wishes.last_key_value().map(|(place, _)| place.offset);
        prop_assert!(newest.is_none_or(|newest| newest <= world.progress.scanned));
        for order in world.orders.values() {
            let at_once = order.iter().filter(|place| world.wishes[place].0.after.is_none());
            let at_once: Vec<_> = at_once.collect();
            prop_assert!(at_once.is_sorted(), "{:?}", at_once);
        }
    }

    /// Promise G6: without failing entities nothing is given up, and every answer is heard.
    #[test]
    fn nothing_is_forgotten(happenings in happenings()) {
        let mut world = World::new();
        for happening in happenings {
            world.settle();
            match happening {
                Happening::Commit(wishes) => world.commit(wishes),
                Happening::Hear => world.hear(),
                Happening::Pass(millis) => world.now = world.now.plus(Duration::from_millis(millis.into())),
                Happening::Act(which) | Happening::Fail(which) | Happening::Break(which) => world.act(which, Fate::Fine),
                Happening::ActAndLose(which) => world.act(which, Fate::Lost),
                Happening::Crash { late } => world.crash(late),
                Happening::Forget => world.forgotten = world.effects.keys().cloned().collect(),
            }
        }
        world.finish();
        let done: BTreeSet<_> = world.orders.values().flatten().copied().collect();
        for (place, (wish, _)) in &world.wishes {
            prop_assert!(done.contains(place), "{:?} never took effect", place);
            let heard = world.heard.get(place).map_or(0, Vec::len);
            prop_assert_eq!(heard, usize::from(wish.answered), "{:?}", place);
        }
    }
}

/// Promise G6: a late step of an earlier leader gives nothing up that the present one delivers. Found by the model above.
#[test]
fn a_late_step_gives_up_nothing_that_is_delivered() {
    let mut world = World::new();
    world.commit(vec![Wish { to: 0, after: None, answered: true }]);
    world.hear();
    // Three failures: the decision to give up is on its way when the node goes.
    let giving_up = |todo: &ToDo| matches!(todo, ToDo::Store(it) if !it.given_up.is_empty());
    for _ in 0..100 {
        world.settle();
        if world.todo.iter().any(giving_up) {
            break;
        }
        world.act(0, Fate::Fails);
        world.now = world.now.plus(Duration::from_millis(250));
    }
    assert!(world.todo.iter().any(giving_up));
    let late = std::mem::take(&mut world.todo);
    world.begin();
    world.settle();
    assert!(
        !world.todo.iter().any(|todo| matches!(todo, ToDo::Ask(..))),
        "nothing before the claim"
    );
    for todo in late {
        if let ToDo::Store(step) = todo {
            drop(world.store(*step));
        }
    }
    world.finish();
    let heard: Vec<_> = world.heard.values().flatten().collect();
    assert!(matches!(heard[..], [Said::Failed { .. }]), "{heard:?}");
    assert!(world.orders.is_empty(), "{:?}", world.orders);
}

#[test]
fn a_try_in_doubt_has_twice_the_time_of_the_one_before() {
    let seconds =
        |ask_timeout, pauses| in_doubt_for(Duration::from_secs(ask_timeout), pauses).as_secs();
    let tries: Vec<_> = (0..6).map(|pauses| seconds(5, pauses)).collect();
    assert_eq!(tries, [5, 10, 20, 40, 60, 60]);
    assert_eq!(seconds(90, u32::MAX), 90, "never less than a first try has");
}
