//! Ports for the nodes of a local cluster.
//!
//! Picked ports lie below the range from which the kernel gives ports to outgoing connections. Inside that range a node that comes back could
//! find its port taken by somebody's outgoing connection, and a peer that dials a dead port again and again could in the end connect to itself. So the system
//! is not asked for them (`docs/decisions/0035-sizes-and-local-ports.md`).

mod holder;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use self::holder::Holder;

/// Where picked ports come from: above the registered services, below Linux' first outgoing port (32,768).
const PICKED: std::ops::Range<u16> = 20_000..32_000;

/// Management ports of neighbouring nodes are this far apart, so that 7070, 7080 and 7090 are easy to remember.
const HTTP_STEP: u16 = 10;

/// The first peer port stands this far above the first management port: 7171 above 7070.
const PEER_STEP: u16 = 101;

/// The first management port when nobody asks for another.
pub(super) const USUAL_BASE: u16 = 7070;

/// The two addresses of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodePorts {
    pub(super) http: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// What was chosen, and what had to give way.
#[derive(Debug, Default)]
pub(super) struct PortPlan {
    pub(super) nodes: Vec<NodePorts>,
    pub(super) moved: Vec<Moved>,
}

/// A port that was wanted and is taken, and the one that is used instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    wanted: u16,
    used: u16,
    holder: Option<Holder>,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "port {} is used by {holder}", self.wanted)?,
            None => write!(f, "port {} is taken", self.wanted)?,
        }
        write!(f, "; using {}", self.used)
    }
}

/// Ports for `nodes` nodes: any free ones when `base` is 0, else from `base` on, skipping what is taken.
///
/// # Errors
/// When no free port is left.
pub(super) fn plan(base: u16, nodes: u32, taken: &[u16]) -> std::io::Result<PortPlan> {
    let mut plan = PortPlan::default();
    let mut used = taken.to_vec();
    for n in 0..nodes {
        let step = u16::try_from(n).map_err(std::io::Error::other)?;
        let ports = if base == 0 {
            NodePorts { http: pick(&mut used)?, peer: pick(&mut used)? }
        } else {
            let http = base.saturating_add(step.saturating_mul(HTTP_STEP));
            let peer = base.saturating_add(PEER_STEP).saturating_add(step);
            NodePorts {
                http: next_free(http, &mut used, &mut plan.moved)?,
                peer: next_free(peer, &mut used, &mut plan.moved)?,
            }
        };
        plan.nodes.push(ports);
    }
    Ok(plan)
}

fn pick(used: &mut Vec<u16>) -> std::io::Result<SocketAddr> {
    let span = u64::from(PICKED.end - PICKED.start);
    for _ in 0..1_000 {
        let step = crate::dev::process::random() % span;
        let port = PICKED.start + u16::try_from(step).map_err(std::io::Error::other)?;
        if !used.contains(&port) && is_free(port) {
            used.push(port);
            return Ok(loopback(port));
        }
    }
    Err(std::io::Error::other("no free port was found between 20000 and 31999"))
}

fn next_free(
    wanted: u16,
    used: &mut Vec<u16>,
    moved: &mut Vec<Moved>,
) -> std::io::Result<SocketAddr> {
    let port = (wanted..=u16::MAX)
        .find(|port| !used.contains(port) && is_free(*port))
        .ok_or_else(|| std::io::Error::other(format!("no port from {wanted} on is free")))?;
    if port != wanted {
        moved.push(Moved { wanted, used: port, holder: holder::of(wanted) });
    }
    used.push(port);
    Ok(loopback(port))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picked_ports_are_free_and_differ() {
        let plan = plan(0, 5, &[]).unwrap();
        let mut ports: Vec<u16> =
            plan.nodes.iter().flat_map(|node| [node.http.port(), node.peer.port()]).collect();
        assert!(ports.iter().all(|port| PICKED.contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10);
        assert!(plan.moved.is_empty());
    }

    #[test]
    fn a_taken_port_gives_way_to_the_next_and_is_named() {
        let taken = plan(0, 1, &[]).unwrap().nodes[0].http;
        let held = TcpListener::bind(taken).unwrap();
        let plan = plan(taken.port(), 1, &[]).unwrap();
        assert_ne!(plan.nodes[0].http, held.local_addr().unwrap());
        let moved = plan.moved.iter().find(|moved| moved.wanted == taken.port()).unwrap();
        let used = plan.nodes[0].http.port();
        assert_eq!(moved.used, used);
        let told = moved.to_string();
        if cfg!(target_os = "linux") {
            let this = format!("port {} is used by pid {} (", taken.port(), std::process::id());
            assert!(
                told.starts_with(&this) && told.ends_with(&format!("); using {used}")),
                "{told}"
            );
        } else {
            assert_eq!(told, format!("port {} is taken; using {used}", taken.port()));
        }
    }
}
