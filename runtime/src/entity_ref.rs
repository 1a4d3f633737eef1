//! The reference to an entity: typed commands in, typed replies out, the same on one node and on many.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AddressError, Answer, AskError, CausationId, Clock, CommandEnvelope, CommandId, CorrelationId,
    EntityAddress, Entropy, ErrorKind, IdempotencyKey, NodeId, Offset, Outcome, SeededEntropy,
    SequenceNumber, ShardId, Timestamp, Verdict,
};
use holm_persistence::{CodecError, decode};

use crate::ask::slip::GRACE;
use crate::ask::{Asker, Asking};
use crate::bus::Fact;
use crate::entity::{Command, Entity};
use crate::pieces;

/// What every reference of one program shares: the way out, the clock and the source of keys.
pub struct Caller {
    asker: Arc<dyn Asker>,
    clock: Arc<dyn Clock>,
    ask_timeout: Duration,
    /// Only ever added to, so that threads draw ids without a lock.
    seeds: AtomicU64,
    /// Drawn once, so that two processes whose seeds meet still make different keys.
    salt: u64,
}

impl Caller {
    /// A caller by way of `asker`; commands without a deadline of their own wait `ask_timeout`.
    #[must_use]
    pub fn new(
        asker: Arc<dyn Asker>,
        clock: Arc<dyn Clock>,
        ask_timeout: Duration,
        mut entropy: SeededEntropy,
    ) -> Arc<Self> {
        let (seeds, salt) = (AtomicU64::new(entropy.next_u64()), entropy.next_u64());
        Arc::new(Self { asker, clock, ask_timeout, seeds, salt })
    }

    /// The present time by the caller's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// 64 random bits.
    pub(crate) fn draw(&self) -> u64 {
        self.entropy().next_u64()
    }

    /// The way out, for callers that work with envelopes.
    #[must_use]
    pub fn asker(&self) -> &Arc<dyn Asker> {
        &self.asker
    }

    /// An envelope with fresh ids around an encoded command.
    #[must_use]
    pub fn envelope(
        &self,
        address: EntityAddress,
        command: impl Into<Cow<'static, str>>,
        payload: Bytes,
        options: AskOptions,
    ) -> CommandEnvelope {
        self.envelope_at(self.clock.now(), address, command.into(), payload, options)
    }

    fn envelope_at(
        &self,
        now: Timestamp,
        address: EntityAddress,
        command: Cow<'static, str>,
        payload: Bytes,
        options: AskOptions,
    ) -> CommandEnvelope {
        let fresh = self.fresh_envelope(now, address, command, payload);
        CommandEnvelope {
            key: options.key.unwrap_or(fresh.key),
            correlation: options.correlation.unwrap_or(fresh.correlation),
            causation: options.causation.unwrap_or(fresh.causation),
            deadline: options.deadline.unwrap_or(fresh.deadline),
            ..fresh
        }
    }

    /// An envelope of which its sender says nothing but whom it is for and what is asked.
    #[inline]
    fn fresh_envelope(
        &self,
        now: Timestamp,
        address: EntityAddress,
        command: Cow<'static, str>,
        payload: Bytes,
    ) -> CommandEnvelope {
        let mut entropy = self.entropy();
        let id = CommandId::generate(now, &mut entropy);
        let key = IdempotencyKey::generate(&mut entropy);
        let (correlation, causation) = (id.opens(), id.causes());
        let deadline = now.plus(self.ask_timeout);
        CommandEnvelope { address, command, payload, key, id, correlation, causation, deadline }
    }

    /// Sends a command of which its sender says nothing else. Not generic, so that each program has it once.
    fn send(&self, address: &EntityAddress, command: &'static str, payload: Bytes) -> Asking {
        let now = self.clock.now();
        self.asker.ask(self.fresh_envelope(now, address.clone(), command.into(), payload))
    }

    fn entropy(&self) -> SaltedEntropy {
        // An odd step visits every 64-bit state before any comes again.
        let seed = self.seeds.fetch_add(0xD134_2543_DE82_EF95, Ordering::Relaxed);
        SaltedEntropy { salt: self.salt, inner: SeededEntropy::new(seed) }
    }

