//! The doors of the fuzz targets to the bytes of a connection. See [`crate::fuzzing`].

use bytes::BytesMut;
use futures::FutureExt as _;
use holm_core::NodeId;
use tokio_util::codec::Decoder as _;

use super::assembly::Assembly;
use super::complaint::Complaint;
use super::frame::{self, FrameCodec, HEADER_BYTES, Kind, MAX_FRAME_BYTES, put_frame};
use super::greeting::{Greeting, HEAD_BYTES, Hail, NONCE_BYTES};
use super::handshake::{Credentials, accept_unbounded, dial_unbounded};
use super::{Lane, NodeIdentity, RefusalCode, Secret, inbound};

/// Small, so that inputs reach it.
const UNFINISHED_BYTES: usize = 16 * 1024;

/// A stream of frames: the first byte says whether checksums are put right, the second how many bytes each read brings.
pub fn frames(data: &[u8]) {
    let [mode, step, stream @ ..] = data else { return };
    let mut stream = stream.to_vec();
    if mode & 1 == 1 {
        repair_checksums(&mut stream);
    }
    let mut assembly = Assembly::new(UNFINISHED_BYTES);
    let mut source = BytesMut::new();
    for piece in stream.chunks(usize::from(*step).max(1)) {
        source.extend_from_slice(piece);
        loop {
            let frame = match FrameCodec.decode(&mut source) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            assert!(frame.body.len() + HEADER_BYTES <= stream.len());
            match frame.kind {
                Kind::Identity => _ = inbound::read_identity(&frame),
                Kind::Error => _ = Complaint::decode(&frame.body),
                _ if assembly.take(frame).is_err() => return,
                _ => {}
            }
            assert!(assembly.unfinished_bytes() <= UNFINISHED_BYTES);
        }
        assert!(source.capacity() <= 2 * MAX_FRAME_BYTES, "a claim allocates no more than a frame");
    }
}

/// Seeds of [`frames`]: one of each kind, a message in parts, and two messages whose parts alternate.
#[must_use]
pub fn frames_seeds() -> Vec<Vec<u8>> {
    let mut streams = Vec::new();
    for kind in [Kind::Request, Kind::Notice, Kind::Response, Kind::Error, Kind::Ping, Kind::Pong] {
        streams.push(stream(&[(kind, false, 7, b"body")]));
    }
    streams.push(stream(&[(Kind::Identity, false, 0, &NodeId(4).0.to_le_bytes())]));
    streams.push(stream(&[(Kind::Request, true, 1, b"a"), (Kind::Request, false, 1, b"b")]));
    let alternating: [Part<'_>; 4] = [
        (Kind::Request, true, 1, b"a"),
        (Kind::Request, true, 2, b"x"),
        (Kind::Request, false, 2, b"y"),
        (Kind::Request, false, 1, b"b"),
    ];
    streams.push(stream(&alternating));
    streams
        .iter()
        .flat_map(|stream| [[0, 255], [1, 3]].map(|mode| [&mode, &stream[..]].concat()))
        .collect()
}

/// Kind, whether more follows, correlation, body.
type Part<'a> = (Kind, bool, u64, &'a [u8]);

fn stream(parts: &[Part<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(kind, more, correlation, body) in parts {
        put_frame(&mut bytes, (kind, Lane::Commands, more), correlation, body);
    }
    bytes
}

fn repair_checksums(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = stream.get_mut(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let length = frame::frame_length(rest).min(rest.len());
        if length < HEADER_BYTES {
            return;
        }
        let checksum = crc32c::crc32c(&rest[8..length]).to_le_bytes();
        rest[4..8].copy_from_slice(&checksum);
        at += length;
    }
}

/// What a stranger says from the first byte on, to a process that was dialled and to one that dialled, with a secret and without.
pub fn handshake(data: &[u8]) {
    let Some((&mode, said)) = data.split_first() else { return };
    let secret = (mode & 1 == 1).then(|| Secret::new("secret"));
    let me = Credentials {
        cluster: "dev".to_owned(),
        secret,
        identity: hail().identity,
        listen: None,
        timeout: std::time::Duration::from_secs(5),
        surroundings: crate::surroundings::Surroundings::default(),
    };
    let mut stream = tokio::io::join(said, tokio::io::sink());
    // All that is said is there, and what is answered goes nowhere: nothing has to wait.
    let ended = if mode & 2 == 0 {
        accept_unbounded(&mut stream, &me).now_or_never()
    } else {
        dial_unbounded(&mut stream, &me).now_or_never()
    };
    let ended = ended.expect("a handshake waits for nothing but bytes");
    assert!(ended.is_err() || me.secret.is_none(), "nobody guesses a proof");
    if let Some((&kind, body)) = said.split_first()
        && let Some(greeting) = Greeting::decode(kind, body)
        && !matches!(greeting, Greeting::Refused { .. })
    {
        let again = greeting.encode();
        assert_eq!(Greeting::decode(kind, &again[HEAD_BYTES..]), Some(greeting));
    }
}

/// Seeds of [`handshake`].
#[must_use]
pub fn handshake_seeds() -> Vec<Vec<u8>> {
    let hello = Greeting::Hello { oldest: 1, newest: 1, cluster: "dev".into(), hail: hail() };
    let welcome = |proof| Greeting::Welcome { version: 1, hail: hail(), proof };
    let refused = Greeting::Refused { code: RefusalCode::Cluster, reason: "no".into() };
    let no_proof = || Greeting::Proof { proof: Vec::new() };
    let dialled = [hello.encode(), no_proof().encode()].concat();
    let answered = [welcome(Vec::new()).encode(), Greeting::Ready.encode()].concat();
    let proven = [welcome(vec![7; 32]).encode(), Greeting::Ready.encode()].concat();
    let mut seeds = Vec::new();
    for said in [dialled, answered, proven, refused.encode(), b"GET / HTTP/1.1\r\n".to_vec()] {
        seeds.extend([0, 1, 2, 3].map(|mode: u8| [&[mode], &said[..]].concat()));
    }
    // As the second half of the target reads them: the kind, then the body.
    for greeting in [hello, welcome(vec![1; 32]), no_proof(), Greeting::Ready, refused] {
        let bytes = greeting.encode();
        seeds.push([&[0, greeting.kind()], &bytes[HEAD_BYTES..]].concat());
    }
    seeds
}

fn hail() -> Hail {
    Hail {
        features: 0,
        nonce: [9; NONCE_BYTES],
        identity: NodeIdentity {
            node: NodeId(4),
            name: "holm-1".into(),
            incarnation: 7,
            http: Some("http://127.0.0.1:7070".into()),
        },
        listen: Some(([127, 0, 0, 1], 4000).into()),
    }
}
