//! Which shards a subscription follows, from where, and for what: at most one request is under way for each.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable};
use futures::stream::FuturesUnordered;
use holm_core::{Offset, ShardId};

use super::feed::{FeedError, Page, ShardFeed};
use super::interest::Interest;
use super::subscription::Subscription;

type Step = Pin<Box<dyn Future<Output = (ShardFeed, Result<Page, FeedError>)> + Send>>;

/// The steps under way. One that is aborted lets its request go: what waits at a log has a limit that all who follow it share.
#[derive(Default)]
pub(super) struct Followings {
    steps: FuturesUnordered<Abortable<Step>>,
    of: BTreeMap<ShardId, AbortHandle>,
}

impl Followings {
    fn go_on(&mut self, mut feed: ShardFeed) {
        let (handle, registration) = AbortHandle::new_pair();
        // What is replaced is over: it brought the page that was at hand.
        self.of.insert(feed.shard(), handle);
        let step: Step = Box::pin(async move {
            let page = feed.next().await;
            (feed, page)
        });
        self.steps.push(Abortable::new(step, registration));
    }

    fn end(&mut self, shard: ShardId) {
        if let Some(step) = self.of.remove(&shard) {
            step.abort();
        }
    }

    async fn next(&mut self) -> (ShardFeed, Result<Page, FeedError>) {
        loop {
            match self.steps.next().await {
                Some(Ok(step)) => return step,
                Some(Err(_aborted)) => {}
                // No shard to follow: nothing will ever come.
                None => std::future::pending().await,
            }
        }
    }
}

impl Subscription {
    /// Follows one more shard, from behind `offset`.
    pub fn follow(&mut self, shard: ShardId, offset: Offset) {
        self.leave(shard);
        if let Some(mark) = &self.mark {
            mark.follows(shard, offset);
        }
        self.begin(shard, offset);
    }

    /// Follows a shard no longer. What of it was not given out yet is dropped.
    pub fn leave(&mut self, shard: ShardId) {
        if let Some(mark) = &self.mark {
            mark.leaves(shard);
        }
        self.end(shard);
        self.handed_out.0.remove(&shard);
    }

    /// Wants these facts from the present position on. A record of which only some facts were given out comes again.
    ///
    /// What was of no interest before and lies behind is not looked for; [`Subscription::include`] does that for one entity. A replay of an entity that the
    /// new interest does not include ends where it is.
    pub fn set_interest(&mut self, interest: Interest) {
        self.replays.keep_only(&interest);
        self.interest = Arc::new(interest);
        for (shard, offset) in self.position().0.clone() {
            self.want_anew(shard, offset);
        }
    }

    /// Reads a shard that is followed from behind `offset` for what is wanted now. For whoever watches nothing has changed.
    pub(super) fn want_anew(&mut self, shard: ShardId, offset: Offset) {
        self.end(shard);
        self.begin(shard, offset);
    }

    fn begin(&mut self, shard: ShardId, offset: Offset) {
        self.handed_out.0.insert(shard, offset);
        let (inspector, interest) = (Arc::clone(&self.inspector), Arc::clone(&self.interest));
        let feed = ShardFeed::new(inspector, interest, shard, offset)
            .with(self.mark.clone(), self.tagger.clone());
        self.followings.go_on(feed);
    }

    fn end(&mut self, shard: ShardId) {
        self.followings.end(shard);
        if self.at_hand.as_ref().is_some_and(|feed| feed.shard() == shard) {
            self.at_hand = None;
            self.ready.clear();
        }
    }

    /// Waits until a page is at hand.
    pub(super) async fn wait_for_a_page(&mut self) -> Result<(), FeedError> {
        let (feed, page) = self.followings.next().await;
        match page {
            Ok(page) => {
                self.ready = page.facts.into();
                self.at_hand = Some(feed);
                Ok(())
            }
            Err(error) => {
                self.followings.go_on(feed);
                Err(error)
            }
        }
    }

    /// The page at hand is given out: its feed goes on. True when there was one.
    pub(super) fn let_go(&mut self) -> bool {
        let Some(feed) = self.at_hand.take() else { return false };
        self.handed_out.0.insert(feed.shard(), feed.position());
        self.followings.go_on(feed);
        true
    }
}
