//! Violations of what subscribers were given: the logs are right.

use holm_core::Entropy;

use super::any;
use crate::checks::tests::right::Parts;
use crate::checks::{GROUP, SHARED};
use crate::history::SeenFact;

/// Nobody of a group, or nobody who follows alone, was given this; they were given something of the shard before and behind it.
pub(super) fn leave_out_a_fact(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.facts, pick, |_| true) else { return false };
    let left_out = parts.facts[chosen].clone();
    let same = |it: &SeenFact| it.follower == left_out.follower && it.shard == left_out.shard;
    let place = |it: &SeenFact| (it.offset, it.index);
    let before = parts.facts.iter().any(|it| same(it) && place(it) < place(&left_out));
    let behind = parts.facts.iter().any(|it| same(it) && place(it) > place(&left_out));
    parts.facts.retain(|it| !same(it) || place(it) != place(&left_out));
    before && behind
}

pub(super) fn invent_a_fact(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.facts, pick, |_| true) else { return false };
    let mut invented = parts.facts[chosen].clone();
    invented.offset.0 += 10_000;
    parts.facts.push(invented);
    true
}

pub(super) fn misname_a_fact(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.facts, pick, |_| true) else { return false };
    parts.facts[chosen].event = "Another".into();
    true
}

pub(super) fn alone_twice(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.facts, pick, |it| it.follower == 1) else { return false };
    parts.facts.push(parts.facts[chosen].clone());
    true
}

pub(super) fn end_too_early(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    leave_out_the_last(parts, pick, GROUP)
}

pub(super) fn stop_handling(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    leave_out_the_last(parts, pick, SHARED)
}

/// A group that has read everything was not given the last fact of a shard.
fn leave_out_the_last(parts: &mut Parts, pick: &mut dyn Entropy, group: u64) -> bool {
    let Some(chosen) = any(&parts.facts, pick, |it| it.follower == group) else { return false };
    let shard = parts.facts[chosen].shard;
    let of_group = |it: &&SeenFact| it.follower == group && it.shard == shard;
    let last = parts.facts.iter().filter(of_group).map(|it| (it.offset, it.index)).max();
    parts.facts.retain(|it| !of_group(&it) || Some((it.offset, it.index)) != last);
    true
}
