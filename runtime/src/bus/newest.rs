//! For whoever wants to know how things stand, and not how they came to.

use std::collections::HashSet;

use super::durable::{DurableSubscription, SubscribeError};
use super::fact::Fact;
use super::feed::FeedError;
use super::subscription::Subscription;

/// Of these facts the last of each entity, in the order in which they came. The facts must be in the order of their shards.
#[must_use]
pub fn newest_of_each(mut facts: Vec<Fact>) -> Vec<Fact> {
    let mut newest = HashSet::new();
    let mut keeps: Vec<bool> =
        facts.iter().rev().map(|fact| newest.insert(fact.address().clone())).collect();
    facts.retain(|_| keeps.pop().unwrap_or(true));
    facts
}

impl Subscription {
    /// Waits until something comes, takes what is ready, up to `limit` facts and the rest of their last record, and gives of each entity only the newest. None at
    /// all when what came was of no interest.
    ///
    /// So a reader that is slower than the writers skips what was overtaken, and never misses what is the last: ask the entity then for its state, which is at
    /// least that new. A position goes behind what was skipped.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    ///
    /// # Cancel safety
    /// As [`Subscription::next_group`].
    pub async fn next_newest(&mut self, limit: usize) -> Result<Vec<Fact>, FeedError> {
        self.next_group(limit).await.map(newest_of_each)
    }
}

impl DurableSubscription {
    /// As [`Subscription::next_newest`], and never empty. That it is called means that the facts before were handled, and what they had overtaken.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`].
    ///
    /// # Cancel safety
    /// Safe: facts are given out or stay.
    pub async fn next_newest(&mut self, limit: usize) -> Result<Vec<Fact>, SubscribeError> {
        self.note_handled();
        self.next_group(limit).await.map(newest_of_each)
    }
}
