//! Everything that follows the bus inside a node: subscribers, a policy, a member of a shared projection.

use std::sync::Arc;

use holm_core::{Clock, SeededEntropy};
use holm_projections::ProjectionHandle;
use holm_runtime::bus::Bus;
use holm_runtime::{Asker, Caller, ShardHost};
use holm_sharding::ClusterNode;

use super::Settings;
use super::follower::{Followed, follow};
use super::met::Met;
use super::policy::{Carrying, Decided, HandedOver};
use super::process::Common;
use super::shared::share;
use super::time::WallClock;
use crate::checks::{GROUP, SHARED};

/// Who follows the bus in a world, and what they were given. Clones share it.
#[derive(Clone)]
pub(super) struct Readers {
    followers: bool,
    pub(super) policy: bool,
    shared: bool,
    pub(super) followed: Followed,
    decided: Decided,
}

impl Readers {
    pub(super) fn of(settings: &Settings, met: &Met) -> Self {
        let Settings { followers, policy, shared, .. } = *settings;
        let decided = Decided::default();
        Self { followers, policy, shared, followed: Followed::new(met), decided }
    }

    /// The groups whose members share the shards, by their numbers among the followers.
    pub(super) fn groups(&self) -> Vec<u64> {
        let groups = [(GROUP, self.followers), (SHARED, self.shared)];
        groups.into_iter().filter_map(|(group, is_there)| is_there.then_some(group)).collect()
    }
}

/// What has to be told that the process ends.
pub(super) struct OnTheBus {
    carrying: Option<Carrying>,
    shared: Option<ProjectionHandle>,
}

impl OnTheBus {
    /// Begins on a node whose process has this seed.
    pub(super) fn begin(
        node: &ClusterNode,
        host: Option<ShardHost>,
        clock: &WallClock,
        common: &Common,
        seed: u64,
    ) -> Self {
        let Common { readers, met, .. } = common;
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let router = Arc::new(node.router().clone());
        // Each has a stream of chance of its own, so that none changes what another draws.
        let bus = |asker: Arc<dyn Asker>, stream: u64| {
            let (timeout, entropy) = (common.limits.ask_timeout, SeededEntropy::new(stream));
            let caller = Caller::new(asker, Arc::clone(&clock), timeout, entropy);
            Bus::new(caller, router.clone(), common.shards)
        };
        if readers.followers {
            follow(bus(router.clone(), seed ^ 0xF011_0737), &readers.followed);
        }
        let carrying = host.filter(|_| readers.policy).and_then(|host| {
            let asker = Arc::new(HandedOver { asker: router.clone(), met: met.clone() });
            let bus = bus(asker, seed ^ 0x9011_C135);
            Carrying::begin((bus, host), met.clone(), readers.decided.clone(), seed)
                .inspect_err(|error| readers.followed.problem(error.to_string()))
                .ok()
        });
        let shared = readers.shared.then(|| {
            let bus = bus(router.clone(), seed ^ 0x54A7_ED00);
            share(bus, Arc::clone(&clock), &readers.followed, seed)
        });
        Self { carrying, shared }
    }

    /// Lets the others take over what can be taken over.
    pub(super) async fn stop(self) {
        let Self { carrying, shared } = self;
        futures::join!(
            async {
                if let Some(carrying) = carrying {
                    carrying.stop().await;
                }
            },
            async {
                if let Some(shared) = shared {
                    shared.stop().await;
                }
            }
        );
    }
}
