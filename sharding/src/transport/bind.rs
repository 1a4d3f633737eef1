//! Gets the ports of a node: TCP for its peers and, when it gossips, UDP of the same number.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UdpSocket};

use crate::surroundings::Surroundings;
use crate::transport::PeersError;
use crate::transport::stream::Listener;

/// How often the system is asked for another port when UDP of the same number is taken.
const ATTEMPTS: u32 = 16;

/// The ports of a node.
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    pub(crate) address: SocketAddr,
    pub(crate) gossip: Option<UdpSocket>,
}

/// Binds the ports. With port 0 the system picks one that is free for both.
pub(crate) async fn bind(
    surroundings: &Surroundings,
    listen: SocketAddr,
    gossip: bool,
) -> Result<Bound, PeersError> {
    if let Some(network) = surroundings.network() {
        let listener =
            network.listen(listen).map_err(|source| PeersError::Bind { listen, source })?;
        let address = listener.address();
        return Ok(Bound { listener: Listener::Given(listener), address, gossip: None });
    }
    let mut attempt = 1;
    loop {
        match bind_once(listen, gossip).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && listen.port() == 0
                    && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result.map_err(|source| PeersError::Bind { listen, source }),
        }
    }
}

async fn bind_once(listen: SocketAddr, gossip: bool) -> io::Result<Bound> {
    // tokio sets SO_REUSEADDR, so that a node that restarts gets its port although old connections linger.
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let gossip = if gossip { Some(UdpSocket::bind(address).await?) } else { None };
    Ok(Bound { listener: Listener::Tcp(listener), address, gossip })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ports_have_the_same_number() {
        let bound =
            bind(&Surroundings::default(), "127.0.0.1:0".parse().unwrap(), true).await.unwrap();
        assert_eq!(bound.gossip.unwrap().local_addr().unwrap(), bound.address);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken =
            bind(&Surroundings::default(), "127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let error = bind(&Surroundings::default(), taken.address, false).await.err().unwrap();
        assert!(error.to_string().contains(&taken.address.to_string()), "{error}");
    }
}
