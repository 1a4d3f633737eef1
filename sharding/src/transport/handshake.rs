//! The handshake: two processes agree on a protocol, learn who the other is, and prove that they know the cluster's secret.
//!
//! Dialler: hello. Acceptor: welcome, with its proof. Dialler: its proof. Acceptor: ready. Either may say "refused" with a reason instead; both log
//! it. A proof is an HMAC-SHA256 under the secret over a label for the side and all that both have said, so both nonces are in it: it cannot be
//! replayed, nor sent back to where it came from. Nothing but these messages is read from a peer before its proof held.

use std::io;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::surroundings::Surroundings;
use crate::transport::greeting::{
    Greeting, HEAD_BYTES, Hail, MAGIC, MAX_GREETING_BYTES, NEWEST_VERSION, NONCE_BYTES,
    OLDEST_VERSION,
};
use crate::transport::{NodeIdentity, RefusalCode, Secret};

const DIALLER: &[u8] = b"holm handshake 1: dialler";
const ACCEPTOR: &[u8] = b"holm handshake 1: acceptor";

/// What this process brings into a handshake.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) cluster: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) identity: NodeIdentity,
    pub(crate) listen: Option<std::net::SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) surroundings: Surroundings,
}

/// Why a handshake did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("refused by the other side: {code}: {reason}")]
    RefusedByPeer { code: RefusalCode, reason: String },
    #[error("{code}: {reason}")]
    RefusedHere { code: RefusalCode, reason: String },
    #[error("the handshake took longer than {0:?}")]
    TimedOut(Duration),
    #[error("the connection broke during the handshake: {0}")]
    Broken(#[from] io::Error),
}

/// The dialler's side. Returns who answered.
pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    me: &Credentials,
) -> Result<Hail, HandshakeError> {
    within(me.timeout, dial_unbounded(stream, me)).await
}

/// The acceptor's side. Returns who dialled. A refusal was told to the dialler.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    me: &Credentials,
) -> Result<Hail, HandshakeError> {
    within(me.timeout, accept_unbounded(stream, me)).await
}

async fn within<T>(
    time: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    tokio::time::timeout(time, handshake).await.unwrap_or(Err(HandshakeError::TimedOut(time)))
}

/// [`dial`] without its time limit.
pub(crate) async fn dial_unbounded<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    me: &Credentials,
) -> Result<Hail, HandshakeError> {
    let hello = Greeting::Hello {
        oldest: OLDEST_VERSION,
        newest: NEWEST_VERSION,
        cluster: me.cluster.clone(),
        hail: me.hail(),
    };
    let said = hello.encode();
    stream.write_all(&said).await?;
    let (heard, welcome) = read_greeting(stream).await?;
    let (version, hail, proof) = match welcome {
        Greeting::Welcome { version, hail, proof } => (version, hail, proof),
        other => return refuse(stream, unexpected(other)?).await,
    };
    if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&version) {
        return refuse(
            stream,
            (RefusalCode::Version, format!("protocol {version} was not offered")),
        )
        .await;
    }
    // The acceptor's proof stands at the end of its welcome and covers all before it.
    let covered = &heard[..heard.len().saturating_sub(2 + proof.len())];
    if let Err(refusal) = check_proof(me.secret.as_ref(), ACCEPTOR, &[&said, covered], &proof) {
        return refuse(stream, refusal).await;
    }
    let proof = prove(me.secret.as_ref(), DIALLER, &[&said, &heard]);
    stream.write_all(&Greeting::Proof { proof }.encode()).await?;
    match read_greeting(stream).await?.1 {
        Greeting::Ready => Ok(hail),
        other => refuse(stream, unexpected(other)?).await,
    }
}

/// [`accept`] without its time limit.
pub(crate) async fn accept_unbounded<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    me: &Credentials,
) -> Result<Hail, HandshakeError> {
    let (heard, hello) = read_greeting_or_refuse(stream).await?;
    let (oldest, newest, cluster, hail) = match hello {
        Greeting::Hello { oldest, newest, cluster, hail } => (oldest, newest, cluster, hail),
        other => return refuse(stream, unexpected(other)?).await,
    };
    let version = newest.min(NEWEST_VERSION);
    if version < oldest.max(OLDEST_VERSION) {
        let reason = format!(
            "the dialler speaks protocols {oldest} to {newest}, this process {OLDEST_VERSION} to {NEWEST_VERSION}"
        );
        return refuse(stream, (RefusalCode::Version, reason)).await;
    }
    if cluster != me.cluster {
        let reason = format!("this is cluster `{}`, the dialler looks for `{cluster}`", me.cluster);
        return refuse(stream, (RefusalCode::Cluster, reason)).await;
    }
    let mine = me.hail();
    if hail.listen.is_some()
        && (hail.listen, &hail.identity.name, hail.identity.incarnation)
            == (mine.listen, &mine.identity.name, mine.identity.incarnation)
    {
        return refuse(
            stream,
            (RefusalCode::Myself, "a process needs no connection to itself".into()),
        )
        .await;
    }
    let welcome = |proof| Greeting::Welcome { version, hail: mine.clone(), proof };
    let unproven = welcome(Vec::new()).encode();
    // The length in the head counts the proof, so the head as it will be sent is what is covered.
    let placeholder = welcome(vec![0; proof_bytes(me.secret.as_ref())]).encode();
    let covered = [&placeholder[..HEAD_BYTES], &unproven[HEAD_BYTES..unproven.len() - 2]].concat();
    let said = welcome(prove(me.secret.as_ref(), ACCEPTOR, &[&heard, &covered])).encode();
    stream.write_all(&said).await?;
    let proof = match read_greeting(stream).await?.1 {
        Greeting::Proof { proof } => proof,
        other => return refuse(stream, unexpected(other)?).await,
    };
    if let Err(refusal) = check_proof(me.secret.as_ref(), DIALLER, &[&heard, &said], &proof) {
        return refuse(stream, refusal).await;
    }
    stream.write_all(&Greeting::Ready.encode()).await?;
    Ok(hail)
}

