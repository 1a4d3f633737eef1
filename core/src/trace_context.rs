//! Conversations as traces: the header `traceparent` of the W3C Trace Context (<https://www.w3.org/TR/trace-context/>).
//!
//! A conversation and a trace are the same thing with names of the same length, so neither needs a table to find the other: the 16 bytes of the correlation id are
//! the trace id. A command is the span, and the last eight bytes of its id name it.

use std::fmt;
use std::str::FromStr;

use crate::{CommandId, CorrelationId};

/// Length of the header in version 0; a later version may be longer.
const LENGTH: usize = 55;

/// The version that no sender may use.
const FORBIDDEN_VERSION: u8 = 0xff;

const SAMPLED: u8 = 1;

/// Where in a trace something was called: the value of the header `traceparent`.
///
/// # Examples
/// ```
/// # use holm_core::TraceParent;
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let called: TraceParent = header.parse()?;
/// // What a command of this trace begins is found again by the id that the trace has everywhere else.
/// assert_eq!(called.conversation().to_string(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
/// assert_eq!(called.to_string(), header);
/// # Ok::<(), holm_core::NotATraceParent>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    sampled: bool,
}

/// A text is no `traceparent`. The standard lets a receiver go on as if there had been none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is VERSION-TRACE-PARENT-FLAGS, of 2, 32, 16 and 2 lower-case hexadecimal digits, trace and parent not zero"
)]
pub struct NotATraceParent;

impl TraceParent {
    /// What a command hands on: its conversation is the trace, and the command the span. None when either id is zero, which names nothing.
    ///
    /// It says that the trace is sampled: the log keeps every command, so there always is something to look at.
    #[must_use]
    pub const fn of(conversation: CorrelationId, command: CommandId) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the last eight bytes are meant")]
        let span = command.0 as u64;
        if conversation.0 == 0 || span == 0 {
            return None;
        }
        Some(Self { trace: conversation.0, span, sampled: true })
    }

    /// The conversation that commands of this trace belong to.
    #[must_use]
    pub const fn conversation(self) -> CorrelationId {
        CorrelationId(self.trace)
    }
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// # Errors
    /// When the text breaks a rule of the standard. What a later version adds behind the flags is passed over.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let (known, rest) = text.split_at_checked(LENGTH).ok_or(NotATraceParent)?;
        let mut fields = known.split('-');
        let mut next = |digits| number(fields.next().filter(|field| field.len() == digits));
        let (version, trace) = (next(2)?, next(32)?);
        let (span, flags) = (next(16)?, next(2)?);
        let ends = rest.is_empty() || (version != 0 && rest.starts_with('-'));
        let span = u64::try_from(span).map_err(|_| NotATraceParent)?;
        if version == u128::from(FORBIDDEN_VERSION) || !ends || trace == 0 || span == 0 {
            return Err(NotATraceParent);
        }
        Ok(Self { trace, span, sampled: flags & u128::from(SAMPLED) != 0 })
    }
}

/// Lower-case hexadecimal digits and nothing else: `from_str_radix` would take a sign and capitals too.
fn number(field: Option<&str>) -> Result<u128, NotATraceParent> {
    let field = field.ok_or(NotATraceParent)?;
    if !field.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(NotATraceParent);
    }
    u128::from_str_radix(field, 16).map_err(|_| NotATraceParent)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_the_standard_is_refused() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert_eq!(good.parse::<TraceParent>().unwrap().to_string(), good);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NotATraceParent), "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-comes";
        let read = later.parse::<TraceParent>().unwrap().to_string();
        assert_eq!(read, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    }

    #[test]
    fn a_command_hands_its_conversation_on() {
        let parent = TraceParent::of(CorrelationId(77), CommandId(1 << 64 | 5)).unwrap();
        assert_eq!(parent.to_string(), format!("00-{:032x}-{:016x}-01", 77, 5));
        assert_eq!(parent.to_string().parse(), Ok(parent));
        assert_eq!(parent.conversation(), CorrelationId(77));
        assert_eq!(TraceParent::of(CorrelationId(0), CommandId(5)), None);
        assert_eq!(TraceParent::of(CorrelationId(77), CommandId(1 << 64)), None);
    }
}
