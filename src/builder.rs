//! The builder: what a node hosts, where it keeps it, and whether it stands alone or in a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Clock, Limits, MAX_SHARDS, SystemClock};
use holm_persistence::DiskLimits;
use holm_runtime::{Entity, Policy, Registry};
use holm_sharding::ConsensusTimes;

use crate::environment::Environment;
use crate::start_error::StartError;
use crate::{Holm, member, single};

/// How a node is part of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The cluster's name. Nodes of differently named clusters refuse each other.
    pub name: String,
    /// Where to listen for other nodes. Port 0 lets the system pick one.
    pub listen: SocketAddr,
    /// Where other nodes reach this one, when that is not where it listens: behind an address translation, or when it listens on every interface.
    pub advertise: Option<SocketAddr>,
    /// Peer addresses of some members, the same list on every node. The first one forms the cluster when none of the others knows one; without any,
    /// the node forms a cluster of its own.
    pub seeds: Vec<SocketAddr>,
    /// Shards are placed once this many nodes have joined. Default 1.
    pub expected_nodes: u32,
    /// Replicas of each shard, fewer when there are fewer nodes. Fixed when the cluster is created. Default 3.
    pub replication: u32,
    /// How long nothing was asked of a shard before its group rests and costs nothing; none: never. Default 5 s.
    pub rest_after: Option<Duration>,
    /// What every process of the cluster knows and nobody else; needed on an address that other machines can reach.
    pub secret: Option<String>,
    /// Where this node's management pages will be, for other nodes to tell; `http://host:port`.
    pub http: Option<String>,
}

impl ClusterSettings {
    /// A node of the cluster `name` that listens on `listen` and looks for others at `seeds`.
    pub fn new(
        name: impl Into<String>,
        listen: SocketAddr,
        seeds: impl Into<Vec<SocketAddr>>,
    ) -> Self {
        Self {
            name: name.into(),
            listen,
            advertise: None,
            seeds: seeds.into(),
            expected_nodes: 1,
            replication: 3,
            rest_after: ConsensusTimes::default().rest_after,
            secret: None,
            http: None,
        }
    }
}

