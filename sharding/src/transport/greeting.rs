//! The messages of the handshake: fixed fields, read by hand, because nothing else may look at bytes from a stranger.
//!
//! Each is the magic `HOLM`, a kind (u8), the length of the rest (u16) and the rest. All numbers are little endian. Fields that a later version adds
//! stand behind those known here and are not looked at. The layout is in `docs/wire-format.md`.

use std::net::SocketAddr;

use holm_core::NodeId;

use crate::transport::{NodeIdentity, RefusalCode};

/// The oldest protocol that this version speaks.
pub(crate) const OLDEST_VERSION: u16 = 1;
/// The newest protocol that this version speaks.
pub(crate) const NEWEST_VERSION: u16 = 1;

/// Most bytes of one message behind its head.
pub(crate) const MAX_GREETING_BYTES: usize = 4096;
pub(crate) const MAGIC: [u8; 4] = *b"HOLM";
pub(crate) const HEAD_BYTES: usize = 7;
pub(crate) const NONCE_BYTES: usize = 32;

/// Longest cluster name, node name and page address in a handshake.
pub(crate) const MAX_CLUSTER_BYTES: usize = 128;
pub(crate) const MAX_NAME_BYTES: usize = 128;
pub(crate) const MAX_HTTP_BYTES: usize = 256;
const MAX_REASON_BYTES: usize = 512;
const MAX_ADDRESS_BYTES: usize = 64;
const MAX_PROOF_BYTES: usize = 64;

/// One message of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// The dialler's first word: the versions it speaks and who it is.
    Hello { oldest: u16, newest: u16, cluster: String, hail: Hail },
    /// The acceptor's answer: the version that both will speak, who it is, and its proof that it knows the secret.
    Welcome { version: u16, hail: Hail, proof: Vec<u8> },
    /// The dialler's proof.
    Proof { proof: Vec<u8> },
    /// The acceptor is content; frames follow.
    Ready,
    /// One side refuses the other.
    Refused { code: RefusalCode, reason: String },
}

/// Who one side is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hail {
    pub(crate) features: u64,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) identity: NodeIdentity,
    pub(crate) listen: Option<SocketAddr>,
}

impl Greeting {
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Welcome { .. } => 2,
            Self::Proof { .. } => 3,
            Self::Ready => 4,
            Self::Refused { .. } => 5,
        }
    }

    /// Head and body.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.kind());
        bytes.extend_from_slice(&[0, 0]);
        match self {
            Self::Hello { oldest, newest, cluster, hail } => {
                bytes.extend_from_slice(&oldest.to_le_bytes());
                bytes.extend_from_slice(&newest.to_le_bytes());
                put_text(&mut bytes, cluster);
                hail.put(&mut bytes);
            }
            Self::Welcome { version, hail, proof } => {
                bytes.extend_from_slice(&version.to_le_bytes());
                hail.put(&mut bytes);
                put_bytes(&mut bytes, proof);
            }
            Self::Proof { proof } => put_bytes(&mut bytes, proof),
            Self::Ready => {}
            Self::Refused { code, reason } => {
                bytes.push(code_number(*code));
                put_text(&mut bytes, cut(reason, MAX_REASON_BYTES));
            }
        }
        let length = u16::try_from(bytes.len() - HEAD_BYTES).expect("every field is bounded");
        bytes[5..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    /// Reads the body of a message of this kind.
    pub(crate) fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        let mut rest = Rest(body);
        Some(match kind {
            1 => Self::Hello {
                oldest: rest.u16()?,
                newest: rest.u16()?,
                cluster: rest.text(MAX_CLUSTER_BYTES)?,
                hail: Hail::read(&mut rest)?,
            },
            2 => Self::Welcome {
                version: rest.u16()?,
                hail: Hail::read(&mut rest)?,
                proof: rest.bytes(MAX_PROOF_BYTES)?.to_vec(),
            },
            3 => Self::Proof { proof: rest.bytes(MAX_PROOF_BYTES)?.to_vec() },
            4 => Self::Ready,
            5 => Self::Refused {
                code: code_of(rest.array::<1>()?[0]),
                // It goes into a log: no line breaks, no escape sequences.
                reason: rest.text(MAX_REASON_BYTES)?.escape_debug().collect(),
            },
            _ => return None,
        })
    }
}

