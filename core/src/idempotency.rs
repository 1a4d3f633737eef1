//! The idempotency key: what makes "retry it" a safe thing to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::{Entropy, Offset, ShardId};

/// Longest key in bytes. It holds any UUID, ULID or hash in text form, and bounds the window of every entity.
pub const MAX_KEY_BYTES: usize = 64;

/// Names one intention of a caller. The same key, sent to the same entity again, takes effect once.
///
/// Keys made by [`IdempotencyKey::generate`] take 16 bytes; keys chosen by callers are 1 to [`MAX_KEY_BYTES`] printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Form")]
pub struct IdempotencyKey(Form);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Form {
    /// Drawn at random by the client.
    Drawn(u128),
    /// Chosen by the caller.
    Chosen(Box<str>),
}

impl IdempotencyKey {
    /// A key that nobody else has: 128 random bits.
    #[inline]
    pub fn generate(entropy: &mut (impl Entropy + ?Sized)) -> Self {
        Self(Form::Drawn(entropy.next_u128()))
    }

    /// The key of a command that one reaction at this place in a log leads to, which is always the same. `step` tells the command from what is sent
    /// about it later.
    ///
    /// It is scattered like a drawn one: whoever looks keys up by their bits must not find places in a row.
    #[must_use]
    pub fn of_reaction(shard: ShardId, offset: Offset, index: u16, step: u8) -> Self {
        let mut place = *b"holm reaction 000000000000000";
        place[14..18].copy_from_slice(&shard.0.to_le_bytes());
        place[18..26].copy_from_slice(&offset.0.to_le_bytes());
        place[26..28].copy_from_slice(&index.to_le_bytes());
        place[28] = step;
        let half = |seed| XxHash3_64::oneshot_with_seed(seed, &place);
        Self(Form::Drawn((u128::from(half(0)) << 64) | u128::from(half(1))))
    }

    /// The key of what a policy does about one event, which is always the same: the event stands at this place in the log, as the one with this index in its
    /// record. Scattered as [`IdempotencyKey::of_reaction`].
    #[must_use]
    pub fn of_policy(policy: &str, shard: ShardId, offset: Offset, index: u32) -> Self {
        let half = |seed| {
            let mut place = *b"holm policy 0000000000000000";
            place[12..16].copy_from_slice(&shard.0.to_le_bytes());
            place[16..24].copy_from_slice(&offset.0.to_le_bytes());
            place[24..28].copy_from_slice(&index.to_le_bytes());
            let name = XxHash3_64::oneshot_with_seed(seed, policy.as_bytes());
            XxHash3_64::oneshot_with_seed(name, &place)
        };
        Self(Form::Drawn((u128::from(half(0)) << 64) | u128::from(half(1))))
    }

    /// A key chosen by the caller.
    ///
    /// # Errors
    /// [`InvalidKey`] when the text is empty, too long or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return Err(InvalidKey::Length { bytes: text.len() });
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidKey::Characters);
        }
        // A generated key that went out as text and came back must be the same key.
        Ok(Self(match parse_drawn(text) {
            Some(bits) => Form::Drawn(bits),
            None => Form::Chosen(text.into()),
        }))
    }

    /// 128 bits that stand for this key where the key itself would take too much room. Equal keys have equal digests; different keys have
    /// different ones but for a chance of 2^-128, and whoever acts on a match compares the recorded key.
    #[must_use]
    #[inline]
    pub fn digest(&self) -> u128 {
        match &self.0 {
            Form::Drawn(bits) => *bits,
            Form::Chosen(text) => {
                let half = |seed| XxHash3_64::oneshot_with_seed(seed, text.as_bytes());
                (u128::from(half(0)) << 64) | u128::from(half(1))
            }
        }
    }

    /// Bytes that this key holds on the heap, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Drawn(_) => 0,
            Form::Chosen(text) => text.len(),
        }
    }
}

/// The text form of a generated key: `k-` and 32 lower-case hexadecimal digits, nothing else.
fn parse_drawn(text: &str) -> Option<u128> {
    let digits = text.strip_prefix("k-")?;
    let canonical = digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if canonical { u128::from_str_radix(digits, 16).ok() } else { None }
}

