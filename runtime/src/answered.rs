//! The answer to a command that was sent as a reaction, as a command to the entity that sent it.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use holm_core::{Outcome, Verdict};
use holm_persistence::{CodecError, decode, encode};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use crate::entity::{Command, Entity};

/// What an entity of type `T` answered to the command `C`. Whoever sent `C` by [`crate::Draft::send_for_answer`] handles it like any other command:
///
/// ```text
/// commands.handle::<Start>().handle::<Answered<Account, Withdraw>>()
/// ```
///
/// It is sent once, after `T` decided or after the delivery was given up, and only by Holm itself: it does not come in as JSON from outside.
pub struct Answered<T: Entity, C: Command> {
    /// The id of the entity that answered.
    pub by: Box<str>,
    /// The reply, or why there is none.
    pub answer: Result<C::Reply, NotDone<T::Rejection>>,
    types: PhantomData<fn(T, C)>,
}

/// Why a command that was sent as a reaction was not done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NotDone<R> {
    /// The entity refused. Nothing changed there.
    Rejected(R),
    /// There is no answer from the entity, and there will be none.
    Failed {
        /// [`Outcome::NotApplied`]: the entity failed each time, nothing changed there, and the command is never sent again. [`Outcome::Unknown`]: it
        /// was done or refused, but what the entity said cannot be read here.
        outcome: Outcome,
        /// What went wrong last.
        reason: Box<str>,
    },
}

impl<R> NotDone<R> {
    /// What became of the command.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Rejected(_) => Outcome::NotApplied,
            Self::Failed { outcome, .. } => *outcome,
        }
    }
}

impl<R: fmt::Display> fmt::Display for NotDone<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Failed { reason, .. } => f.write_str(reason),
        }
    }
}

impl<T: Entity, C: Command> Answered<T, C> {
    const NAME_BYTES: ([u8; NAME_BYTES], usize) = joined(T::TYPE, C::NAME);

    /// The answer of `T` with the id `by`: for tests of an entity that handles it.
    pub fn new(by: impl Into<Box<str>>, answer: Result<C::Reply, NotDone<T::Rejection>>) -> Self {
        Self { by: by.into(), answer, types: PhantomData }
    }

    fn written(&self) -> Result<Written, CodecError> {
        let verdict = match &self.answer {
            Ok(reply) => Said::Answered(Verdict::Accepted(encode(reply)?)),
            Err(NotDone::Rejected(it)) => Said::Answered(Verdict::Rejected(encode(it)?)),
            Err(NotDone::Failed { outcome, reason }) => {
                Said::Failed { outcome: *outcome, reason: reason.clone() }
            }
        };
        Ok(Written { by: self.by.clone(), said: verdict })
    }

    fn read(Written { by, said }: Written) -> Self {
        let unreadable = |error: CodecError| NotDone::Failed {
            outcome: Outcome::Unknown,
            reason: error.to_string().into(),
        };
        let answer = match said {
            Said::Answered(Verdict::Accepted(bytes)) => decode(&bytes).map_err(unreadable),
            Said::Answered(Verdict::Rejected(bytes)) => {
                Err(decode(&bytes).map_or_else(unreadable, NotDone::Rejected))
            }
            Said::Failed { outcome, reason } => Err(NotDone::Failed { outcome, reason }),
        };
        Self::new(by, answer)
    }
}

/// `T` answered `C`: `account.withdraw.answered`. No command of a program's own has a dot in its name.
impl<T: Entity, C: Command> Command for Answered<T, C> {
    const NAME: &'static str = {
        let (bytes, length) = &Self::NAME_BYTES;
        match std::str::from_utf8(bytes.split_at(*length).0) {
            Ok(name) => name,
            Err(_) => panic!("three texts in a row are a text"),
        }
    };
    const INTERNAL: bool = true;
    type Reply = ();
}

/// Longest name of such a command. A type's name has 64 bytes at most.
const NAME_BYTES: usize = 256;

/// Names are made while compiling, so that they are as static as any other command's.
const fn joined(entity_type: &str, command: &str) -> ([u8; NAME_BYTES], usize) {
    let parts = [entity_type.as_bytes(), b".", command.as_bytes(), b".answered"];
    let (mut joined, mut length, mut part) = ([0; NAME_BYTES], 0, 0);
    while part < parts.len() {
        let mut at = 0;
        while at < parts[part].len() {
            assert!(
                length < NAME_BYTES,
                "the names of entity type and command are too long together"
            );
            joined[length] = parts[part][at];
            (length, at) = (length + 1, at + 1);
        }
        part += 1;
    }
    (joined, length)
}

/// The payload of an answer: what the outbox knows without knowing any type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Written {
    pub(crate) by: Box<str>,
    pub(crate) said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Said {
    Answered(Verdict),
    Failed { outcome: Outcome, reason: Box<str> },
}

impl Written {
    pub(crate) fn encoded(&self) -> Result<Bytes, CodecError> {
        encode(self)
    }
}

impl<T: Entity, C: Command> Serialize for Answered<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T: Entity, C: Command> Deserialize<'de> for Answered<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer).map(Self::read)
    }
}

impl<T: Entity, C: Command<Reply: fmt::Debug>> fmt::Debug for Answered<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("by", &self.by).field("answer", &self.answer).finish()
    }
}

impl<T: Entity<Rejection: PartialEq>, C: Command<Reply: PartialEq>> PartialEq for Answered<T, C> {
    fn eq(&self, other: &Self) -> bool {
        self.by == other.by && self.answer == other.answer
    }
}
