//! Cutting nodes off: rules of the kernel's packet filter between the addresses of the nodes.
//!
//! Each node has a loopback address of its own, and begins its connections there; so a pair of addresses and a port say who speaks to whom. The
//! packets are dropped, as a broken cable does: nothing is refused, nothing is closed, and what was sent is sent again by the kernel until the
//! cut heals. The load and the witnesses stand outside and reach everybody.

use std::net::SocketAddr;
use std::time::Duration;

use holm::{Entropy as _, SeededEntropy};
use holm_console::dev::state::{DevStatus, NodeStatus};
use holm_console::timeline::chaos::Shape;
use tokio::task::JoinHandle;

use crate::detour::Detour;
use crate::tools;

/// Cut for this long and joined for as long again: about as long as an election takes.
const FLAP_EVERY: Duration = Duration::from_millis(400);

/// One packet in five, drawn anew for each; of gossip, which matches two rules, a little more than one in three.
const SOME: &str = "-m statistic --mode random --probability 0.2";

/// The rules of one campaign.
#[derive(Debug)]
pub(crate) struct Network {
    chain: String,
    nodes: Vec<(String, SocketAddr)>,
    hooked: bool,
    flapping: Option<JoinHandle<()>>,
    detour: Option<Detour>,
    entropy: SeededEntropy,
}

impl Network {
    /// None yet. What chance decides is drawn from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        // Short enough for a name of a chain, and of no other campaign.
        let chain = format!("holm-faults-{}", std::process::id());
        let entropy = SeededEntropy::new(seed);
        Self { chain, nodes: Vec::new(), hooked: false, flapping: None, detour: None, entropy }
    }

    /// Why nothing can be cut here.
    pub(crate) fn lacks() -> Option<String> {
        tools::lacks(&["iptables", "iptables-restore"]).or_else(|| {
            tools::call("iptables", &["-L", "INPUT", "-n"]).err().map(|e| e.to_string())
        })
    }

    /// Why nothing can be led elsewhere here.
    pub(crate) fn lacks_detours() -> Option<String> {
        Self::lacks().or_else(|| {
            let looked = tools::call("iptables", &["-t", "nat", "-L", "OUTPUT", "-n"]);
            looked.err().map(|e| e.to_string())
        })
    }

    pub(crate) fn meet(&mut self, status: &DevStatus) {
        let nodes = status.nodes.iter();
        self.nodes = nodes
            .filter_map(|it| Some((it.node.name.clone(), it.node.peer.parse().ok()?)))
            .collect();
    }

    pub(crate) fn cut(&mut self, shape: Shape, victims: &[NodeStatus]) -> anyhow::Result<()> {
        let rules = self.rules(shape, victims);
        self.replace(&rules)?;
        if shape == Shape::PartitionFlapping {
            self.flapping = Some(tokio::spawn(flap(self.chain.clone(), rules)));
        }
        Ok(())
    }

    /// Leads what passes between the victims and the others through a proxy that delays it.
    pub(crate) fn delay(&mut self, victims: &[NodeStatus]) -> anyhow::Result<()> {
        let detour = Detour::open(self.entropy.next_u64())?;
        let (mut led, mut reset) = (String::new(), String::new());
        for (from, to) in self.pairs(victims) {
            let way = format!("-s {} -d {} -p tcp --dport {}", from.ip(), to.ip(), to.port());
            led += &format!("-A {} {way} -j REDIRECT --to-ports {}\n", self.chain, detour.port());
            reset += &format!("-A {} {way} -j REJECT --reject-with tcp-reset\n", self.chain);
        }
        restore("nat", &self.chain, &led)?;
        let hook = ["-w", "-t", "nat", "-I", "OUTPUT", "-o", "lo", "-j", &self.chain];
        if self.detour.is_none() {
            tools::call("iptables", &hook)?;
        }
        self.detour = Some(detour);
        // What goes the long way arrives from the proxy; only the connections that stood before still come straight.
        self.replace(&reset)
    }

    /// Pieces that the proxy delayed so far.
    pub(crate) fn delayed(&self) -> u64 {
        self.detour.as_ref().map_or(0, Detour::delayed)
    }

    /// Every pair of a victim and another node, both ways round.
    fn pairs(&self, victims: &[NodeStatus]) -> Vec<(SocketAddr, SocketAddr)> {
        let is_victim = |name: &str| victims.iter().any(|victim| victim.node.name == name);
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.nodes.iter().partition(|(name, _)| is_victim(name));
        let both = |near: SocketAddr, far: SocketAddr| [(far, near), (near, far)];
        inside
            .iter()
            .flat_map(|(_, near)| outside.iter().flat_map(move |(_, far)| both(*near, *far)))
            .collect()
    }

    pub(crate) fn heal(&mut self) -> anyhow::Result<()> {
        if let Some(flapping) = self.flapping.take() {
            flapping.abort();
        }
        if self.detour.is_some() {
            self.take_back_detour()?;
        }
        self.replace("")
    }

    /// Connections that begin from now on go straight; those that do not end with the proxy.
    fn take_back_detour(&mut self) -> anyhow::Result<()> {
        restore("nat", &self.chain, "")?;
        let hook = ["-w", "-t", "nat", "-D", "OUTPUT", "-o", "lo", "-j", &self.chain];
        tools::call("iptables", &hook)?;
        tools::call("iptables", &["-w", "-t", "nat", "-X", &self.chain])?;
        self.detour = None;
        Ok(())
    }

    /// Every direction between the victims and the others that the shape cuts.
    fn rules(&self, shape: Shape, victims: &[NodeStatus]) -> String {
        let is_victim = |address: SocketAddr| {
            let named = self.nodes.iter().find(|(_, it)| *it == address);
            named.is_some_and(|(name, _)| victims.iter().any(|victim| victim.node.name == *name))
        };
        let some = if shape == Shape::PartitionLossy { SOME } else { "" };
        let mut rules = String::new();
        for (from, to) in self.pairs(victims) {
            let spared = match shape {
                Shape::PartitionMute => is_victim(to),
                Shape::PartitionDeaf => is_victim(from),
                _ => false,
            };
            if !spared {
                drop_from_to(&self.chain, from, to, some, &mut rules);
            }
        }
        rules
    }

    /// All rules at once: there is no moment at which half of them hold.
    fn replace(&mut self, rules: &str) -> anyhow::Result<()> {
        restore("filter", &self.chain, rules)?;
        if !self.hooked {
            tools::call("iptables", &["-w", "-I", "INPUT", "-i", "lo", "-j", &self.chain])?;
            self.hooked = true;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.detour.is_some() {
            let _ = self.take_back_detour();
        }
        if self.hooked {
            // The campaign is over; whoever looks at the machine later should find it as it was.
            let _ = restore("filter", &self.chain, "");
            let _ = tools::call("iptables", &["-w", "-D", "INPUT", "-i", "lo", "-j", &self.chain]);
            let _ = tools::call("iptables", &["-w", "-X", &self.chain]);
        }
    }
}