/// Builds a node. Made by [`Holm::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    pub(crate) registry: Registry,
    pub(crate) policies: Vec<Policy>,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) in_memory: bool,
    pub(crate) correlation_index: bool,
    pub(crate) event_namespace: String,
    pub(crate) node_name: String,
    pub(crate) shards: u32,
    pub(crate) arbiters: Option<usize>,
    pub(crate) disk: DiskLimits,
    pub(crate) cluster: Option<ClusterSettings>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::new(),
            policies: Vec::new(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            data_dir: None,
            in_memory: false,
            correlation_index: true,
            event_namespace: NAMESPACE.to_owned(),
            node_name: "holm-1".to_owned(),
            // Enough to spread over ten nodes, few enough that the heartbeats of all groups cost little. Fixed when the data is created.
            shards: 32,
            arbiters: None,
            disk: DiskLimits::default(),
            cluster: None,
        }
    }

    /// Hosts entities of type `E`.
    pub fn entity<E: Entity>(mut self) -> Self {
        self.registry = self.registry.entity::<E>();
        self
    }

    /// Takes part in carrying out a policy: whenever something happens to entities of one type, commands are sent to others. All nodes that register a policy share
    /// its work; one that does not register it takes no part.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Takes part in carrying out several policies, as [`Builder::policy`].
    pub fn policies(mut self, policies: impl IntoIterator<Item = Policy>) -> Self {
        self.policies.extend(policies);
        self
    }

    /// Keeps everything under this directory. One process at a time may use it.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Keeps everything in memory: for tests. Nothing survives, and a cluster cannot be built on it.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Whether this node keeps an index of correlation ids, by which the flow of a conversation is found without searching the logs. Default true; it
    /// costs eight bytes a record. Switched on later, it knows what is written from then on.
    pub fn correlation_index(mut self, correlation_index: bool) -> Self {
        self.correlation_index = correlation_index;
        self
    }

    /// What the types of this program's events begin with where they leave it as CloudEvents: its domain backwards, as in `com.acme.bank`, which makes
    /// `com.acme.bank.account.withdrawn.v1`. The same on every node. Default `holm`.
    pub fn event_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.event_namespace = namespace.into();
        self
    }

    /// Replaces the default limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The node's name, unique in its cluster. Default `holm-1`.
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = name.into();
        self
    }

    /// The number of shards, 1 to [`MAX_SHARDS`]. Fixed when the data is created; later nodes must name the same. Default 32.
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = shards;
        self
    }

    /// The number of threads that run entities. Default: one per core.
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.arbiters = Some(arbiters);
        self
    }

    /// When the disk of the data directory counts as nearly full, which is told as a failure fact. Default: less than 10 %, or less than 1 GiB.
    pub fn disk_limits(mut self, limits: DiskLimits) -> Self {
        self.disk = limits;
        self
    }

    /// What time it is: for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the node a member of a cluster.
    pub fn cluster(mut self, settings: ClusterSettings) -> Self {
        self.cluster = Some(settings);
        self
    }

    /// Tells the other nodes where this node's management pages are.
    pub fn advertise_http(mut self, address: impl Into<String>) -> Self {
        if let Some(cluster) = &mut self.cluster {
            cluster.http = Some(address.into());
        }
        self
    }

    /// Takes over what the `HOLM_*` variables of the process say; they win over what was set before. A listen address or a cluster name makes the
    /// node a member of a cluster.
    ///
    /// # Errors
    /// [`StartError::Environment`] names the variable that is unknown or malformed.
    pub fn from_env(self) -> Result<Self, StartError> {
        Ok(self.apply(Environment::read(std::env::vars())?))
    }

    fn apply(mut self, environment: Environment) -> Self {
        if let Some(name) = environment.node_name {
            self.node_name = name;
        }
        if let Some(dir) = environment.data_dir {
            self.data_dir = Some(dir);
        }
        if let Some(correlation_index) = environment.correlation_index {
            self.correlation_index = correlation_index;
        }
        if let Some(shards) = environment.shards {
            self.shards = shards;
        }
        if let Some(percent) = environment.disk_free_percent {
            self.disk.free_percent = percent;
        }
        if let Some(mebibytes) = environment.disk_free_mib {
            self.disk.free_bytes = mebibytes.saturating_mul(1 << 20);
        }
        if environment.listen.is_some() || environment.cluster.is_some() {
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            self.cluster.get_or_insert_with(|| ClusterSettings::new("holm", any_port, []));
        }
        if let Some(cluster) = &mut self.cluster {
            if let Some(name) = environment.cluster {
                cluster.name = name;
            }
            if let Some(listen) = environment.listen {
                cluster.listen = listen;
            }
            if let Some(advertise) = environment.advertise {
                cluster.advertise = Some(advertise);
            }
            if let Some(seeds) = environment.seeds {
                cluster.seeds = seeds;
            }
            if let Some(expected) = environment.expected_nodes {
                cluster.expected_nodes = expected;
            }
            if let Some(replication) = environment.replication {
                cluster.replication = replication;
            }
            if let Some(after) = environment.rest_after_ms {
                cluster.rest_after = (after > 0).then(|| Duration::from_millis(after));
            }
            if let Some(secret) = environment.secret {
                cluster.secret = Some(secret);
            }
        }
        self
    }

    /// Starts the node. Alone, it resolves when every shard can take commands; in a cluster, when the node is a member.
    ///
    /// # Errors
    /// [`StartError`] says what stands in the way and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a node starting in the background that stops by itself; the data directory is locked until then.
    pub async fn start(self) -> Result<Holm, StartError> {
        let unfit = |reason: String| StartError::Settings { reason };
        if !(1..=MAX_SHARDS).contains(&self.shards) {
            let shards = self.shards;
            return Err(unfit(format!("{shards} shards: a cluster has 1 to {MAX_SHARDS}")));
        }
        if !is_namespace(&self.event_namespace) {
            let namespace = &self.event_namespace;
            return Err(unfit(format!(
                "`{namespace}` is no namespace of events: a domain backwards, as in com.acme.bank"
            )));
        }
        self.limits.check().map_err(|error| unfit(error.to_string()))?;
        Policy::check(&self.policies).map_err(|error| unfit(error.to_string()))?;
        let disk = self.disk;
        let holm = match self.cluster.clone() {
            None => single::start(self).await?,
            Some(settings) => member::start(self, settings).await?,
        };
        holm.watch_disk(disk);
        Ok(holm)
    }
}

/// What types of events begin with when nothing is said.
pub(crate) const NAMESPACE: &str = "holm";

/// Parts of lower-case letters, digits and hyphens, with dots between.
fn is_namespace(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.split('.').all(|part| !part.is_empty() && part.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_name_in_the_environment_makes_a_member() {
        let pairs = [
            ("HOLM_CLUSTER__NAME", "bank"),
            ("HOLM_CLUSTER__REPLICATION", "5"),
            ("HOLM_CLUSTER__ADVERTISE", "10.0.0.7:7171"),
        ];
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let builder = Builder::new().apply(Environment::read(variables).unwrap());
        let cluster = builder.cluster.unwrap();
        assert_eq!((cluster.name.as_str(), cluster.replication), ("bank", 5));
        assert_eq!(cluster.advertise, Some(([10, 0, 0, 7], 7171).into()));
    }

    #[test]
    fn a_namespace_is_a_domain_backwards() {
        for fine in ["holm", "com.acme.bank", "de.o2-3"] {
            assert!(is_namespace(fine), "{fine}");
        }
        for wrong in ["", ".", "com.", ".com", "com..acme", "com/acme", "Com.acme", "com acme"] {
            assert!(!is_namespace(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_code() {
        let variables = [("HOLM_NODE__NAME".to_owned(), "b".to_owned())];
        let builder = Builder::new().node_name("a").apply(Environment::read(variables).unwrap());
        assert_eq!(builder.node_name, "b");
        assert!(builder.cluster.is_none());
    }
}
