//! The bank: one account is one entity. Money is whole cents, and every reply is the balance after the command.

mod account;
mod commands;
mod events;
mod rejection;

pub use account::{Account, Status};
pub use commands::{Balance, Close, Deposit, Open, Withdraw};
pub use events::AccountEvent;
pub use rejection::AccountRejection;

#[cfg(test)]
mod tests;
