//! The ledger: what was acknowledged to a caller, written down by the caller, and read back from the cluster afterwards.
//!
//! The load generator appends a line for each answer to a file of its own ([`LedgerFile`]); nothing of it passes through the nodes that are
//! tested. Later [`Audit`], which is pure, is fed those lines and then every record of every shard in offset order, and gives a [`Verdict`].
//! No sentence that says "nothing lost" is printed anywhere unless a verdict said so.

mod audit;
mod entry;
mod file;
mod order;
mod problem;
mod read_back;

pub use audit::{Audit, SeenRecord};
pub use entry::{Acknowledged, Entry, Told};
pub use file::{LedgerFile, LedgerLine, LedgerReader, read_ledger};
pub use order::{Order, OrderProblem, OrderVerdict};
pub use problem::{Problem, Verdict};
pub use read_back::{LedgerFollower, ReadBackError, RecordSource, audit_file};
