//! Order, limits and ends of the outbox, with an in-memory stream for a socket.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio_util::codec::Decoder;

use super::*;
use crate::transport::frame::{Frame, FrameCodec};

const STALL: Duration = Duration::from_secs(5);

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut source = BytesMut::from(bytes);
    std::iter::from_fn(|| FrameCodec.decode(&mut source).unwrap()).collect()
}

#[tokio::test]
async fn earlier_lanes_go_first_and_small_frames_share_a_write() {
    let outbox = Outbox::new([1 << 20; LANES]);
    outbox.push(Kind::Notice, Lane::Bulk, 1, b"bulk").unwrap();
    outbox.push(Kind::Request, Lane::Commands, 2, b"command").unwrap();
    outbox.push(Kind::Request, Lane::Commands, 3, b"command").unwrap();
    outbox.push(Kind::Ping, Lane::Control, 4, b"").unwrap();
    outbox.end();
    let mut written = Vec::new();
    outbox.drain_into(&mut written, STALL).await.unwrap();
    let order: Vec<u64> = frames(&written).iter().map(|frame| frame.correlation).collect();
    assert_eq!(order, [4, 2, 3, 1]);
}

/// Law F17: bulk does not hold up a heartbeat by more than one piece.
#[tokio::test]
async fn a_heartbeat_overtakes_a_long_message() {
    let outbox = Arc::new(Outbox::new([64 << 20; LANES]));
    outbox.push(Kind::Notice, Lane::Bulk, 1, &vec![7; 4 << 20]).unwrap();
    let (mut reader, writer) = tokio::io::duplex(CHUNK_BYTES);
    let task = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.drain_into(writer, STALL).await }
    });
    let mut read = vec![0; CHUNK_BYTES];
    reader.read_exact(&mut read).await.unwrap();
    outbox.push(Kind::Ping, Lane::Control, 2, b"").unwrap();
    outbox.end();
    reader.read_to_end(&mut read).await.unwrap();
    task.await.unwrap().unwrap();
    let place = frames(&read).iter().position(|frame| frame.kind == Kind::Ping).unwrap();
    assert!(place <= 4, "the heartbeat was frame {place}");
}

#[tokio::test]
async fn a_full_lane_says_so_and_leaves_the_others_alone() {
    let outbox = Outbox::new([1000; LANES]);
    outbox.push(Kind::Notice, Lane::Bulk, 1, &[0; 900]).unwrap();
    let full = outbox.push(Kind::Notice, Lane::Bulk, 2, &[0; 900]);
    assert_eq!(full, Err(NotTaken::Full { allowed: 1000 }));
    outbox.push(Kind::Notice, Lane::Commands, 3, &[0; 900]).unwrap();
    outbox.end();
    outbox.drain_into(&mut Vec::new(), STALL).await.unwrap();
    assert_eq!(outbox.lock().queued, [0; LANES]);
    assert_eq!(outbox.push(Kind::Notice, Lane::Bulk, 4, b""), Err(NotTaken::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_stalls_the_writer() {
    let outbox = Outbox::new([1 << 20; LANES]);
    outbox.push(Kind::Notice, Lane::Bulk, 1, &[0; 5000]).unwrap();
    let (_reader, writer) = tokio::io::duplex(100);
    let error = outbox.drain_into(writer, STALL).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn closing_ends_the_writer_at_once() {
    let outbox = Outbox::new([1 << 20; LANES]);
    outbox.push(Kind::Notice, Lane::Bulk, 1, b"lost").unwrap();
    outbox.close();
    let mut written = Vec::new();
    outbox.drain_into(&mut written, STALL).await.unwrap();
    assert!(written.is_empty());
}