impl Hail {
    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.features.to_le_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.identity.node.0.to_le_bytes());
        bytes.extend_from_slice(&self.identity.incarnation.to_le_bytes());
        put_text(bytes, cut(&self.identity.name, MAX_NAME_BYTES));
        put_text(bytes, cut(self.identity.http.as_deref().unwrap_or_default(), MAX_HTTP_BYTES));
        put_text(bytes, &self.listen.map(|listen| listen.to_string()).unwrap_or_default());
    }

    fn read(rest: &mut Rest<'_>) -> Option<Self> {
        let features = rest.u64()?;
        let nonce = rest.array()?;
        let node = NodeId(rest.u64()?);
        let incarnation = rest.u64()?;
        let name = rest.text(MAX_NAME_BYTES)?;
        let http = Some(rest.text(MAX_HTTP_BYTES)?).filter(|http| !http.is_empty());
        let listen = match rest.text(MAX_ADDRESS_BYTES)? {
            none if none.is_empty() => None,
            address => Some(address.parse().ok()?),
        };
        if name.chars().any(char::is_control) {
            return None;
        }
        let identity = NodeIdentity { node, name, incarnation, http };
        Some(Self { features, nonce, identity, listen })
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_bytes(bytes, text.as_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    let length = u16::try_from(field.len()).expect("every field is bounded");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(field);
}

/// The longest beginning of a text that has at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        let (field, rest) = self.0.split_at_checked(length).filter(|_| length <= most)?;
        self.0 = rest;
        Some(field)
    }

    fn text(&mut self, most: usize) -> Option<String> {
        String::from_utf8(self.bytes(most)?.to_vec()).ok()
    }
}

fn code_number(code: RefusalCode) -> u8 {
    match code {
        RefusalCode::Malformed => 0,
        RefusalCode::Version => 1,
        RefusalCode::Cluster => 2,
        RefusalCode::Secret => 3,
        RefusalCode::Identity => 4,
        RefusalCode::Myself => 5,
        RefusalCode::Connections => 6,
    }
}

fn code_of(number: u8) -> RefusalCode {
    match number {
        1 => RefusalCode::Version,
        2 => RefusalCode::Cluster,
        3 => RefusalCode::Secret,
        4 => RefusalCode::Identity,
        5 => RefusalCode::Myself,
        6 => RefusalCode::Connections,
        _ => RefusalCode::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hail() -> Hail {
        Hail {
            features: 3,
            nonce: [9; NONCE_BYTES],
            identity: NodeIdentity {
                node: NodeId(4),
                name: "holm-1".into(),
                incarnation: 7,
                http: Some("http://127.0.0.1:7070".into()),
            },
            listen: Some("127.0.0.1:4000".parse().unwrap()),
        }
    }

    #[test]
    fn greetings_read_back() {
        for greeting in [
            Greeting::Hello { oldest: 1, newest: 2, cluster: "dev".into(), hail: hail() },
            Greeting::Welcome { version: 1, hail: hail(), proof: vec![1; 32] },
            Greeting::Proof { proof: vec![] },
            Greeting::Ready,
            Greeting::Refused { code: RefusalCode::Cluster, reason: "no".into() },
        ] {
            let bytes = greeting.encode();
            assert_eq!(bytes[..4], MAGIC);
            assert!(bytes.len() <= HEAD_BYTES + MAX_GREETING_BYTES);
            assert_eq!(Greeting::decode(bytes[4], &bytes[HEAD_BYTES..]), Some(greeting));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let greeting =
            Greeting::Hello { oldest: 1, newest: 9, cluster: "dev".into(), hail: hail() };
        let mut bytes = greeting.encode();
        bytes.extend_from_slice(b"more");
        assert_eq!(Greeting::decode(bytes[4], &bytes[HEAD_BYTES..]), Some(greeting));
    }

    #[test]
    fn names_cannot_forge_log_lines() {
        let mut forged = hail();
        forged.identity.name = "a\nb".into();
        let bytes = Greeting::Welcome { version: 1, hail: forged, proof: vec![] }.encode();
        assert_eq!(Greeting::decode(bytes[4], &bytes[HEAD_BYTES..]), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Greeting::decode(kind, &body);
        }
    }
}