    /// Sends an envelope and waits for the answer, at most until its deadline (and a moment longer, for the answer that names the outcome).
    ///
    /// # Errors
    /// Whatever the asker says; [`AskError::DeadlinePassed`] when it says nothing.
    pub async fn ask(&self, envelope: CommandEnvelope) -> Result<Answer, AskError> {
        let patience = envelope.deadline.since(self.clock.now());
        within(patience, self.asker.ask(envelope)).await
    }
}

/// Waits for an answer, a moment longer than the command's deadline is away.
async fn within(patience: Duration, answer: Asking) -> Result<Answer, AskError> {
    if answer.ends_by_itself() {
        return answer.await;
    }
    tokio::time::timeout(patience.saturating_add(GRACE), answer)
        .await
        .unwrap_or(Err(AskError::DeadlinePassed { outcome: Outcome::Unknown }))
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("ask_timeout", &self.ask_timeout).finish_non_exhaustive()
    }
}

struct SaltedEntropy {
    salt: u64,
    inner: SeededEntropy,
}

impl Entropy for SaltedEntropy {
    fn next_u64(&mut self) -> u64 {
        self.salt = self.salt.rotate_left(23).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.inner.next_u64() ^ self.salt
    }
}

/// A reference to one entity. Cheap to clone; it holds no connection and no lock.
pub struct EntityRef<E> {
    caller: Arc<Caller>,
    address: Result<EntityAddress, AddressError>,
    entity: PhantomData<fn(E)>,
}

impl<E: Entity> EntityRef<E> {
    /// The entity of type `E` with this id. A malformed id is reported by the first `ask`.
    pub fn new(caller: Arc<Caller>, id: impl AsRef<str>) -> Self {
        Self { caller, address: EntityAddress::new(E::TYPE, id), entity: PhantomData }
    }

    /// The entity's address.
    ///
    /// # Errors
    /// When the id is malformed.
    pub fn address(&self) -> Result<&EntityAddress, &AddressError> {
        self.address.as_ref()
    }

    /// Sends a command and waits for the reply.
    ///
    /// # Errors
    /// [`EntityError::Rejected`] is the entity's own answer; everything else says by [`EntityError::kind`] what to do about it.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the command: it may still take effect. Use [`EntityRef::ask_with`] and a key of your own to ask again.
    pub async fn ask<C: Command>(&self, command: C) -> Result<C::Reply, EntityError<E::Rejection>> {
        let asking = self.send(command)?;
        // Asked here rather than in a future of its own: nearly every answer comes from a shard of this process.
        let answer = if asking.ends_by_itself() {
            asking.await?
        } else {
            within(self.caller.ask_timeout, asking).await?
        };
        reply_of::<E, C>(&answer.verdict)
    }

    /// Sends a command with a key, deadline or lineage of one's own; the reply says where it stands in history.
    ///
    /// # Errors
    /// As [`EntityRef::ask`].
    ///
    /// # Cancel safety
    /// As [`EntityRef::ask`].
    pub async fn ask_with<C: Command>(
        &self,
        command: C,
        options: AskOptions,
    ) -> Result<Reply<C>, EntityError<E::Rejection>> {
        let now = self.caller.now();
        let (address, payload) = self.encoded(&command)?;
        // Not kept while the answer is awaited.
        drop(command);
        let name = Cow::Borrowed(C::NAME);
        let envelope = self.caller.envelope_at(now, address.clone(), name, payload, options);
        let patience = envelope.deadline.since(now);
        let answer = within(patience, self.caller.asker.ask(envelope)).await?;
        reply_of::<E, C>(&answer.verdict).map(|value| Reply::new(value, &answer))
    }

    /// Sends a command and does not wait: whether it took effect is not known here.
    ///
    /// # Errors
    /// When it could not even be sent: the id is malformed or the command cannot be encoded.
    pub fn tell<C: Command>(&self, command: C) -> Result<(), EntityError<E::Rejection>> {
        // The work begins with the call (see `Asker`), so the future may be dropped.
        self.send(command).map(drop)
    }

    fn send<C: Command>(&self, command: C) -> Result<Asking, EntityError<E::Rejection>> {
        let (address, payload) = self.encoded(&command)?;
        Ok(self.caller.send(address, C::NAME, payload))
    }

