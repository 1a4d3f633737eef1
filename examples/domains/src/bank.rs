//! The bank: one account is one entity. Money is whole cents, and every reply of an account is the balance after the command. A transfer between two
//! accounts is an entity too: a process that steers both.

mod account;
mod books;
mod commands;
mod events;
mod rejection;
pub mod transfer;

pub use account::{Account, Status};
pub use books::{BookTotals, Books, Entry};
pub use commands::{Balance, Close, Deposit, Open, Withdraw};
pub use events::AccountEvent;
pub use rejection::AccountRejection;
pub use transfer::Transfer;

#[cfg(test)]
mod tests;
