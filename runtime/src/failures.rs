//! Failures as durable facts, and what is done about them from outside.
//!
//! A shard only says what failed ([`crate::FailureFact`]) and goes on. A reporter of the node takes that over and stores it, as commands to entities of
//! Holm's own type [`FailureLog`]: sixteen of them, each for a part of everything that can fail. Their events are the topic of failures for whoever
//! follows the logs; their state answers what stands open. [`Failures`] is the door: to list, and to act. Nothing that failed takes part in any of it.

mod acting;
mod books;
mod door;
mod filter;
mod log;
mod reader;
mod reporter;

pub use self::books::{FailureRow, Settlement};
pub use self::door::{FailureCounts, FailureList, Failures, Handled, HandledOutcome};
pub use self::filter::{FailureFilter, MalformedFilter};
pub use self::log::{FailureEvent, FailureLog};
pub use self::reader::ReaderFailures;
pub(crate) use self::reporter::{Outlet, report, tell};