    fn encoded<C: Command>(
        &self,
        command: &C,
    ) -> Result<(&EntityAddress, Bytes), EntityError<E::Rejection>> {
        let invalid = |error: &AddressError| EntityError::InvalidAddress(error.clone());
        let address = self.address.as_ref().map_err(invalid)?;
        let payload =
            pieces::encoded(command).map_err(|error| foreign_bytes::<C>(error.to_string()))?;
        Ok((address, payload))
    }
}

/// What a verdict says, in the caller's types.
fn reply_of<E: Entity, C: Command>(
    verdict: &Verdict,
) -> Result<C::Reply, EntityError<E::Rejection>> {
    let foreign = |error: CodecError| foreign_bytes::<C>(error.to_string()).into();
    match verdict {
        Verdict::Accepted(bytes) => decode(bytes).map_err(foreign),
        Verdict::Rejected(bytes) => Err(decode(bytes).map_or_else(foreign, EntityError::Rejected)),
    }
}

fn foreign_bytes<C: Command>(reason: String) -> AskError {
    AskError::Undecodable { command: C::NAME.into(), reason: reason.into() }
}

impl<E> Clone for EntityRef<E> {
    fn clone(&self) -> Self {
        Self {
            caller: Arc::clone(&self.caller),
            address: self.address.clone(),
            entity: PhantomData,
        }
    }
}

impl<E> fmt::Debug for EntityRef<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntityRef").field(&self.address).finish()
    }
}

/// What a caller may say besides the command. Without a key, one is made; without a deadline, the configured timeout counts.
#[derive(Debug, Clone, Default)]
pub struct AskOptions {
    /// Makes a retry of this command safe.
    pub key: Option<IdempotencyKey>,
    /// When the caller stops waiting.
    pub deadline: Option<Timestamp>,
    /// The conversation it belongs to.
    pub correlation: Option<CorrelationId>,
    /// What caused it.
    pub causation: Option<CausationId>,
}

impl AskOptions {
    /// Options with only a key.
    #[must_use]
    pub fn with_key(key: IdempotencyKey) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Options that continue the conversation of a fact: what is asked so was caused by it.
    #[must_use]
    pub fn following(fact: &Fact) -> Self {
        let (correlation, causation) = (fact.correlation_id(), fact.command_id().causes());
        Self { correlation: Some(correlation), causation: Some(causation), ..Self::default() }
    }
}

/// A reply and its place in history.
pub struct Reply<C: Command> {
    /// What the entity replied.
    pub value: C::Reply,
    /// The entity's sequence number after the command.
    pub sequence: SequenceNumber,
    /// The entity's shard.
    pub shard: ShardId,
    /// The offset of the command's record; for a read, of the newest record that the reply reflects.
    pub offset: Offset,
    /// True when this is the recorded answer to an earlier try with the same key.
    pub replayed: bool,
    /// The node that led the shard.
    pub served_by: NodeId,
}

impl<C: Command> Reply<C> {
    fn new(value: C::Reply, answer: &Answer) -> Self {
        Self {
            value,
            sequence: answer.sequence,
            shard: answer.shard,
            offset: answer.offset,
            replayed: answer.replayed,
            served_by: answer.served_by,
        }
    }
}

impl<C: Command<Reply: fmt::Debug>> fmt::Debug for Reply<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("value", &self.value)
            .field("sequence", &self.sequence)
            .field("shard", &self.shard)
            .field("offset", &self.offset)
            .field("replayed", &self.replayed)
            .field("served_by", &self.served_by)
            .finish()
    }
}

/// Why an `ask` gave no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntityError<R> {
    /// The entity refused: its answer, not a failure.
    #[error("rejected: {0}")]
    Rejected(R),
    /// The id of the reference is malformed.
    #[error(transparent)]
    InvalidAddress(AddressError),
    /// There was no answer from the entity.
    #[error(transparent)]
    Failed(#[from] AskError),
}

impl<R> EntityError<R> {
    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Rejected(_) | Self::InvalidAddress(_) => ErrorKind::FixRequest,
            Self::Failed(error) => error.kind(),
        }
    }

    /// What became of the command.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) | Self::InvalidAddress(_) => Outcome::NotApplied,
            Self::Failed(error) => error.outcome(),
        }
    }
}
