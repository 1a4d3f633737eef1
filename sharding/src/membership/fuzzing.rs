//! The door of the fuzz target to gossip: datagrams of strangers, through chitchat and through what we read out of it. See [`crate::fuzzing`].
//!
//! chitchat is a library whose assertions a datagram can reach; that ends one life of it, and the next begins (`lives.rs`). So its panics are no finding
//! here. Ours are, and every allocation beyond the limit, theirs too.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;
use std::time::Duration;

use chitchat::transport::UdpTransport;
use chitchat::{ChitchatConfig, ChitchatHandle, spawn_chitchat};
use holm_core::NodeId;
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};

use super::lives::Lives;
use super::{MOST_NODES, MembershipOptions, Said, key, read_nodes};

/// Long enough to be never: nothing is sent to addresses that an input names.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Most datagrams of one input.
const DATAGRAMS: usize = 8;

/// A datagram that was lost is not waited for. Loopback loses none but when the machine is short of memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of this machine alone, and of nobody else's tests.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 83, 0, 1));

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    /// Whether the code of chitchat runs on this thread.
    static CHITCHAT: Cell<bool> = const { Cell::new(false) };
}

/// Datagrams, each with its length (u16) before it, to a node that gossips.
pub fn gossip(data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CHITCHAT.get() {
                before(panic);
            }
        }));
    });
    let mut rest = data;
    let mut datagrams = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>()
        && datagrams.len() < DATAGRAMS
    {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (datagram, after) = after.split_at(length);
        datagrams.push(datagram);
        rest = after;
    }
    RUNTIME.with(|runtime| {
        CHITCHAT.set(true);
        let states = runtime.block_on(async {
            let (life, listen) = begin().await?;
            hear(&datagrams, &life, listen).await;
            let states = life.chitchat().lock().await.node_states().clone();
            _ = life.shutdown().await;
            Some(states)
        });
        CHITCHAT.set(false);
        let Some(states) = states else { return };
        let live = read_nodes(&states);
        assert!(live.len() <= states.len().min(MOST_NODES));
        assert!(live.is_sorted_by(|a, b| a.name < b.name), "one of each name");
    });
}

/// A node that gossips when it is asked, and not by itself; none when its port was taken meanwhile.
async fn begin() -> Option<(ChitchatHandle, SocketAddr)> {
    let listen = UdpSocket::bind((LOOPBACK, 0)).await.ok()?.local_addr().ok()?;
    let options = MembershipOptions {
        cluster: "dev".into(),
        name: "holm-1".into(),
        incarnation: 1,
        node: NodeId(1),
        http: None,
        seeds: Vec::new(),
    };
    let lives = Lives { options, peer: listen, listen, past: 0 };
    let (config, first) = lives.config(Said { node: NodeId(1), load: 0.0 });
    let config = ChitchatConfig { gossip_interval: NEVER, ..config };
    let life = spawn_chitchat(config, first, &UdpTransport).await.ok()?;
    // It gossips once when it begins, while it knows nobody.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    Some((life, listen))
}