impl Credentials {
    fn hail(&self) -> Hail {
        let mut nonce = [0; NONCE_BYTES];
        for part in nonce.chunks_mut(8) {
            part.copy_from_slice(&self.surroundings.draw().to_le_bytes());
        }
        Hail { features: 0, nonce, identity: self.identity.clone(), listen: self.listen }
    }
}

fn proof_bytes(secret: Option<&Secret>) -> usize {
    if secret.is_some() { 32 } else { 0 }
}

fn keyed(secret: &Secret, side: &[u8], said: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.update(side);
    for part in said {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

fn prove(secret: Option<&Secret>, side: &[u8], said: &[&[u8]]) -> Vec<u8> {
    secret
        .map(|secret| keyed(secret, side, said).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

/// Compares in constant time.
fn check_proof(
    secret: Option<&Secret>,
    side: &[u8],
    said: &[&[u8]],
    proof: &[u8],
) -> Result<(), (RefusalCode, String)> {
    let reason = match secret {
        None if proof.is_empty() => return Ok(()),
        None => "the other side has a secret, this one has none",
        Some(_) if proof.is_empty() => "the other side has no secret, this one has",
        Some(secret) => match keyed(secret, side, said).verify_slice(proof) {
            Ok(()) => return Ok(()),
            Err(_) => "the other side's proof does not fit: the secrets differ",
        },
    };
    Err((RefusalCode::Secret, reason.to_owned()))
}

/// What to answer to a message that is not the one expected; an error when it was a refusal.
fn unexpected(greeting: Greeting) -> Result<(RefusalCode, String), HandshakeError> {
    match greeting {
        Greeting::Refused { code, reason } => Err(HandshakeError::RefusedByPeer { code, reason }),
        other => {
            let reason = format!("handshake message {} out of turn", other.kind());
            Ok((RefusalCode::Malformed, reason))
        }
    }
}

async fn refuse<T, S: AsyncWrite + Unpin>(
    stream: &mut S,
    (code, reason): (RefusalCode, String),
) -> Result<T, HandshakeError> {
    let told = Greeting::Refused { code, reason: reason.clone() }.encode();
    // The refusal stands whether or not the other side hears it.
    let _ = stream.write_all(&told).await;
    let _ = stream.shutdown().await;
    Err(HandshakeError::RefusedHere { code, reason })
}

/// The first message of a stranger: garbage gets an answer, so that a wrong client can say what is wrong.
async fn read_greeting_or_refuse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> Result<(Vec<u8>, Greeting), HandshakeError> {
    match read_greeting(stream).await {
        Err(HandshakeError::RefusedHere { code, reason }) => refuse(stream, (code, reason)).await,
        read => read,
    }
}

/// Reads one message; returns its bytes too. At most [`MAX_GREETING_BYTES`] are read and allocated.
async fn read_greeting<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Vec<u8>, Greeting), HandshakeError> {
    let malformed = |reason: &str| HandshakeError::RefusedHere {
        code: RefusalCode::Malformed,
        reason: reason.to_owned(),
    };
    let mut bytes = vec![0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    if bytes[..4] != MAGIC {
        return Err(malformed("this port speaks Holm's protocol between nodes"));
    }
    let kind = bytes[4];
    let length = usize::from(u16::from_le_bytes([bytes[5], bytes[6]]));
    if length > MAX_GREETING_BYTES {
        return Err(malformed("a handshake message has at most 4096 bytes"));
    }
    bytes.resize(HEAD_BYTES + length, 0);
    stream.read_exact(&mut bytes[HEAD_BYTES..]).await?;
    let greeting = Greeting::decode(kind, &bytes[HEAD_BYTES..])
        .ok_or_else(|| malformed("a handshake message cannot be read"))?;
    Ok((bytes, greeting))
}

#[cfg(test)]
#[path = "handshake/tests.rs"]
mod tests;
