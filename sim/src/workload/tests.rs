//! The workload is not blind: each kind comes, in time, and means what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holm_core::{CausationId, CommandEnvelope, CommandId, CorrelationId, Timestamp};

use super::*;
use crate::register::Register;

fn workload(seed: u64) -> Workload {
    Workload::new(seed, 3, Limits::default())
}

/// Over a thousand seeds of three hundred commands each kind comes in at least a hundred of them.
#[test]
fn every_kind_of_command_comes() {
    let mut seeds_with: BTreeMap<Kind, u32> = BTreeMap::new();
    for seed in 0..1_000 {
        let mut workload = workload(seed);
        let kinds: BTreeSet<_> = (0..300).map(|_| workload.draw().kind).collect();
        kinds.into_iter().for_each(|kind| *seeds_with.entry(kind).or_default() += 1);
    }
    for kind in Kind::ALL {
        let seeds = seeds_with.get(&kind).copied().unwrap_or_default();
        assert!(seeds >= 100, "{kind} came in {seeds} of 1,000 seeds only");
    }
}

/// Swarm: each kind but reads and writes is left out of at least a hundred seeds of a thousand.
#[test]
fn every_kind_is_left_out_somewhere() {
    for kind in Kind::ALL {
        let without = (0..1_000).filter(|&seed| workload(seed).mix().weight(kind) == 0).count();
        let needed = matches!(kind, Kind::Look | Kind::Write);
        assert!(needed == (without == 0) && (needed || without >= 100), "{kind}: {without}");
    }
}

/// Promise G10: the same seed draws the same commands.
#[test]
fn a_seed_draws_the_same_twice() {
    let draw = |seed| {
        let mut workload = workload(seed);
        (0..200).map(|_| workload.draw()).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

/// Retries carry their first try's key and payload, twins go through several nodes, and a reused key brings another payload.
#[test]
fn a_retry_is_the_same_command() {
    let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
    for seed in 0..60 {
        let mut workload = workload(seed);
        let mut first: HashMap<(EntityAddress, IdempotencyKey), Bytes> = HashMap::new();
        for _ in 0..300 {
            let ask = workload.draw();
            let key = (ask.entity.clone(), ask.key.clone());
            let known = first.get(&key).cloned();
            match ask.kind {
                Kind::Repeat | Kind::Elsewhere | Kind::Twins => assert!(known.is_some(), "{ask:?}"),
                Kind::ReusedKey => assert_ne!(known.unwrap(), ask.payload),
                _ => assert!(known.is_none(), "{ask:?}"),
            }
            assert_eq!(ask.through.len() > 1, ask.kind == Kind::Twins);
            assert!(ask.through.iter().all(|node| *node < 3));
            *counts.entry(ask.kind).or_default() += 1;
            first.entry(key).or_insert(ask.payload);
        }
    }
    for kind in [Kind::Repeat, Kind::Elsewhere, Kind::Twins, Kind::ReusedKey] {
        assert!(counts[&kind] > 50, "{counts:?}");
    }
}

/// What has an unknown outcome is asked again before long.
#[test]
fn open_outcomes_are_asked_again() {
    let mut asked_again = 0;
    for seed in 0..50 {
        let mut workload = workload(seed);
        let ask = loop {
            let ask = workload.draw();
            if ask.kind == Kind::Write {
                break ask;
            }
        };
        workload.told(&ask, &Told::Open);
        asked_again += u32::from((0..100).any(|_| workload.draw().key == ask.key));
    }
    assert!(asked_again > 40, "{asked_again} of 50");
}

/// What a run asked can be looked at when it is over, each entity by the read of its own type.
#[test]
fn whatever_was_asked_can_be_looked_at() {
    let registry = registry();
    let mut workload = workload(3);
    for _ in 0..300 {
        let asked = workload.draw().entity;
        let look = workload.look_at(&asked);
        assert!(look.reads && look.entity == asked);
        let mut rehearsal = registry.rehearse(asked.entity_type(), &Limits::default()).unwrap();
        let envelope = CommandEnvelope {
            address: look.entity,
            command: look.command.into(),
            payload: look.payload,
            key: look.key,
            id: CommandId::default(),
            correlation: CorrelationId::default(),
            causation: CausationId::default(),
            deadline: Timestamp::default(),
        };
        let told = rehearsal.execute(Timestamp::EPOCH, &envelope, &mut SeededEntropy::new(0));
        assert!(told.is_ok(), "{told:?}");
    }
}

/// Promise G9: a command exactly as long as allowed, and one a byte longer.
#[test]
fn the_limits_are_met_to_the_byte() {
    for limit in [300, 70_000, Limits::default().command_bytes] {
        let mut limits = Limits::default();
        limits.command_bytes = limit;
        let mut workload = Workload::new(1, 1, limits);
        let near = registers::ask(&mut workload, Kind::NearLimit).payload.len();
        let beyond = registers::ask(&mut workload, Kind::TooLong).payload.len();
        assert_eq!((near, beyond), (limit, limit + 1));
    }
}

/// No two writes of one run write the same value, so each reply names the write that it saw.
#[test]
fn values_are_written_once() {
    let mut workload = workload(11);
    let mut values = BTreeSet::new();
    for _ in 0..2_000 {
        let ask = workload.draw();
        if ask.kind == Kind::Write && ask.entity.entity_type() == Register::TYPE {
            let crate::register::Write { value } = holm_persistence::decode(&ask.payload).unwrap();
            assert!(values.insert(value), "{value} is written twice");
        }
    }
    assert!(values.len() > 100);
}

/// A seed without relics asks what it asked before there were any.
#[test]
fn a_seed_without_relics_draws_what_it_drew_before() {
    for seed in 0..100 {
        let (mut with, mut without) = (workload(seed), workload(seed).without_relics());
        let haunted = with.mix().weight(Kind::Relic) > 0;
        let (with, without): (Vec<_>, Vec<_>) =
            (0..100).map(|_| (with.draw(), without.draw())).unzip();
        assert!(without.iter().all(|ask| ask.kind != Kind::Relic));
        assert!(haunted || with == without, "seed {seed}");
    }
}