async fn flap(chain: String, rules: String) {
    for cut in [false, true].into_iter().cycle() {
        tokio::time::sleep(FLAP_EVERY).await;
        // A failure shows at the end, when healing fails, too.
        let _ = restore("filter", &chain, if cut { &rules } else { "" });
    }
}

fn restore(table: &str, chain: &str, rules: &str) -> anyhow::Result<()> {
    // Naming the chain empties it.
    let table = format!("*{table}\n:{chain} - [0:0]\n{rules}COMMIT\n");
    tools::call_with("iptables-restore", &["-w", "--noflush"], &table)?;
    Ok(())
}

/// Packets to the port on which the receiver listens, and from the one on which the sender does: both ends of every connection, and gossip.
/// `some` says which of them: a condition in the words of `iptables`, or none for all.
fn drop_from_to(chain: &str, from: SocketAddr, to: SocketAddr, some: &str, rules: &mut String) {
    let (source, target) = (from.ip(), to.ip());
    for protocol in ["tcp", "udp"] {
        for port in [format!("--dport {}", to.port()), format!("--sport {}", from.port())] {
            rules.push_str(&format!(
                "-A {chain} -s {source} -d {target} -p {protocol} {port} {some} -j DROP\n"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_console::state_file::RunningNode;

    fn network() -> Network {
        let mut network = Network::new(1);
        network.nodes = (1..=3)
            .map(|nth| (format!("holm-{nth}"), format!("127.0.1.{nth}:{nth}000").parse().unwrap()))
            .collect();
        network
    }

    fn cut(shape: Shape) -> String {
        let node = RunningNode { name: "holm-2".into(), ..RunningNode::default() };
        network().rules(shape, &[NodeStatus { node, ..NodeStatus::default() }])
    }

    #[test]
    fn a_deaf_node_still_speaks_and_a_mute_one_still_hears() {
        let (deaf, mute) = (cut(Shape::PartitionDeaf), cut(Shape::PartitionMute));
        assert!(deaf.contains("-s 127.0.1.1 -d 127.0.1.2") && !deaf.contains("-s 127.0.1.2"));
        assert!(mute.contains("-s 127.0.1.2 -d 127.0.1.3") && !mute.contains("-d 127.0.1.2"));
    }

    #[test]
    fn an_isolated_node_is_cut_both_ways_and_the_others_are_not() {
        let both = cut(Shape::PartitionIsolate);
        assert_eq!(both.lines().count(), 2 * 2 * 4);
        assert!(!both.contains("-s 127.0.1.1 -d 127.0.1.3"));
    }

    #[test]
    fn a_lossy_network_loses_some_of_each_direction() {
        let lossy = cut(Shape::PartitionLossy);
        assert_eq!(lossy.lines().count(), 2 * 2 * 4);
        assert!(lossy.lines().all(|rule| rule.contains("--probability 0.2")), "{lossy}");
    }
}