/// What was stored or sent keeps the rules of [`IdempotencyKey::new`]: a length without a bound, or two forms of one key, must not come in this way.
impl TryFrom<Form> for IdempotencyKey {
    type Error = InvalidKey;

    fn try_from(form: Form) -> Result<Self, InvalidKey> {
        match &form {
            Form::Chosen(text) if Self::new(text)?.0 != form => Err(InvalidKey::Form),
            _ => Ok(Self(form)),
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Drawn(bits) => write!(f, "k-{bits:032x}"),
            Form::Chosen(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({self})")
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// Why a text is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Empty or too long.
    #[error("an idempotency key has 1 to {MAX_KEY_BYTES} characters, this one has {bytes}")]
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Something other than printable ASCII.
    #[error("an idempotency key is printable ASCII without spaces")]
    Characters,
    /// The text of a generated key where its bits belong.
    #[error("a generated idempotency key is encoded by its bits")]
    Form,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn a_generated_key_survives_its_text_form() {
        let key = IdempotencyKey::generate(&mut SeededEntropy::new(7));
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    /// Promise G2: the key of a reaction is pinned, because a reaction may be stored by one version and sent by the next.
    #[test]
    fn the_key_of_a_reaction_never_changes() {
        let key = |shard, offset, index, step| {
            IdempotencyKey::of_reaction(ShardId(shard), Offset(offset), index, step).to_string()
        };
        let keys = [(0, 0), (0, 1), (1, 0)].map(|(index, step)| key(3, 812, index, step));
        let pinned = [
            "k-212af675127d58909da70a69ccd41008",
            "k-43df88dc8df751d30178b194c419e32b",
            "k-5e55606c2892228b34361ff075fb752f",
        ];
        assert_eq!(keys, pinned);
    }

    /// Nor does the key of what a policy does, for the same reason.
    #[test]
    fn the_key_of_a_policy_never_changes() {
        let key = |policy, offset, index| {
            IdempotencyKey::of_policy(policy, ShardId(3), Offset(offset), index).to_string()
        };
        let keys = [("mail", 812, 0), ("mail", 812, 1), ("mails", 812, 0)]
            .map(|(policy, offset, index)| key(policy, offset, index));
        let pinned = [
            "k-66bb387be46dcd236d795bc1869d69dd",
            "k-9442861fe57972d089d55fad2a44849d",
            "k-0512ff3c2db2bfdb43cc1b6d6d8b5755",
        ];
        assert_eq!(keys, pinned);
    }

    #[test]
    fn a_key_that_only_resembles_a_generated_one_stays_itself() {
        for text in
            ["k-00", "k-0000000000000000000000000000000G", "k-000000000000000000000000000000AB"]
        {
            assert_eq!(IdempotencyKey::new(text).unwrap().to_string(), text);
        }
    }

    /// A key that comes out of a decoder keeps the rules too.
    #[test]
    fn decoded_keys_keep_the_rules() {
        let read = |form: Form| {
            let text = serde_json::to_string(&form).unwrap();
            serde_json::from_str::<IdempotencyKey>(&text).map_err(|error| error.to_string())
        };
        for text in ["", &"x".repeat(65), "a b", &format!("k-{:032x}", 5)] {
            let error = read(Form::Chosen(text.into())).unwrap_err();
            assert!(error.contains("an idempotency key") || error.contains("generated"), "{error}");
        }
        assert_eq!(
            read(Form::Drawn(5)),
            IdempotencyKey::new(&format!("k-{:032x}", 5)).map_err(|e| e.to_string())
        );
        assert_eq!(read(Form::Chosen("once".into())).unwrap().to_string(), "once");
    }

    #[test]
    fn bad_keys_are_refused() {
        assert_eq!(IdempotencyKey::new(""), Err(InvalidKey::Length { bytes: 0 }));
        assert_eq!(IdempotencyKey::new(&"x".repeat(65)), Err(InvalidKey::Length { bytes: 65 }));
        assert_eq!(IdempotencyKey::new("a b"), Err(InvalidKey::Characters));
        assert_eq!(IdempotencyKey::new("ä"), Err(InvalidKey::Characters));
    }
}