/// Sends the datagrams, and waits until the last of them was looked at: a greeting behind them is answered then.
async fn hear(datagrams: &[&[u8]], life: &ChitchatHandle, listen: SocketAddr) {
    let Ok(stranger) = UdpSocket::bind((LOOPBACK, 0)).await else { return };
    let Ok(last) = UdpSocket::bind((LOOPBACK, 0)).await else { return };
    for datagram in datagrams {
        // A longer one than there can be is not sent.
        _ = stranger.send_to(datagram, listen).await;
    }
    _ = last.send_to(&greeting("dev", &[]), listen).await;
    let mut answer = [0; 1];
    tokio::select! {
        _ = last.recv_from(&mut answer) => {}
        _ = life.termination_watcher() => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
}

/// Seeds of [`gossip`]: a greeting, news of a node, news in two datagrams, and news that end chitchat.
#[must_use]
pub fn gossip_seeds() -> Vec<Vec<u8>> {
    let peer = ([127, 83, 0, 2], 4_000).into();
    let values = [(key::START, "3"), (key::NODE, "2"), (key::PEER, "127.83.0.2:4000")];
    let more = [(key::HTTP, "http://127.83.0.2:7070"), (key::LOAD, "12.5")];
    let known = || node("holm-2", 3 << 16, peer);
    let whole = [&values[..], &more[..]].concat();
    let inputs = [
        vec![greeting("dev", &[known()])],
        vec![greeting("prod", &[])],
        vec![greeting("dev", &[known()]), news(&known(), 0, &whole, None)],
        vec![news(&known(), 0, &values, None), news(&known(), 3, &more, None)],
        vec![news(&known(), 0, &[], Some(4))],
        vec![hostile_news(&known())],
        vec![head(3)],
    ];
    let lengthened = |datagram: &Vec<u8>| {
        let length = u16::try_from(datagram.len()).expect("a short datagram").to_le_bytes();
        [&length[..], datagram].concat()
    };
    inputs.iter().map(|input| input.iter().flat_map(lengthened).collect()).collect()
}

/// chitchat applies the key and then finds that the highest version is below that of the key.
fn hostile_news(node: &[u8]) -> Vec<u8> {
    news(node, 0, &[(key::NODE, "1"), (key::LOAD, "2")], Some(1))
}

fn head(kind: u8) -> Vec<u8> {
    [&45_139_u16.to_le_bytes()[..], &[0, kind]].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text").to_le_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn node(name: &str, generation: u64, peer: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(peer) = peer else { panic!("seeds are of IPv4") };
    let mut bytes = [text(name), generation.to_le_bytes().to_vec(), vec![4]].concat();
    bytes.extend_from_slice(&peer.ip().octets());
    bytes.extend_from_slice(&peer.port().to_le_bytes());
    bytes
}

/// A SYN: the nodes that are known, each with heartbeat, version of the last collection and highest version; then the cluster.
fn greeting(cluster: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(nodes.len()).expect("few nodes").to_le_bytes();
    let numbers = [5_u64, 0, 0].map(u64::to_le_bytes).concat();
    let nodes = nodes.iter().flat_map(|node| [&node[..], &numbers].concat()).collect();
    [head(0), count.to_vec(), nodes, text(cluster)].concat()
}

/// An ACK: keys of one node, in versions behind `from`, in one block that is not compressed.
fn news(node: &[u8], from: u64, values: &[(&str, &str)], highest: Option<u64>) -> Vec<u8> {
    let mut block = [&[0][..], node, &0_u64.to_le_bytes(), &from.to_le_bytes()].concat();
    for (version, (key, value)) in (from + 1..).zip(values) {
        block.push(1);
        block.extend([text(key), text(value)].concat());
        block.extend_from_slice(&version.to_le_bytes());
        block.push(0);
    }
    if let Some(highest) = highest {
        block.push(2);
        block.extend_from_slice(&highest.to_le_bytes());
    }
    let length = u16::try_from(block.len()).expect("a short block").to_le_bytes();
    [&head(2)[..], &[2], &length, &block, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this the seed would be no seed: an input that chitchat refuses reaches nothing.
    #[test]
    fn news_are_heard_and_hostile_ones_end_chitchat() {
        let me = Builder::new_current_thread().enable_all().build().unwrap();
        me.block_on(async {
            let (life, listen) = begin().await.unwrap();
            let two = node("holm-2", 3 << 16, ([127, 83, 0, 2], 4_000).into());
            let values = [(key::START, "3"), (key::NODE, "2"), (key::PEER, "127.83.0.2:4000")];
            let heard = [greeting("dev", std::slice::from_ref(&two)), news(&two, 0, &values, None)];
            hear(&[&heard[0], &heard[1]], &life, listen).await;
            let live = read_nodes(life.chitchat().lock().await.node_states());
            assert_eq!((live.len(), live[1].node, live[1].incarnation), (2, NodeId(2), 3));
            let three = node("holm-3", 1, ([127, 83, 0, 3], 4_000).into());
            let hostile = hostile_news(&three);
            hear(&[&greeting("dev", &[three]), &hostile], &life, listen).await;
            let ended = life.termination_watcher().await;
            assert_eq!(ended.unwrap_err().to_string(), "Chitchat server panicked");
        });
    }
}
